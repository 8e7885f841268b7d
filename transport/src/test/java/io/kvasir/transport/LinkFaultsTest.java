package io.kvasir.transport;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.transport.LinkCounters.Counter;
import java.lang.foreign.ValueLayout;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** What a link does with peers that are not well, over the real media driver. */
class LinkFaultsTest {
    private static final Duration LONG = Duration.ofSeconds(15);
    private final LinkFixture fixture = new LinkFixture();
    private final LinkFixture.Node here = fixture.node();

    @AfterEach
    void close() {
        for (final LinkFixture.Node node : fixture.nodes) {
            assertEquals(0, node.count(Counter.RESERVATIONS), "reservations of " + node.peer());
            assertTrue(node.shelf.reserved.isEmpty(), "slots that were not given back");
        }
        fixture.close();
    }

    @Test
    void aPeerWithAnotherSecretIsRefusedAndSaysWhy() {
        final LinkFixture.Node stranger = fixture.node(context -> context.secret("another secret, as long as it is"));
        stranger.shelf.put(1, 1000);
        final Ends ends = fixture.pull(here, LONG, List.of(stranger.peer()), 1);
        fixture.until(() -> ends.ended);
        assertEquals(Outcome.NOT_PROVEN, ends.only());
        assertEquals(1, stranger.count(Counter.REFUSED_NOT_PROVEN));
        assertTrue(here.errors.stream().anyMatch(error -> error.contains("the cluster secret")), here.errors::toString);
        assertEquals(0, here.count(Counter.LINKS_OPENED) + stranger.count(Counter.LINKS_OPENED));
    }

    @Test
    void anEarlierStartOfANodeIsNotAnswered() {
        final LinkFixture.Node there = fixture.node();
        there.shelf.put(1, 1000);
        final Peer before = new Peer(there.peer().host(), there.peer().port(), new Incarnation(99, 99));
        final Ends ends = fixture.pull(here, LONG, List.of(before), 1);
        fixture.until(() -> ends.ended);
        assertEquals(Outcome.UNREACHABLE, ends.only());
        assertTrue(here.errors.stream().anyMatch(error -> error.contains("this node is")), here.errors::toString);
    }

    @Test
    void nobodyAtTheAddressIsUnreachableBeforeTheDeadline() {
        final LinkFixture.Node impatient = fixture.node(context -> context.handshakeTimeout(Duration.ofMillis(100)));
        final Peer nobody = new Peer("127.0.0.1", LinkFixture.freePort(), new Incarnation(5, 5));
        final Ends ends = fixture.pull(impatient, LONG, List.of(nobody), 1);
        fixture.until(() -> ends.ended);
        assertEquals(Outcome.UNREACHABLE, ends.only());
    }

    @Test
    void whatAHolderDoesNotHaveComesFromTheNext() {
        final LinkFixture.Node first = fixture.node();
        final LinkFixture.Node second = fixture.node();
        first.shelf.put(1, 5000);
        second.shelf.put(2, 6000);
        final Ends ends = fixture.pull(here, LONG, List.of(first.peer(), second.peer()), 1, 2, 3);
        fixture.until(() -> ends.ended);
        assertEquals(List.of(Outcome.STORED, Outcome.STORED, Outcome.MISSING), List.copyOf(ends.outcomes.values()));
        assertTrue(here.shelf.has(1, first.shelf));
        assertTrue(here.shelf.has(2, second.shelf));
    }

    @Test
    void corruptBytesAreReportedAndFetchedElsewhere() {
        final LinkFixture.Node bad = fixture.node();
        final LinkFixture.Node good = fixture.node();
        final Shelf.Held damaged = bad.shelf.put(1, 300_000);
        good.shelf.put(1, 300_000);
        flip(damaged, 123_456);
        final Ends ends = fixture.pull(here, LONG, List.of(bad.peer(), good.peer()), 1);
        fixture.until(() -> ends.ended);
        assertEquals(Outcome.STORED, ends.only());
        assertTrue(here.shelf.has(1, good.shelf));
        assertEquals(List.of(bad.peer()), ends.corruptAt);
        fixture.until(() -> !bad.shelf.reports.isEmpty());
        assertEquals(List.of(Shelf.name(1)), bad.shelf.reports);
        assertEquals(1, here.count(Counter.OBJECTS_CORRUPT));
    }

    @Test
    void corruptBytesOfTheOnlyHolderAreNeverStored() {
        final LinkFixture.Node bad = fixture.node();
        flip(bad.shelf.put(1, 10_000), 9_999);
        final Ends ends = fixture.pull(here, LONG, List.of(bad.peer()), 1);
        fixture.until(() -> ends.ended);
        assertEquals(Outcome.CORRUPT, ends.only());
        assertFalse(here.shelf.held.containsKey(Shelf.name(1)));
        assertEquals(List.of(Outcome.CORRUPT), here.shelf.failures);
    }

    @Test
    void bytesThatAreGoneInTheMiddleComeFromTheNextHolder() {
        final LinkFixture.Node bad = fixture.node();
        final LinkFixture.Node good = fixture.node();
        bad.shelf.put(1, 300_000).goneFrom = 150_000;
        bad.shelf.put(2, 300_000);
        good.shelf.put(1, 300_000);
        final Ends ends = fixture.pull(here, LONG, List.of(bad.peer(), good.peer()), 1, 2);
        fixture.until(() -> ends.ended);
        assertEquals(List.of(Outcome.STORED, Outcome.STORED), List.copyOf(ends.outcomes.values()));
        assertTrue(here.shelf.has(1, good.shelf));
        assertTrue(here.shelf.has(2, bad.shelf));
        assertEquals(0, bad.shelf.leases());
    }

    @Test
    void aSlotThatIsGoneIsGivenBack() {
        final LinkFixture.Node there = fixture.node();
        there.shelf.put(1, 300_000);
        here.shelf.slotsAreGone = true;
        final Ends ends = fixture.pull(here, LONG, List.of(there.peer()), 1);
        fixture.until(() -> ends.ended);
        assertEquals(Outcome.REFUSED, ends.only());
        assertFalse(here.shelf.held.containsKey(Shelf.name(1)));
        fixture.until(() -> there.shelf.leases() == 0);
    }

    @Test
    void anObjectWhoseSlotChangedUnderTheSenderIsNotStored() {
        final LinkFixture.Node there = fixture.node();
        there.shelf.put(1, 10_000).changed = true;
        final Ends ends = fixture.pull(here, LONG, List.of(there.peer()), 1);
        fixture.until(() -> ends.ended);
        assertEquals(Outcome.MISSING, ends.only());
        assertEquals(1, here.count(Counter.OBJECTS_CHANGED));
        assertFalse(here.shelf.held.containsKey(Shelf.name(1)));
    }

    @Test
    void aFullDestinationRefusesAndTheHolderLetsGo() {
        final LinkFixture.Node there = fixture.node();
        there.shelf.put(1, 10_000);
        there.shelf.put(2, 100);
        here.shelf.room = 5_000;
        final Ends ends = fixture.pull(here, LONG, List.of(there.peer()), 1, 2);
        fixture.until(() -> ends.ended);
        assertEquals(List.of(Outcome.REFUSED, Outcome.STORED), List.copyOf(ends.outcomes.values()));
        fixture.until(() -> there.shelf.leases() == 0);
    }

    @Test
    void aPushToAFullNodeIsRefused() {
        final LinkFixture.Node there = fixture.node();
        here.shelf.put(1, 10_000);
        here.shelf.put(2, 10_000);
        there.shelf.put(2, 10_000);
        there.shelf.room = 5_000;
        final Ends ends = fixture.push(here, LONG, there.peer(), 1, 2, 3);
        fixture.until(() -> ends.ended);
        assertEquals(
                List.of(Outcome.REFUSED, Outcome.ALREADY_THERE, Outcome.MISSING), List.copyOf(ends.outcomes.values()));
        assertEquals(0, here.shelf.leases());
    }

    @Test
    void aHolderThatStopsInTheMiddleIsContinuedByTheNext() {
        final LinkFixture.Node first = fixture.node();
        final LinkFixture.Node second = fixture.node();
        first.shelf.put(1, 8 << 20);
        second.shelf.put(1, 8 << 20);
        final Ends ends = fixture.pull(here, LONG, List.of(first.peer(), second.peer()), 1);
        fixture.until(() -> here.count(Counter.BYTES_RECEIVED) > 1 << 20);
        first.paused = true;
        fixture.until(() -> ends.ended);
        assertEquals(Outcome.STORED, ends.only());
        assertTrue(here.shelf.has(1, second.shelf));
        assertTrue(here.count(Counter.BYTES_RESUMED) > 1 << 20, "went on where the first stopped");
        // It wakes up and goes on sending: nothing of it is written, and it lets its lease go.
        first.paused = false;
        fixture.until(() -> first.shelf.leases() == 0);
        assertTrue(here.shelf.has(1, second.shelf));
    }

    @Test
    void whatComesFromAPeerThatHasLeftGoesOnWithTheNextAtOnce() {
        final LinkFixture.Node patient =
                fixture.node(context -> context.stall(Duration.ofSeconds(60)).silence(Duration.ofSeconds(60)));
        final LinkFixture.Node first = fixture.node();
        final LinkFixture.Node second = fixture.node();
        first.shelf.put(1, 8 << 20);
        second.shelf.put(1, 8 << 20);
        final Ends ends = fixture.pull(patient, LONG, List.of(first.peer(), second.peer()), 1);
        fixture.until(() -> patient.count(Counter.BYTES_RECEIVED) > 1 << 20);
        first.paused = true;
        assertTrue(patient.link.gone(first.peer()));
        fixture.until(() -> ends.ended);
        assertEquals(Outcome.STORED, ends.only());
        assertTrue(patient.shelf.has(1, second.shelf));
        assertTrue(patient.count(Counter.BYTES_RESUMED) > 1 << 20, "went on where the first stopped");
        first.paused = false;
        fixture.until(() -> first.shelf.leases() == 0);
    }

    @Test
    void aPullWhoseOnlyHolderHasLeftEndsAtOnce() {
        final LinkFixture.Node there = fixture.node();
        there.shelf.put(1, 8 << 20);
        final Ends ends = fixture.pull(here, LONG, List.of(there.peer()), 1);
        fixture.until(() -> here.count(Counter.BYTES_RECEIVED) > 1 << 20);
        assertTrue(here.link.gone(there.peer()));
        fixture.until(() -> ends.ended);
        assertEquals(Outcome.UNREACHABLE, ends.only());
        fixture.until(() -> there.shelf.leases() == 0);
    }

    @Test
    void anotherVersionAtTheNextHolderStartsAgain() {
        final LinkFixture.Node first = fixture.node();
        final LinkFixture.Node second = fixture.node();
        first.shelf.put(Shelf.name(1), 4 << 20, 1);
        second.shelf.put(Shelf.name(1), 4 << 20, 2);
        final Ends ends = fixture.pull(here, LONG, List.of(first.peer(), second.peer()), 1);
        fixture.until(() -> here.count(Counter.BYTES_RECEIVED) > 1 << 20);
        first.paused = true;
        fixture.until(() -> ends.ended);
        assertEquals(Outcome.STORED, ends.only());
        assertTrue(here.shelf.has(1, second.shelf));
        assertEquals(0, here.count(Counter.BYTES_RESUMED));
        assertEquals(1, here.shelf.failures.size());
    }

    @Test
    void aPausedOnlyHolderCostsTheDeadlineAndNoMore() {
        final LinkFixture.Node there = fixture.node();
        there.shelf.put(1, 8 << 20);
        final long start = System.nanoTime();
        final Ends ends = fixture.pull(here, Duration.ofSeconds(3), List.of(there.peer()), 1);
        fixture.until(() -> here.count(Counter.BYTES_RECEIVED) > 1 << 20);
        there.paused = true;
        fixture.until(() -> ends.ended);
        assertEquals(Outcome.DEADLINE, ends.only());
        assertEquals(List.of(Outcome.DEADLINE), here.shelf.failures);
        assertTrue(System.nanoTime() - start >= TimeUnit.SECONDS.toNanos(3));
        there.paused = false;
        fixture.until(() -> there.shelf.leases() == 0);
    }

    @Test
    void aPeerThatIsSilentForTooLongIsLostAndFoundAgain() {
        final LinkFixture.Node there = fixture.node();
        there.shelf.put(1, 8 << 20);
        final Ends ends = fixture.pull(here, LONG, List.of(there.peer()), 1);
        fixture.until(() -> here.count(Counter.BYTES_RECEIVED) > 1 << 20);
        there.paused = true;
        fixture.until(() -> here.count(Counter.LINKS_LOST) == 1);
        there.paused = false;
        fixture.until(() -> ends.ended);
        assertEquals(Outcome.STORED, ends.only());
        assertTrue(here.shelf.has(1, there.shelf));
        assertTrue(here.count(Counter.BYTES_RESUMED) > 1 << 20, "went on over the new link");
    }

    @Test
    void cancelInTheMiddleGivesTheSlotBackAndLateSlicesFindNothing() {
        final LinkFixture.Node there = fixture.node();
        there.shelf.put(1, 8 << 20);
        there.shelf.put(2, 1000);
        final Ends ends = new Ends();
        final Transfer transfer = here.link.pull(new PullRequest(
                List.of(there.peer()), LinkFixture.names(1, 2), LinkFixture.deadline(LONG), Priority.LOAD, null, ends));
        fixture.until(() -> here.count(Counter.BYTES_RECEIVED) > 1 << 20);
        final Shelf.Held slot = here.shelf.reserved.get(Shelf.name(1));
        assertTrue(transfer.cancel(0));
        fixture.until(() -> ends.ended);
        assertEquals(List.of(Outcome.CANCELLED, Outcome.STORED), List.copyOf(ends.outcomes.values()));
        // The shelf filled the slot with bytes of its own when it got it back: they must stay.
        final int own = Shelf.crc(slot.bytes);
        fixture.until(() -> here.count(Counter.SLICES_UNKNOWN) > 0 && there.shelf.leases() == 0);
        assertEquals(own, Shelf.crc(slot.bytes));
    }

    @Test
    void aSinkThatAnswersAfterTheEndGetsItsSlotBack() {
        final LinkFixture.Node there = fixture.node();
        there.shelf.put(1, 10_000);
        here.shelf.answersLater = true;
        final Ends ends = new Ends();
        final Transfer transfer = pull(there, ends);
        fixture.until(() -> !here.shelf.later.isEmpty());
        assertTrue(transfer.cancel());
        fixture.until(() -> ends.ended);
        assertEquals(Outcome.CANCELLED, ends.only());
        here.shelf.answerNow();
        fixture.until(() -> !here.shelf.failures.isEmpty());
        fixture.until(() -> there.shelf.leases() == 0);
    }

    @Test
    void aSourceThatAnswersAfterTheEndGetsItsLeaseBack() {
        final LinkFixture.Node there = fixture.node();
        there.shelf.put(1, 10_000);
        there.shelf.answersLater = true;
        final Ends ends = new Ends();
        final Transfer transfer = pull(there, ends);
        fixture.until(() -> there.count(Counter.OPEN_OBJECTS) == 1);
        assertTrue(transfer.cancel());
        fixture.until(() -> ends.ended);
        there.shelf.answerNow();
        fixture.until(() -> there.shelf.leases() == 0 && there.count(Counter.OPEN_OBJECTS) == 0);
    }

    @Test
    void loadsOvertakeStores() {
        final LinkFixture.Node there = fixture.node();
        final int[] stores = IntStream.range(0, 32).toArray();
        for (final int number : stores) {
            here.shelf.put(number, 1 << 20);
        }
        here.shelf.put(100, 1 << 20);
        final Ends pushed = fixture.push(here, LONG, there.peer(), stores);
        fixture.until(() -> there.count(Counter.BYTES_RECEIVED) > 1 << 20);
        final Ends pulled = fixture.pull(there, LONG, List.of(here.peer()), 100);
        fixture.until(() -> pulled.ended);
        assertEquals(Outcome.STORED, pulled.only());
        assertFalse(pushed.ended, "the push, which began first, is still under way");
        fixture.until(() -> pushed.ended);
        assertTrue(pushed.all(Outcome.STORED));
    }

    @Test
    void transfersOfOnePriorityProgressTogether() {
        final LinkFixture.Node there = fixture.node();
        final int[] many = IntStream.range(0, 48).toArray();
        for (final int number : many) {
            there.shelf.put(number, 1 << 20);
        }
        there.shelf.put(100, 1 << 20);
        final Ends large = fixture.pull(here, LONG, List.of(there.peer()), many);
        fixture.until(() -> here.count(Counter.BYTES_RECEIVED) > 1 << 20);
        final Ends small = fixture.pull(here, LONG, List.of(there.peer()), 100);
        fixture.until(() -> small.ended);
        assertFalse(large.ended);
        fixture.until(() -> large.ended);
        assertTrue(large.all(Outcome.STORED));
    }

    @Test
    void creditsBoundWhatIsUnderWay() {
        final LinkFixture.Node frugal = fixture.node(context -> context.credits(3 << 20));
        final LinkFixture.Node there = fixture.node();
        final int[] many = IntStream.range(0, 20).toArray();
        for (final int number : many) {
            there.shelf.put(number, 1 << 20);
        }
        there.shelf.put(100, 5 << 20);
        final Ends ends = fixture.pull(frugal, LONG, List.of(there.peer()), many);
        final Ends larger = fixture.pull(frugal, LONG, List.of(there.peer()), 100);
        final int[] most = {0};
        fixture.until(() -> {
            most[0] = Math.max(most[0], frugal.shelf.reserved.size());
            return ends.ended && larger.ended;
        });
        assertTrue(ends.all(Outcome.STORED));
        assertEquals(Outcome.STORED, larger.only(), "one that is larger than all credits goes alone");
        assertTrue(most[0] <= 3, () -> most[0] + " objects at a time");
    }

    @Test
    void anIdleLinkCloses() {
        final LinkFixture.Node brief = fixture.node(context -> context.idleClose(Duration.ofMillis(50)));
        final LinkFixture.Node there = fixture.node();
        there.shelf.put(1, 1000);
        there.shelf.put(2, 1000);
        final Ends ends = fixture.pull(brief, LONG, List.of(there.peer()), 1);
        fixture.until(() -> ends.ended);
        fixture.until(() -> brief.count(Counter.LINKS) == 0 && there.count(Counter.LINKS) == 0);
        assertEquals(0, brief.count(Counter.LINKS_LOST) + there.count(Counter.LINKS_LOST));
        final Ends again = fixture.pull(brief, LONG, List.of(there.peer()), 2);
        fixture.until(() -> again.ended);
        assertEquals(Outcome.STORED, again.only());
    }

    private Transfer pull(final LinkFixture.Node holder, final Ends ends) {
        return here.link.pull(new PullRequest(
                List.of(holder.peer()), LinkFixture.names(1), LinkFixture.deadline(LONG), Priority.LOAD, null, ends));
    }

    private static void flip(final Shelf.Held object, final long at) {
        object.bytes.set(ValueLayout.JAVA_BYTE, at, (byte) (object.bytes.get(ValueLayout.JAVA_BYTE, at) ^ 0x10));
    }

    @Test
    void whatWasOnItsWayWhenALinkClosedIsNoRefusal() {
        final LinkFixture.Node here = fixture.node();
        final LinkFixture.Node there = fixture.node();
        there.shelf.put(1, 1 << 20);
        there.shelf.put(2, 1 << 20);
        final Ends first = fixture.pull(here, LONG, List.of(there.peer()), 1);
        fixture.until(() -> first.ended);
        there.paused = true;
        fixture.pull(here, LONG, List.of(there.peer()), 2);
        fixture.turnFor(Duration.ofMillis(20));
        there.link.onClose();
        assertEquals(0, there.count(Counter.REFUSED_MESSAGES));
        assertEquals(List.of(), there.errors);
    }
}
