package io.kvasir.node.hostile;

import com.google.protobuf.ByteString;
import io.kvasir.node.engine.v1.Lookup;
import io.kvasir.node.engine.v1.Ping;
import io.kvasir.node.engine.v1.Request;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.locks.LockSupport;

/** Frames that are not whole, not Protocol Buffers, or not requests. */
final class Frames {
    private static final int[] LENGTHS = {0, -1, Integer.MIN_VALUE, Integer.MAX_VALUE, (8 << 20) + 1};
    private static final int MOST_HALF = 128;
    private static final long BYTE_PAUSE_NS = 20_000_000;
    private static final byte GROUP_BEGIN = (1 << 3) | 3;
    private static final byte BYTES_FIELD_1 = (1 << 3) | 2;

    private Frames() {}

    /** Many connections with most of a large frame. */
    static void half(final Target target, final Sizes sizes) throws IOException {
        final byte[] part = Wire.frame(Math.clamp(sizes.bytes(), 2, 8 << 20), new byte[Math.max(0, sizes.bytes() - 1)]);
        final List<Wire> wires = new ArrayList<>();
        try {
            for (int i = 0; i < sizes.repeats(MOST_HALF) && !target.isOver(); i++) {
                wires.add(new Wire(target.socket()));
                try {
                    wires.getLast().write(part, target.endNs());
                } catch (final IOException ended) {
                    // All half frames together are bounded; the next connection has its try.
                }
            }
            sleepUntil(target);
        } finally {
            Connections.closeAll(wires);
        }
    }

    static void slow(final Target target, final Sizes sizes) throws IOException {
        final byte[] body = Guest.hello(target.token()).setId(1).build().toByteArray();
        final byte[] frame = Wire.frame(body.length, body);
        final List<Wire> wires = new ArrayList<>();
        try {
            for (int i = 0; i < sizes.repeats(MOST_HALF) && !target.isOver(); i++) {
                wires.add(new Wire(target.socket()));
            }
            for (int i = 0; i < frame.length && !target.isOver(); i++) {
                for (final Wire wire : wires) {
                    wire.write(new byte[] {frame[i]}, target.endNs());
                }
                LockSupport.parkNanos(BYTE_PAUSE_NS);
            }
        } finally {
            Connections.closeAll(wires);
        }
    }

    static void lengths(final Target target, final Sizes sizes) throws IOException {
        final Random random = sizes.random();
        for (int i = 0; i < sizes.repeats() && !target.isOver(); i++) {
            final int length = random.nextBoolean() ? LENGTHS[random.nextInt(LENGTHS.length)] : random.nextInt(1 << 24);
            final byte[] bytes = new byte[random.nextInt(64)];
            random.nextBytes(bytes);
            once(target, Wire.frame(length, bytes));
        }
    }

    /** Numbers without an end, and a length inside the message that no message has. */
    static void varints(final Target target, final Sizes sizes) throws IOException {
        final Random random = sizes.random();
        for (int i = 0; i < sizes.repeats() && !target.isOver(); i++) {
            final byte[] body = new byte[2 + random.nextInt(Math.clamp(sizes.bytes(), 1, 1 << 20))];
            Arrays.fill(body, (byte) 0xff);
            body[0] = random.nextBoolean() ? 8 : BYTES_FIELD_1;
            once(target, Wire.frame(body.length, body));
        }
    }

    static void groups(final Target target, final Sizes sizes) throws IOException {
        for (int i = 0; i < sizes.repeats(16) && !target.isOver(); i++) {
            final byte[] body = new byte[Math.clamp(sizes.bytes(), 1, 400_000)];
            Arrays.fill(body, GROUP_BEGIN);
            once(target, Wire.frame(body.length, body));
        }
    }

    /** Requests that are almost right. */
    static void mutated(final Target target, final Sizes sizes) throws IOException {
        final Random random = sizes.random();
        while (!target.isOver()) {
            try (Guest guest = Guest.attach(target, 1 + random.nextInt(4))) {
                for (int i = 0; i < 64 && !target.isOver(); i++) {
                    final byte[] body = RandomRequests.draw(random, i + 1).toByteArray();
                    for (int flips = random.nextInt(3); flips > 0 && body.length > 0; flips--) {
                        body[random.nextInt(body.length)] ^= (byte) (1 << random.nextInt(8));
                    }
                    guest.wire.write(Wire.frame(body.length, body), target.endNs());
                }
                guest.wire.drain(target.within(50_000_000));
            } catch (final IOException ended) {
                // As it should be when the frame could not be decoded.
            }
        }
    }

    static void duplicateIds(final Target target, final Sizes sizes) throws IOException {
        final Random random = sizes.random();
        for (int i = 0; i < sizes.repeats() && !target.isOver(); i++) {
            try (Guest guest = Guest.attach(target, 1)) {
                final ByteString key = Guest.keys(random, 1);
                guest.reserve(key, 64, 0, target.endNs());
                final byte[] body = Request.newBuilder()
                        .setId(random.nextBoolean() ? 0 : 77)
                        .setDeadlineMs(30_000)
                        .setLookup(
                                Lookup.newBuilder().setNamespace(1).setKeys(key).setWaitMs(30_000))
                        .build()
                        .toByteArray();
                for (int times = 0; times < 3; times++) {
                    guest.wire.write(Wire.frame(body.length, body), target.endNs());
                }
                guest.wire.drain(target.within(200_000_000));
            } catch (final IOException ended) {
                // As the page says.
            }
        }
    }

    private static void once(final Target target, final byte[] bytes) throws IOException {
        try (Wire wire = new Wire(target.socket())) {
            wire.write(bytes, target.endNs());
            if ((bytes[0] & 1) == 0) {
                wire.send(Request.newBuilder().setPing(Ping.getDefaultInstance()), target.endNs());
                wire.drain(target.within(20_000_000));
            }
        } catch (final IOException ended) {
            // As it should be.
        }
    }

    private static void sleepUntil(final Target target) {
        while (!target.isOver()) {
            LockSupport.parkNanos(1_000_000);
        }
    }
}
