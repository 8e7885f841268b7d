package io.kvasir.storage.lease;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class ReservationTest {
    private static final long WRITING_NS = 64_000_000_000L;
    private static final long SPAN_NS = 1_000_000_000L;

    private final TimerWheel timers = new TimerWheel(0);
    private final List<Reservation<String>> overdue = new ArrayList<>();

    private Reservation<String> reservation(final long beganNs) {
        return new Reservation<>("writer", overdue::add, beganNs);
    }

    @Test
    void shouldTakeWhatItsWriterReservesSoonAfter() {
        final Reservation<String> one = reservation(100);
        assertFalse(one.takes(100, WRITING_NS), "it is closed, or was never open");
        one.add(1);
        assertTrue(one.takes(100 + SPAN_NS, WRITING_NS));
        assertFalse(one.takes(101 + SPAN_NS, WRITING_NS), "its deadline would move on and on");
        one.closed();
        assertFalse(one.takes(100, WRITING_NS));
    }

    @Test
    void shouldTakeABoundedNumberOfSlots() {
        final Reservation<String> one = reservation(0);
        for (int i = 0; i < Reservation.MOST; i++) {
            one.add(i);
            one.closed();
            one.add(i);
            one.closed();
        }
        one.add(0);
        assertFalse(one.takes(0, WRITING_NS));
    }

    @Test
    void shouldEndOnceAtTheDeadlineOfWhatCameLast() {
        final Reservation<String> one = reservation(0);
        one.add(7);
        timers.schedule(one, WRITING_NS);
        one.add(8);
        timers.schedule(one, WRITING_NS + SPAN_NS);
        one.closed();
        timers.poll(WRITING_NS + SPAN_NS / 2, 1000);
        assertEquals(List.of(), overdue);
        timers.poll(WRITING_NS + 2 * SPAN_NS, 1000);
        assertEquals(List.of(one), overdue);
        assertEquals(8, one.place(1));
    }

    @Test
    void shouldNotEndWhenAllOfItIsClosed() {
        final Reservation<String> one = reservation(0);
        one.add(7);
        timers.schedule(one, WRITING_NS);
        one.closed();
        timers.poll(2 * WRITING_NS, 1000);
        assertEquals(List.of(), overdue);
        assertEquals(0, timers.size());
    }
}
