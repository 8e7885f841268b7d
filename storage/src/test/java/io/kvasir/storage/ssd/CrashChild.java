package io.kvasir.storage.ssd;

import io.kvasir.storage.Hash256;
import io.kvasir.storage.SizeClass;
import io.kvasir.storage.TestObjects;
import io.kvasir.storage.policy.EvictionPolicy;
import io.kvasir.storage.policy.LruPolicy;
import java.io.FileOutputStream;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;

/**
 * The process that {@link SsdCrashTest} kills: writes, reads and removes until then, and appends to a journal what the
 * tier acknowledged: {@code +n} durable, {@code -n} removed; and, before the removal can be durable, {@code ?hash} of
 * what is chosen to go. One line by one write call.
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
                    .policy(() -> new Journaling(journal))
                    .listener(new SsdListener() {
                        @Override
                        public void stored(final io.kvasir.storage.ObjectId id, final long bytes) {
                            line(journal, "+" + id.key().d());
                        }

                        @Override
                        public void removed(final io.kvasir.storage.ObjectId id) {
                            line(journal, "-" + id.key().d());
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
                    tier.remove(TestObjects.id(Math.max(first, number - random.nextInt(40))), outcome -> {});
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

    /** Says what goes before it goes: the tier asks the policy to forget an entry before it hands it to the committer. */
    private static final class Journaling implements EvictionPolicy {
        private final EvictionPolicy inner = new LruPolicy();
        private final Map<Integer, Long> hashes = new HashMap<>();
        private final FileOutputStream journal;

        Journaling(final FileOutputStream journal) {
            this.journal = journal;
        }

        @Override
        public void add(final int entry, final long hash, final long bytes, final int chunkIndex, final int priority) {
            hashes.put(entry, hash);
            inner.add(entry, hash, bytes, chunkIndex, priority);
        }

        @Override
        public void touch(final int entry) {
            inner.touch(entry);
        }

        @Override
        public void remove(final int entry) {
            line(journal, "?" + hashes.remove(entry));
            inner.remove(entry);
        }

        @Override
        public Scan scan() {
            return inner.scan();
        }
    }
}
