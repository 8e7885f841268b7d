package io.kvasir.node.hostile;

import com.google.protobuf.ByteString;
import io.kvasir.node.engine.v1.Lookup;
import io.kvasir.node.engine.v1.Namespace;
import io.kvasir.node.engine.v1.OpenNamespace;
import io.kvasir.node.engine.v1.Pin;
import io.kvasir.node.engine.v1.Release;
import io.kvasir.node.engine.v1.Renew;
import io.kvasir.node.engine.v1.Request;
import io.kvasir.node.engine.v1.Scores;
import io.kvasir.node.engine.v1.Unpin;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/** Single calls that ask for much work or memory inside the node. */
final class WideCalls {
    private static final int CALLS = 6;
    private static final int IMPOSSIBLE_CALLS = 14;
    private static final long GIB = 1L << 30;
    /** Repeated numbers in a frame of 8 MiB. */
    private static final int NUMBERS = 1_000_000;

    private static final int EXTRAS = 100_000;

    private WideCalls() {}

    /** Few bytes on the wire and in the answer, keys times shards of work inside. */
    static void lookup(final Target target, final Sizes sizes) throws IOException {
        final Random random = sizes.random();
        try (Guest guest = Guest.attach(target, sizes.shards())) {
            for (int i = 0; i < sizes.repeats(CALLS) && !target.isOver(); i++) {
                final Lookup.Builder lookup = Lookup.newBuilder()
                        .setNamespace(1)
                        .setKeys(Guest.keys(random, sizes.keys()))
                        .setPeek(random.nextBoolean())
                        .setSparse(random.nextInt(4) == 0)
                        .setWaitMs(random.nextBoolean() ? 0 : sizes.waitMs());
                if (random.nextInt(4) > 0) {
                    lookup.addShards(0);
                }
                guest.wire.send(
                        Request.newBuilder()
                                .setDeadlineMs(random.nextInt(10_000))
                                .setLookup(lookup),
                        target.endNs());
            }
            guest.wire.drain(target.endNs());
        }
    }

    /** A hole at the end of a prefix makes a trailing window look backwards, chunk by chunk. */
    static void window(final Target target, final Sizes sizes) throws IOException {
        final Random random = sizes.random();
        final int chunks = Math.clamp(sizes.keys(), 2, 16_384);
        try (Guest guest = Guest.withWindow(target, 1, 1 + random.nextInt(chunks))) {
            final ByteString keys = Guest.keys(random, chunks);
            final ByteString some = keys.substring(0, Math.min(chunks / 2, 256) * Guest.KEY_BYTES);
            Slots.commit(guest, guest.reserve(some, 8, 0, target.endNs()), target.endNs());
            for (int i = 0; i < CALLS && !target.isOver(); i++) {
                guest.wire.call(
                        Request.newBuilder()
                                .setLookup(Lookup.newBuilder()
                                        .setNamespace(1)
                                        .setKeys(keys)
                                        .setPeek(true)),
                        target.endNs());
            }
        }
    }

    static void reserve(final Target target, final Sizes sizes) throws IOException {
        final Random random = sizes.random();
        try (Guest guest = Guest.attach(target, 1)) {
            for (int i = 0; i < sizes.repeats(CALLS) && !target.isOver(); i++) {
                final int length = 1 << random.nextInt(20);
                guest.wire.send(
                        Guest.reserving(Guest.keys(random, sizes.keys()), length, Math.min(sizes.waitMs(), 5_000)),
                        target.endNs());
            }
            guest.wire.drain(target.endNs());
        }
    }

    /** Objects for which no node of this size ever has space, with a long wait, several at once. */
    static void impossibleReserve(final Target target, final Sizes sizes) throws IOException {
        final Random random = sizes.random();
        try (Guest guest = Guest.attach(target, 1)) {
            for (int i = 0; i < sizes.repeats(IMPOSSIBLE_CALLS) && !target.isOver(); i++) {
                final ByteString keys = Guest.keys(random, Math.max(1, sizes.keys()));
                guest.wire.send(Guest.reserving(keys, random.nextBoolean() ? GIB : GIB / 32, 30_000), target.endNs());
            }
            guest.wire.drain(target.endNs());
        }
    }

    static void renewAndRelease(final Target target, final Sizes sizes) throws IOException {
        final Random random = sizes.random();
        final int count = (int) Math.min((long) sizes.keys() * 16, NUMBERS);
        final List<Long> leases = new ArrayList<>(count);
        for (int i = 0; i < count; i++) {
            leases.add(random.nextLong());
        }
        try (Guest guest = Guest.attach(target, 1)) {
            for (int i = 0; i < sizes.repeats(CALLS) && !target.isOver(); i++) {
                guest.wire.send(
                        random.nextBoolean()
                                ? Request.newBuilder()
                                        .setRenew(Renew.newBuilder().addAllLeases(leases))
                                : Request.newBuilder()
                                        .setRelease(Release.newBuilder().addAllLeases(leases)),
                        target.endNs());
            }
            guest.wire.drain(target.endNs());
        }
    }

    /** Too many entries, or a map whose names are all long. */
    static void namespace(final Target target, final Sizes sizes) throws IOException {
        final Random random = sizes.random();
        final int entries = sizes.keys() > 1_000 ? EXTRAS : sizes.keys();
        final Namespace.Builder namespace =
                Namespace.newBuilder().setModel("hostile").setChunkTokens(1);
        for (int i = 0; i < entries; i++) {
            namespace.putExtra("e" + i, "v");
        }
        try (Guest guest = Guest.attach(target, 1)) {
            for (int i = 0; i < sizes.repeats(entries > 1_000 ? CALLS : 5_000) && !target.isOver(); i++) {
                guest.wire.send(
                        Request.newBuilder()
                                .setOpenNamespace(OpenNamespace.newBuilder()
                                        .setNamespace(namespace.setGeneration(random.nextLong()))),
                        target.endNs());
            }
            guest.wire.drain(target.endNs());
        }
    }

    static void pins(final Target target, final Sizes sizes) throws IOException {
        final Random random = sizes.random();
        final ByteString keys = Guest.keys(random, sizes.keys());
        try (Guest guest = Guest.attach(target, sizes.shards())) {
            for (int i = 0; i < sizes.repeats(CALLS) && !target.isOver(); i++) {
                final long ttl = random.nextBoolean() ? -1L >>> random.nextInt(64) : 1 + random.nextInt(1_000);
                guest.wire.send(
                        random.nextInt(3) > 0
                                ? Request.newBuilder()
                                        .setPin(Pin.newBuilder()
                                                .setNamespace(1)
                                                .setKeys(keys)
                                                .setTtlMs(ttl))
                                : Request.newBuilder()
                                        .setUnpin(Unpin.newBuilder()
                                                .setNamespace(1)
                                                .setKeys(keys)),
                        target.endNs());
            }
            guest.wire.drain(target.endNs());
        }
    }

    static void scores(final Target target, final Sizes sizes) throws IOException {
        final ByteString keys = Guest.keys(sizes.random(), sizes.keys());
        try (Guest guest = Guest.attach(target, sizes.shards())) {
            for (int i = 0; i < sizes.repeats(CALLS) && !target.isOver(); i++) {
                guest.wire.send(
                        Request.newBuilder()
                                .setScores(Scores.newBuilder().setNamespace(1).setKeys(keys)),
                        target.endNs());
            }
            guest.wire.drain(target.endNs());
        }
    }

    /** Sessions are small on the wire, and each keeps its list of shards. */
    static void sessions(final Target target, final Sizes sizes) throws IOException {
        final List<Guest> guests = new ArrayList<>();
        try {
            for (int i = 0; i < sizes.repeats() && !target.isOver(); i++) {
                guests.add(Guest.attach(target, sizes.shards()));
            }
        } finally {
            Connections.closeAll(guests);
        }
    }
}
