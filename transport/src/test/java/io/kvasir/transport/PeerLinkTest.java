package io.kvasir.transport;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.transport.LinkCounters.Counter;
import java.time.Duration;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** What a link does when all is well, over the real media driver. */
class PeerLinkTest {
    private static final Duration LONG = Duration.ofSeconds(15);
    private final LinkFixture fixture = new LinkFixture();

    @AfterEach
    void close() {
        fixture.close();
    }

    @Test
    void pullsAnObject() {
        final LinkFixture.Node here = fixture.node();
        final LinkFixture.Node there = fixture.node();
        there.shelf.put(1, 1 << 20);
        final Ends ends = fixture.pull(here, LONG, List.of(there.peer()), 1);
        fixture.until(() -> ends.ended);
        assertEquals(Outcome.STORED, ends.only());
        assertTrue(here.shelf.has(1, there.shelf));
        assertEquals(there.shelf.held.get(Shelf.name(1)).version, here.shelf.held.get(Shelf.name(1)).version);
    }

    @Test
    void pullsManyObjectsOfManySizesInOneTransfer() {
        final LinkFixture.Node here = fixture.node(context -> context.dataStreams(3));
        final LinkFixture.Node there = fixture.node(context -> context.dataStreams(2));
        final int[] numbers = IntStream.range(0, 300).toArray();
        for (final int number : numbers) {
            // Around the slice's size, tiny, and large.
            there.shelf.put(
                    number, 1 + (number % 3 == 0 ? number * 331 : number % 3 == 1 ? number : 8096 + number % 7));
        }
        final Ends ends = fixture.pull(here, LONG, List.of(there.peer()), numbers);
        fixture.until(() -> ends.ended);
        assertTrue(ends.all(Outcome.STORED), ends.outcomes::toString);
        for (final int number : numbers) {
            assertTrue(here.shelf.has(number, there.shelf), () -> "object " + number);
        }
        assertEquals(0, there.shelf.leases());
        assertEquals(0, here.count(Counter.RESERVATIONS));
        assertEquals(0, there.count(Counter.OPEN_OBJECTS));
    }

    @Test
    void pushesObjects() {
        final LinkFixture.Node here = fixture.node();
        final LinkFixture.Node there = fixture.node();
        final int[] numbers = IntStream.range(0, 40).toArray();
        for (final int number : numbers) {
            here.shelf.put(number, 100_000 + number);
        }
        final Ends ends = fixture.push(here, LONG, there.peer(), numbers);
        fixture.until(() -> ends.ended);
        assertTrue(ends.all(Outcome.STORED), ends.outcomes::toString);
        for (final int number : numbers) {
            assertTrue(there.shelf.has(number, here.shelf), () -> "object " + number);
        }
        assertEquals(0, here.shelf.leases());
    }
}
