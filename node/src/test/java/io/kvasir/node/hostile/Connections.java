package io.kvasir.node.hostile;

import com.google.protobuf.ByteString;
import io.kvasir.node.engine.v1.Events;
import io.kvasir.node.engine.v1.Lookup;
import io.kvasir.node.engine.v1.Ping;
import io.kvasir.node.engine.v1.Request;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/** Many connections, short ones, and such whose answers nobody reads. */
final class Connections {
    private static final int UNREAD = 61;
    private static final int UNREAD_CALLS = 64;

    private Connections() {}

    /** Asks for large answers on many connections until the node takes no more, and reads none. */
    static void neverReading(final Target target, final Sizes sizes) throws IOException {
        final Random random = sizes.random();
        final List<Guest> guests = new ArrayList<>();
        try {
            for (int i = 0; i < sizes.repeats(UNREAD) && !target.isOver(); i++) {
                guests.add(Guest.attach(target, random.nextInt(4) == 0 ? Math.min(sizes.shards(), 4) : 1));
            }
            for (int call = 0; call < UNREAD_CALLS && !target.isOver(); call++) {
                for (final Guest guest : guests) {
                    try {
                        guest.wire.send(unread(random, sizes), target.within(2_000_000));
                    } catch (final IOException ended) {
                        // As it should be.
                    }
                }
            }
        } finally {
            closeAll(guests);
        }
    }

    private static Request.Builder unread(final Random random, final Sizes sizes) {
        return switch (random.nextInt(3)) {
            case 0 -> Request.newBuilder().setEvents(Events.newBuilder());
            case 1 ->
                Request.newBuilder()
                        .setLookup(Lookup.newBuilder()
                                .setNamespace(1)
                                .setSparse(true)
                                .setKeys(Guest.keys(random, Math.min(sizes.keys(), 32_768))));
            default ->
                Request.newBuilder()
                        .setPing(Ping.newBuilder()
                                .setPayload(ByteString.copyFrom(new byte[Math.min(sizes.bytes(), 1 << 20)])));
        };
    }

    static void hellos(final Target target, final Sizes sizes) throws IOException {
        final Random random = sizes.random();
        for (int i = 0; i < 3 * sizes.repeats() && !target.isOver(); i++) {
            try (Wire wire = new Wire(target.socket())) {
                wire.send(Guest.hello(target.token()), target.endNs());
                if (random.nextInt(4) == 0) {
                    wire.send(Guest.hello(random.nextBoolean() ? target.token() : "guessed"), target.endNs());
                    wire.drain(target.within(5_000_000));
                }
            } catch (final IOException ended) {
                // As it should be.
            }
        }
    }

    /** More than the node admits, some of which say Hello and stay. */
    static void many(final Target target, final Sizes sizes) throws IOException {
        final Random random = sizes.random();
        final List<Wire> wires = new ArrayList<>();
        try {
            for (int i = 0; i < sizes.repeats() && !target.isOver(); i++) {
                final Wire wire = new Wire(target.socket());
                wires.add(wire);
                try {
                    if (random.nextInt(4) == 0) {
                        wire.send(Guest.hello(target.token()), target.endNs());
                    }
                } catch (final IOException refused) {
                    // engine.max_connections
                }
            }
            if (!wires.isEmpty()) {
                wires.getFirst().drain(target.endNs());
            }
        } finally {
            closeAll(wires);
        }
    }

    /** Ends connections in the middle of everything. */
    static void comeAndGo(final Target target, final Sizes sizes) throws IOException {
        final Random random = sizes.random();
        while (!target.isOver()) {
            try (Guest guest = Guest.attach(target, 1 + random.nextInt(8))) {
                final int calls = random.nextInt(8);
                for (int i = 0; i < calls; i++) {
                    final byte[] body = RandomRequests.draw(random, i + 1).toByteArray();
                    guest.wire.write(Wire.frame(body.length, body), target.endNs());
                }
                if (random.nextBoolean()) {
                    guest.wire.write(Wire.frame(1 << 20, new byte[random.nextInt(4_096)]), target.endNs());
                }
            } catch (final IOException ended) {
                // Whoever ends it first.
            }
        }
    }

    static void closeAll(final List<? extends AutoCloseable> all) throws IOException {
        IOException first = null;
        for (final AutoCloseable each : all) {
            try {
                each.close();
            } catch (final IOException e) {
                first = e;
            } catch (final Exception e) {
                throw new IllegalStateException(e);
            }
        }
        if (first != null) {
            throw first;
        }
    }
}
