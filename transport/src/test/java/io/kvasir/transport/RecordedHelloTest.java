package io.kvasir.transport;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.transport.LinkCounters.Counter;
import java.util.ArrayList;
import java.util.List;
import java.util.function.BooleanSupplier;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Somebody without the secret recorded what opened a link, and sends it again. Both ends of the link are the real ones. */
class RecordedHelloTest {
    private static final int LINKS = 4;
    private static final int AGAIN = 20;
    private static final int LENGTH = 4000;
    private static final long STEP_NS = 10_000;
    private static final int BOUND = 2_000_000;

    private final SimulatedNetwork network = new SimulatedNetwork(1);
    private final List<PeerLink> all = new ArrayList<>();
    private final Peer holder = new Peer("holder", 1, new Incarnation(1, 1));
    private final Shelf held = new Shelf();
    private final LinkCounters counters = new LinkCounters();
    private final PeerLink holding = link(holder, held, counters);

    private PeerLink link(final Peer self, final Shelf shelf, final LinkCounters count) {
        final PeerLink made = PeerLink.over(
                new LinkContext()
                        .self(self)
                        .secret(LinkFixture.SECRET)
                        .maxLinks(LINKS)
                        .source(shelf)
                        .sink(shelf)
                        .counters(count)
                        .nanoClock(network::nanoTime),
                network.wire(self));
        all.add(made);
        return made;
    }

    @AfterEach
    void close() {
        all.forEach(PeerLink::onClose);
    }

    private void until(final BooleanSupplier condition) {
        for (int turn = 0; !condition.getAsBoolean(); turn++) {
            assertTrue(turn < BOUND, "not reached");
            network.pass(STEP_NS);
            all.forEach(PeerLink::doWork);
        }
    }

    private PeerLink pulled(final int number) {
        final PeerLink puller =
                link(new Peer("puller-" + number, 1, new Incarnation(number, 0)), new Shelf(), new LinkCounters());
        pull(puller, number);
        return puller;
    }

    private void pull(final PeerLink puller, final int number) {
        held.put(number, LENGTH);
        final Ends ends = new Ends();
        puller.pull(new PullRequest(
                List.of(holder),
                LinkFixture.names(number),
                network.nanoTime() + 1_000_000_000L,
                Priority.LOAD,
                null,
                ends));
        until(() -> ends.ended);
        assertEquals(Outcome.STORED, ends.only());
    }

    private long up() {
        return holding.links().stream()
                .filter(link -> link.phase == Link.Phase.UP)
                .count();
    }

    private void playAgain(final byte[] hello) {
        final long refused = counters.get(Counter.REFUSED_MESSAGES);
        final long opened = counters.get(Counter.LINKS);
        for (int i = 0; i < AGAIN; i++) {
            network.play(holder, hello);
        }
        final int[] most = new int[1];
        final int[] turns = new int[1];
        until(() -> {
            most[0] = Math.max(most[0], holding.links().size());
            return counters.get(Counter.REFUSED_MESSAGES) == refused + AGAIN || ++turns[0] > 1000;
        });
        assertEquals(opened, most[0], "links that the recordings took");
        assertEquals(refused + AGAIN, counters.get(Counter.REFUSED_MESSAGES));
    }

    @Test
    void takesNoHalfOpenLink() {
        pulled(2);
        playAgain(network.heard().getFirst());
        assertEquals(1, up());
    }

    @Test
    void pushesNoIdleLinkOut() {
        final PeerLink first = pulled(2);
        final byte[] hello = network.heard().getFirst();
        first.gone(holder);
        until(() -> holding.links().isEmpty());
        for (int i = 3; i < 3 + LINKS; i++) {
            pulled(i);
        }
        final long closed = counters.get(Counter.LINKS_CLOSED);
        playAgain(hello);
        assertEquals(LINKS, up());
        assertEquals(closed, counters.get(Counter.LINKS_CLOSED));
    }

    @Test
    void doesNothingAfterItsLinkHasEnded() {
        final PeerLink puller = pulled(2);
        final byte[] hello = network.heard().getFirst();
        puller.gone(holder);
        until(() -> holding.links().isEmpty());
        playAgain(hello);
        assertTrue(holding.links().isEmpty());
        // Its peer's next link is another one.
        pull(puller, 3);
        assertEquals(1, up());
    }
}
