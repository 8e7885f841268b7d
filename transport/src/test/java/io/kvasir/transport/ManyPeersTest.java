package io.kvasir.transport;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.transport.LinkCounters.Counter;
import java.io.IOException;
import java.nio.file.Files;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** A node with many more peers than links: what it takes stays bounded. */
@Tag("slow")
class ManyPeersTest {
    private static final int PEERS = 30;
    private static final int LINKS = 6;
    private final LinkFixture fixture = new LinkFixture();

    @AfterEach
    void close() {
        fixture.close();
    }

    @Test
    void buffersStayBoundedHoweverManyPeersAreAsked() throws IOException {
        final LinkFixture.Node hub =
                fixture.node(context -> context.maxLinks(LINKS).silence(Duration.ofMillis(800)));
        final List<LinkFixture.Node> peers = new ArrayList<>();
        for (int i = 0; i < PEERS; i++) {
            peers.add(fixture.node(context -> context.silence(Duration.ofMillis(800))));
            peers.get(i).shelf.put(i, 50_000);
        }
        final long empty = driverFiles(hub);
        final List<Ends> ends = new ArrayList<>();
        for (int i = 0; i < PEERS; i++) {
            ends.add(fixture.pull(
                    hub, Duration.ofSeconds(18), List.of(peers.get(i).peer()), i));
        }
        long most = 0;
        while (!ends.stream().allMatch(each -> each.ended)) {
            fixture.turnFor(Duration.ofMillis(5));
            most = Math.max(most, driverFiles(hub) - empty);
            assertTrue(hub.count(Counter.LINKS) <= LINKS);
        }
        for (int i = 0; i < PEERS; i++) {
            assertEquals(Outcome.STORED, ends.get(i).only());
            assertTrue(hub.shelf.has(i, peers.get(i).shelf));
        }
        // A stream that was closed lingers for a moment to send again what gets lost: twice the bound at the very most.
        final long bound = 2 * hub.context.maxBufferBytes();
        assertTrue(most <= bound, most + " bytes of buffers for " + PEERS + " peers, more than " + bound);
        System.out.println(PEERS + " peers over " + LINKS + " links: at most " + most + " bytes of buffers");
    }

    private static long driverFiles(final LinkFixture.Node node) throws IOException {
        try (var files = Files.walk(node.context.aeronDirectory())) {
            return files.mapToLong(file -> file.toFile().length()).sum();
        } catch (final java.io.UncheckedIOException goneMeanwhile) {
            return 0;
        }
    }
}
