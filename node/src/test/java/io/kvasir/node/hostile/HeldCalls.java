package io.kvasir.node.hostile;

import com.google.protobuf.ByteString;
import io.kvasir.node.engine.v1.Cancel;
import io.kvasir.node.engine.v1.Events;
import io.kvasir.node.engine.v1.Lookup;
import io.kvasir.node.engine.v1.Request;
import io.kvasir.node.engine.v1.ReserveResult;
import java.io.IOException;
import java.util.Random;

/** What is held inside the node for as long as an engine wants: requests, leases, reservations. */
final class HeldCalls {
    private static final int MANY = 1_100;
    private static final long TENTH_NS = 100_000_000;

    private HeldCalls() {}

    /** Wide lookups wait behind one key that is reserved and never committed. */
    static void lookups(final Target target, final Sizes sizes) throws IOException {
        final Random random = sizes.random();
        try (Guest guest = Guest.attach(target, 1)) {
            final ByteString first = Guest.keys(random, 1);
            guest.reserve(first, 4_096, 0, target.endNs());
            final ByteString keys = first.concat(Guest.keys(random, Math.max(0, sizes.keys() - 1)));
            for (int i = 0; i < sizes.repeats() && !target.isOver(); i++) {
                if (guest.wire.send(waiting(keys, Math.max(1_000, sizes.waitMs())), target.endNs()) == 0) {
                    return;
                }
            }
            guest.wire.drain(target.endNs());
        }
    }

    /** Lookups wait on one object and are cancelled, or run out of time: what they had is free again. */
    static void cancels(final Target target, final Sizes sizes) throws IOException {
        final Random random = sizes.random();
        final int chunks = Math.clamp(sizes.keys(), 1, 4_096);
        try (Guest guest = Guest.attach(target, 1)) {
            final ByteString first = Guest.keys(random, 1);
            guest.reserve(first, 4_096, 0, target.endNs());
            final ByteString keys = first.concat(Guest.keys(random, chunks - 1));
            while (!target.isOver()) {
                for (int i = 0; i < 64; i++) {
                    final boolean cancelled = random.nextBoolean();
                    final long id =
                            guest.wire.send(waiting(keys, cancelled ? 30_000 : 1 + random.nextInt(20)), target.endNs());
                    if (id == 0) {
                        return;
                    }
                    if (cancelled) {
                        guest.wire.send(
                                Request.newBuilder()
                                        .setCancel(Cancel.newBuilder()
                                                .setRequest(random.nextInt(8) == 0 ? random.nextLong() : id)),
                                target.endNs());
                    }
                }
                guest.wire.drain(target.within(TENTH_NS));
            }
        }
    }

    static void events(final Target target, final Sizes sizes) throws IOException {
        final Random random = sizes.random();
        try (Guest guest = Guest.attach(target, 1)) {
            for (int i = 0; i < sizes.repeats() && !target.isOver(); i++) {
                guest.wire.send(
                        Request.newBuilder()
                                .setDeadlineMs(sizes.waitMs())
                                .setEvents(Events.newBuilder()
                                        .setAfter(random.nextInt(4) == 0 ? random.nextLong() : random.nextInt(4))
                                        .setLimit(sizes.keys())
                                        .setWaitMs(sizes.waitMs())),
                        target.endNs());
            }
            guest.wire.drain(target.endNs());
        }
    }

    /** One small object, leased again and again, with the longest time, and never given back. */
    static void leases(final Target target, final Sizes sizes) throws IOException {
        final Random random = sizes.random();
        final ByteString keys = Guest.keys(random, Math.clamp(sizes.keys(), 1, 64));
        try (Guest guest = Guest.attach(target, 1)) {
            Slots.commit(
                    guest,
                    guest.reserve(keys, Math.clamp(sizes.bytes(), 1, 1 << 20), 0, target.endNs()),
                    target.endNs());
            while (!target.isOver()) {
                for (int i = 0; i < MANY; i++) {
                    guest.wire.send(
                            Request.newBuilder()
                                    .setLookup(Lookup.newBuilder()
                                            .setNamespace(1)
                                            .setKeys(keys)
                                            .setLeaseMs(Integer.MAX_VALUE)),
                            target.endNs());
                }
                guest.wire.drain(target.within(TENTH_NS));
            }
        }
    }

    /** Takes all that an attachment may reserve, and commits nothing. */
    static void reservations(final Target target, final Sizes sizes) throws IOException {
        final Random random = sizes.random();
        try (Guest guest = Guest.attach(target, 1)) {
            final int length = Math.clamp(sizes.bytes(), 1, 1 << 22);
            ReserveResult result;
            do {
                result = guest.reserve(Guest.keys(random, 64), length, 0, target.endNs());
            } while (!Slots.granted(result).isEmpty() && !target.isOver());
            guest.wire.drain(target.endNs());
        }
    }

    /** Looks like a dead process whose socket lives: what it does then must not be added to what is never freed. */
    static void lockDropped(final Target target, final Sizes sizes) throws IOException {
        final Random random = sizes.random();
        try (Guest guest = Guest.attach(target, 1)) {
            final int length = Math.clamp(sizes.bytes(), 1, 1 << 20);
            final ReserveResult before = guest.reserve(Guest.keys(random, 8), length, 0, target.endNs());
            guest.dropLock();
            while (!target.isOver()) {
                final ByteString keys = Guest.keys(random, 8);
                Slots.commit(guest, guest.reserve(keys, length, 0, target.endNs()), target.endNs());
                guest.wire.call(
                        Request.newBuilder()
                                .setLookup(Lookup.newBuilder().setNamespace(1).setKeys(keys)),
                        target.endNs());
                guest.wire.drain(target.within(TENTH_NS));
                Slots.commit(guest, before, target.endNs());
            }
        }
    }

    private static Request.Builder waiting(final ByteString keys, final int waitMs) {
        return Request.newBuilder()
                .setDeadlineMs(waitMs + 1)
                .setLookup(Lookup.newBuilder().setNamespace(1).setKeys(keys).setWaitMs(waitMs));
    }
}
