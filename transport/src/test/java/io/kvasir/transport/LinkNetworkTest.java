package io.kvasir.transport;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.transport.LinkCounters.Counter;
import io.kvasir.transport.wire.MessageHeaderDecoder;
import io.kvasir.transport.wire.MessageHeaderEncoder;
import java.io.IOException;
import java.net.DatagramPacket;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import org.agrona.concurrent.UnsafeBuffer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** What a bad network and strangers do to links with real media drivers. */
class LinkNetworkTest {
    private static final Duration LONG = Duration.ofSeconds(15);
    private final LinkFixture fixture = new LinkFixture();
    private final List<UdpRelay> relays = new ArrayList<>();

    @AfterEach
    void close() throws IOException {
        for (final UdpRelay relay : relays) {
            relay.close();
        }
        fixture.close();
    }

    /** A node whose peers reach it only through a relay. */
    private LinkFixture.Node behindRelay(final long seed) {
        final int front = LinkFixture.freePort();
        final int port = LinkFixture.freePort();
        final UdpRelay relay = new UdpRelay(front, port, seed);
        relays.add(relay);
        fixture.relays.add(relay);
        return fixture.node(context -> context.self(
                        new Peer("127.0.0.1", front, context.self().incarnation()))
                .listen("127.0.0.1:" + port));
    }

    @Test
    void everyByteArrivesThroughLossDoublesReorderingAndReplays() {
        final LinkFixture.Node here = behindRelay(1);
        final LinkFixture.Node there = behindRelay(2);
        for (final UdpRelay relay : relays) {
            relay.lose = 10;
            relay.twice = 30;
            relay.late = 30;
            relay.replay = 30;
        }
        final int[] numbers = IntStream.range(0, 60).toArray();
        for (final int number : numbers) {
            there.shelf.put(number, 1 + number * 3001);
        }
        final Ends ends = fixture.pull(here, LONG, List.of(there.peer()), numbers);
        fixture.until(() -> ends.ended);
        assertTrue(ends.all(Outcome.STORED), ends.outcomes::toString);
        for (final int number : numbers) {
            assertTrue(here.shelf.has(number, there.shelf), () -> "object " + number);
        }
        assertTrue(relays.stream().mapToLong(relay -> relay.replayed).sum() > 0);
        assertEquals(0, here.count(Counter.RESERVATIONS));
        fixture.until(() -> there.shelf.leases() == 0);
    }

    @Test
    void whatAStrangerReplaysFromElsewhereChangesNothing() throws IOException {
        final LinkFixture.Node here = behindRelay(1);
        final LinkFixture.Node there = behindRelay(2);
        there.shelf.put(1, 200_000);
        final Ends first = fixture.pull(here, LONG, List.of(there.peer()), 1);
        fixture.until(() -> first.ended);
        there.shelf.put(2, 4 << 20);
        final Ends second = fixture.pull(here, LONG, List.of(there.peer()), 2);
        final SplittableRandom random = new SplittableRandom(7);
        try (DatagramSocket stranger = new DatagramSocket(0, InetAddress.getLoopbackAddress())) {
            fixture.until(() -> {
                for (final UdpRelay relay : relays) {
                    final List<byte[]> past = relay.past();
                    final byte[] heard = past.get(random.nextInt(past.size())).clone();
                    if (random.nextBoolean()) {
                        heard[random.nextInt(heard.length)] ^= (byte) (1 << random.nextInt(8));
                    }
                    send(stranger, heard, here);
                    send(stranger, heard, there);
                }
                return second.ended;
            });
        }
        // It may cost the transfer, never a byte.
        if (second.only() == Outcome.STORED) {
            assertTrue(here.shelf.has(2, there.shelf));
        }
        assertTrue(here.shelf.has(1, there.shelf));
        assertEquals(1 + (second.only() == Outcome.STORED ? 1 : 0), here.shelf.completed);
        assertEquals(0, there.shelf.completed);
    }

    private static void send(final DatagramSocket from, final byte[] bytes, final LinkFixture.Node to) {
        try {
            final String listen = to.context.listen();
            from.send(new DatagramPacket(
                    bytes,
                    bytes.length,
                    InetAddress.getLoopbackAddress(),
                    Integer.parseInt(listen.substring(listen.indexOf(':') + 1))));
        } catch (final IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }

    @Test
    void anotherProtocolVersionIsRefusedAndBothSidesSayWhy() {
        final LinkFixture.Node here = fixture.node();
        // Another node's control stream, by hand, whose first message is of the next version.
        final LinkContext next = new LinkContext()
                .self(new Peer("127.0.0.1", LinkFixture.freePort(), new Incarnation(8, 8)))
                .aeronDirectory(here.context.aeronDirectory().resolveSibling("aeron-next"))
                .secret(LinkFixture.SECRET)
                .source(here.shelf)
                .sink(here.shelf)
                .conclude();
        try (AeronWire wire = new AeronWire(next)) {
            final Wire.ControlOut out = wire.openControl(here.peer().endpoint());
            final UnsafeBuffer message = new UnsafeBuffer(new byte[200]);
            new MessageHeaderEncoder()
                    .wrap(message, 0)
                    .blockLength(100)
                    .templateId(1)
                    .schemaId(MessageHeaderDecoder.SCHEMA_ID)
                    .version(MessageHeaderDecoder.SCHEMA_VERSION + 1);
            final boolean[] sent = {false};
            fixture.until(() -> {
                wire.doWork(IGNORE);
                sent[0] = sent[0] || (out.state() == Wire.State.UP && out.offer(message, 0, 200));
                return out.rejection() != null;
            });
            assertTrue(out.rejection().startsWith("OTHER_PROTOCOL: protocol version 3"), out.rejection());
        }
        assertEquals(1, here.count(Counter.REFUSED_PROTOCOL));
        assertTrue(here.errors.stream().anyMatch(error -> error.contains("protocol version 3")));
    }

    @Test
    void aStrangersStreamGetsNoLargeBuffers() throws IOException {
        final LinkFixture.Node here = fixture.node();
        final long before = sharedMemory(here);
        final LinkContext greedy = new LinkContext()
                .self(new Peer("127.0.0.1", LinkFixture.freePort(), new Incarnation(8, 8)))
                .aeronDirectory(here.context.aeronDirectory().resolveSibling("aeron-greedy"))
                .secret("not the secret of the cluster")
                .termLength(16 << 20)
                .source(here.shelf)
                .sink(here.shelf)
                .conclude();
        try (AeronWire wire = new AeronWire(greedy)) {
            final Wire.DataOut data = wire.openData(here.peer().endpoint(), 12345);
            final Wire.ControlOut control = wire.openControl(here.peer().endpoint());
            // The control stream shows that its packets arrive.
            fixture.until(() -> {
                wire.doWork(IGNORE);
                data.state();
                return control.state() == Wire.State.UP;
            });
            fixture.turnFor(Duration.ofMillis(300));
            assertEquals(Wire.State.OPENING, data.state());
            assertTrue(sharedMemory(here) - before < 1 << 20, "bytes of buffers");
        }
        assertFalse(here.link.doWork() < 0);
    }

    private static long sharedMemory(final LinkFixture.Node node) throws IOException {
        try (var files = java.nio.file.Files.walk(node.context.aeronDirectory())) {
            return files.mapToLong(file -> file.toFile().length()).sum();
        }
    }

    private static final Wire.ControlHandler IGNORE = new Wire.ControlHandler() {
        @Override
        public void onControlOpened(final long source) {}

        @Override
        public void onControl(
                final long source, final org.agrona.DirectBuffer buffer, final int offset, final int length) {}

        @Override
        public void onControlGone(final long source) {}
    };
}
