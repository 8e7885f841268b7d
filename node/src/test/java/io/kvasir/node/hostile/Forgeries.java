package io.kvasir.node.hostile;

import com.google.protobuf.ByteString;
import io.kvasir.node.engine.v1.Abort;
import io.kvasir.node.engine.v1.Attach;
import io.kvasir.node.engine.v1.Commit;
import io.kvasir.node.engine.v1.CreateSession;
import io.kvasir.node.engine.v1.HelloResult;
import io.kvasir.node.engine.v1.JoinSession;
import io.kvasir.node.engine.v1.Request;
import io.kvasir.node.engine.v1.Response;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;

/** Records, attachments and sessions of somebody else, or of nobody. */
final class Forgeries {
    private static final int[] NUMBERS = {0, 1, 2, 63, 1 << 20, Integer.MAX_VALUE, Integer.MIN_VALUE, -1};
    private static final int SLOTS = 8;
    private static final int PIPELINED = 200;
    private static final int MAX_QUIESCED = 4_096;

    private Forgeries() {}

    /** Commit and Abort by turns, in one burst, of records that are right, changed in one field, or made up. */
    static void records(final Target target, final Sizes sizes) throws IOException {
        final Random random = sizes.random();
        try (Guest guest = Guest.attach(target, 1)) {
            while (!target.isOver()) {
                final ByteString granted = Slots.granted(guest.reserve(
                        Guest.keys(random, SLOTS), Math.clamp(sizes.bytes(), 1, 1 << 16), 0, target.endNs()));
                for (int i = 0; i < PIPELINED; i++) {
                    final ByteString records = forged(granted, random);
                    guest.wire.send(
                            random.nextBoolean()
                                    ? Request.newBuilder().setCommit(commit(records, random))
                                    : Request.newBuilder()
                                            .setAbort(Abort.newBuilder().setSlots(records)),
                            target.endNs());
                }
                guest.wire.drain(target.within(100_000_000));
            }
        }
    }

    private static Commit.Builder commit(final ByteString records, final Random random) {
        final Commit.Builder commit = Commit.newBuilder().setSlots(records);
        final int count = Slots.count(records);
        if (random.nextInt(3) == 0) {
            commit.setParents(Guest.keys(random, count));
        }
        if (random.nextInt(3) == 0) {
            commit.setBlocks(NUMBERS[random.nextInt(NUMBERS.length)]);
        }
        if (random.nextInt(3) == 0) {
            commit.addChunkIndex(NUMBERS[random.nextInt(NUMBERS.length)]);
        }
        if (random.nextInt(3) == 0) {
            commit.setTtlMs(random.nextLong()).setPriority(random.nextInt());
        }
        return commit;
    }

    private static ByteString forged(final ByteString granted, final Random random) {
        final int count = Math.max(1, Slots.count(granted));
        final byte[] bytes = granted.isEmpty() ? new byte[Slots.RECORD_BYTES] : granted.toByteArray();
        final ByteBuffer records = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
        final int at = random.nextInt(count) * Slots.RECORD_BYTES;
        switch (random.nextInt(7)) {
            case 0 -> records.putInt(at + 4, NUMBERS[random.nextInt(NUMBERS.length)]);
            case 1 -> records.putInt(at + 8, NUMBERS[random.nextInt(NUMBERS.length)]);
            case 2 -> records.putLong(at + 16, records.getLong(at + 16) + random.nextInt(1_000) - 500);
            case 3 -> records.putLong(at + 24, -1L >>> random.nextInt(64));
            case 4 -> records.put(at, (byte) random.nextInt());
            case 5 -> bytes[random.nextInt(bytes.length)] ^= (byte) (1 << random.nextInt(8));
            default -> {
                return ByteString.copyFrom(bytes).concat(ByteString.copyFrom(bytes));
            }
        }
        return ByteString.copyFrom(bytes);
    }

    /** Attachment ids are names of files that everybody of the tenant can list. */
    static void quiesced(final Target target, final Sizes sizes) throws IOException {
        final Random random = sizes.random();
        while (!target.isOver()) {
            try (Wire wire = new Wire(target.socket())) {
                final Response answer = wire.call(Guest.hello(target.token()), target.endNs());
                if (answer == null || !answer.hasHello()) {
                    return;
                }
                final HelloResult hello = answer.getHello();
                final Attach.Builder attach =
                        Attach.newBuilder().setCreate(CreateSession.newBuilder().addShards(Guest.shard(0)));
                for (final long id : attachments(hello)) {
                    attach.addQuiesced(id);
                }
                for (int i = Math.min(sizes.keys(), MAX_QUIESCED + 1); i > attach.getQuiescedCount(); i--) {
                    attach.addQuiesced(random.nextLong());
                }
                try (FileChannel lock = FileChannel.open(
                        Path.of(hello.getDirectory(), hello.getLockFile()), StandardOpenOption.WRITE)) {
                    lock.lock();
                    wire.call(Request.newBuilder().setAttach(attach), target.endNs());
                }
            }
        }
    }

    /** Of the others: every number that a file name of the tenant's directory has. */
    private static List<Long> attachments(final HelloResult hello) throws IOException {
        final List<Long> ids = new ArrayList<>();
        try (Stream<Path> files = Files.list(Path.of(hello.getDirectory()))) {
            for (final Path file : files.toList()) {
                for (final String part : file.getFileName().toString().split("[^0-9a-f]+", -1)) {
                    if (part.matches("[0-9a-f]{8,16}")) {
                        ids.add(Long.parseUnsignedLong(part, 16));
                    }
                }
            }
        }
        ids.remove(hello.getAttachment());
        return ids.subList(0, Math.min(ids.size(), MAX_QUIESCED));
    }

    static void sessions(final Target target, final Sizes sizes) throws IOException {
        final Random random = sizes.random();
        try (Guest guest = Guest.attach(target, 1)) {
            while (!target.isOver()) {
                final byte[] secret = new byte[random.nextInt(4) == 0 ? sizes.bytes() / 8 : 16];
                random.nextBytes(secret);
                guest.wire.call(
                        Request.newBuilder()
                                .setAttach(Attach.newBuilder()
                                        .setJoin(JoinSession.newBuilder()
                                                .setSession(
                                                        random.nextBoolean()
                                                                ? guest.session.getSession()
                                                                : random.nextLong())
                                                .setSecret(ByteString.copyFrom(secret)))),
                        target.endNs());
            }
        }
    }
}
