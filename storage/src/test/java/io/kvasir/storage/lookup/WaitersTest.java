package io.kvasir.storage.lookup;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

class WaitersTest {
    private final Waiters waiters = new Waiters();
    private final List<Integer> woken = new ArrayList<>();

    @Test
    void aCancelledWaitLeavesNothingBehind() {
        final Random random = new Random(1);
        final List<Long> handles = new ArrayList<>();
        for (int i = 0; i < 5000; i++) {
            final int[] entries = random.ints(8, 0, 16).toArray();
            handles.add(waiters.await(entries, entries.length, () -> woken.add(0)));
        }
        java.util.Collections.shuffle(handles, random);
        handles.forEach(waiters::cancel);
        assertEquals(0, waiters.size());
        for (int entry = 0; entry < 16; entry++) {
            waiters.settled(entry);
        }
        assertEquals(0, waiters.run());
    }

    @Test
    void othersOfAnEntryAreWokenWhereOneWasCancelled() {
        final long first = waiters.await(new int[] {1, 2}, 2, () -> woken.add(1));
        waiters.await(new int[] {2}, 1, () -> woken.add(2));
        final long third = waiters.await(new int[] {2, 3}, 2, () -> woken.add(3));
        waiters.await(new int[] {2, 2}, 2, () -> woken.add(4));
        waiters.cancel(third);
        waiters.settled(2);
        waiters.run();
        assertEquals(List.of(4, 2), woken);
        waiters.settled(1);
        waiters.run();
        assertEquals(List.of(4, 2, 1), woken);
        waiters.cancel(first);
        assertEquals(0, waiters.size());
    }

    @Test
    void whoWaitsForSpaceIsTriedInOrderAFewAtATime() {
        for (int i = 0; i < 10; i++) {
            waitForSpace(0, i);
        }
        waiters.roomMade();
        assertEquals(4, waiters.run());
        waiters.roomMade();
        while (waiters.run() > 0) {
            assertEquals(0, woken.size() > 20 ? 1 : 0, "woken without end");
        }
        final List<Integer> twice = new ArrayList<>();
        for (int i = 0; i < 20; i++) {
            twice.add(i % 10);
        }
        assertEquals(twice, woken);
    }

    /** Tries in vain whenever it is woken, and keeps its place. */
    private void waitForSpace(final long place, final int number) {
        final long[] handle = {place};
        handle[0] = waiters.awaitRoom(place, () -> {
            woken.add(number);
            waitForSpace(handle[0], number);
        });
    }
}
