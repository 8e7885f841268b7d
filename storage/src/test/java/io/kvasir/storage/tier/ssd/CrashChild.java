package io.kvasir.storage.tier.ssd;

import io.kvasir.storage.TestObjects;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.SizeClass;
import java.io.FileOutputStream;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.SplittableRandom;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;

/**
 * The process that {@link SsdCrashTest} kills: writes, reads and removes until then, and appends to a journal what the
 * tier tells: {@code +n} durable; {@code ?n} its removal begins, so nobody may count on it; {@code -n} the removal is
 * durable. One line by one write call.
 */
final class CrashChild {
    private static final int IN_FLIGHT = 16;

    private CrashChild() {}

    static int length(final long number) {
        return new SplittableRandom(number).nextInt(1, 1 << 20);
    }

    public static void main(final String[] args) throws Exception {
        final Path directory = Path.of(args[0]);
        final long first = Long.parseLong(args[2]);
        final SplittableRandom random = new SplittableRandom(first);
        final BlockingQueue<MemorySegment> free = new LinkedBlockingQueue<>();
        try (FileOutputStream journal = new FileOutputStream(args[1], true);
                Arena arena = Arena.ofShared()) {
            for (int i = 0; i < IN_FLIGHT; i++) {
                free.add(arena.allocate(1 << 20, SizeClass.PAGE));
            }
            final SsdTier tier = SsdTier.open(new SsdTier.Context()
                    .directory(directory)
                    .capacityBytes(SsdCrashTest.CAPACITY)
                    .batchBytes(4 << 20)
                    .listener(new SsdListener() {
                        @Override
                        public void stored(final io.kvasir.storage.object.ObjectId id, final long bytes) {
                            line(journal, "+" + id.key().d());
                        }

                        @Override
                        public void removed(final io.kvasir.storage.object.ObjectId id) {
                            line(journal, "?" + id.key().d());
                        }

                        @Override
                        public void warm() {
                            line(journal, "warm");
                        }
                    }));
            for (long number = first; ; number++) {
                final MemorySegment payload = free.take();
                final int length = length(number);
                TestObjects.fill(payload.asSlice(0, length), number);
                tier.write(new WriteRequest(
                        TestObjects.id(number),
                        payload,
                        new StoredObject(
                                length,
                                SlotHeader.checksum(payload.asSlice(0, length)),
                                0,
                                number % 8 == 0 ? Hash256.ZERO : TestObjects.key(number - 1),
                                0,
                                0,
                                0),
                        outcome -> free.add(payload)));
                if (random.nextInt(8) == 0) {
                    final long which = Math.max(first, number - random.nextInt(40));
                    tier.remove(TestObjects.id(which), outcome -> {
                        if (outcome.status() == WriteOutcome.Status.REMOVED) {
                            line(journal, "-" + which);
                        }
                    });
                }
                if (random.nextInt(4) == 0) {
                    final MemorySegment destination = free.take();
                    tier.read(new ReadRequest(
                            TestObjects.id(Math.max(first, number - random.nextInt(100))),
                            destination,
                            outcome -> free.add(destination)));
                }
            }
        }
    }

    private static void line(final FileOutputStream journal, final String text) {
        try {
            synchronized (journal) {
                journal.write((text + "\n").getBytes(java.nio.charset.StandardCharsets.US_ASCII));
            }
        } catch (final IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }
}
