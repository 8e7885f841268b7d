package io.kvasir.storage.lease;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.Tuple;
import org.junit.jupiter.api.Test;

class TimerWheelTest {
    private static final int TIMERS = 12;

    enum Step {
        SCHEDULE,
        CANCEL,
        PASS,
        POLL
    }

    record Action(Step step, int timer, long ns, int limit) {}

    private static final class Counted extends Timer {
        private int expired;
        private long wantedNs;
        /** Later than that, when it was scheduled later. */
        private long dueNs;

        private boolean wanted;
        private Runnable then = () -> {};

        @Override
        protected void expired(final long atNs) {
            assertTrue(wanted, "it was canceled, or has expired before");
            assertTrue(atNs - wantedNs >= 0, "too early");
            assertFalse(isScheduled());
            wanted = false;
            expired++;
            then.run();
        }
    }

    @Provide
    Arbitrary<List<Action>> actions() {
        return Combinators.combine(
                        Arbitraries.of(Step.class),
                        Arbitraries.integers().between(0, TIMERS - 1),
                        Arbitraries.frequencyOf(
                                Tuple.of(3, Arbitraries.longs().between(-TimerWheel.TICK_NS, 3 * TimerWheel.TICK_NS)),
                                Tuple.of(2, Arbitraries.longs().between(0, 3_000 * TimerWheel.TICK_NS)),
                                Tuple.of(1, Arbitraries.of(0L, 1024 * TimerWheel.TICK_NS, 1L << 55))),
                        Arbitraries.integers().between(1, TIMERS))
                .as(Action::new)
                .list()
                .ofMaxSize(80);
    }

    @Property(tries = 500)
    void shouldExpireEachOnceWithinATickOfItsTime(
            @ForAll("actions") final List<Action> actions, @ForAll final long startNs) {
        final TimerWheel wheel = new TimerWheel(startNs);
        final List<Counted> timers = new ArrayList<>();
        for (int i = 0; i < TIMERS; i++) {
            timers.add(new Counted());
        }
        long nowNs = startNs;
        for (final Action action : actions) {
            final Counted timer = timers.get(action.timer);
            switch (action.step) {
                case SCHEDULE -> {
                    timer.wanted = true;
                    timer.wantedNs = nowNs + action.ns;
                    timer.dueNs = nowNs + Math.max(0, action.ns);
                    wheel.schedule(timer, timer.wantedNs);
                }
                case CANCEL -> {
                    timer.wanted = false;
                    timer.cancel();
                }
                case PASS -> nowNs += Math.max(0, action.ns);
                case POLL -> {
                    wheel.poll(nowNs, action.limit);
                    if (action.limit == TIMERS) {
                        // However many looks it takes.
                        for (int look = 0; look < 2 * TIMERS; look++) {
                            wheel.poll(nowNs, action.limit);
                        }
                        for (final Counted each : timers) {
                            assertTrue(
                                    !each.wanted || each.dueNs + TimerWheel.TICK_NS - nowNs > 0,
                                    "more than a tick late");
                        }
                    }
                }
            }
            assertEquals(timers.stream().filter(each -> each.wanted).count(), wheel.size());
        }
    }

    @Test
    void shouldTakeAPollsLimitForWhatItLooksAt() {
        final TimerWheel wheel = new TimerWheel(-5);
        for (int i = 0; i < 100; i++) {
            final Counted timer = new Counted();
            timer.wanted = true;
            timer.wantedNs = 10;
            wheel.schedule(timer, 10);
        }
        int expired = 0;
        for (int poll = 0; poll < 10; poll++) {
            final int now = wheel.poll(2 * TimerWheel.TICK_NS, 10);
            assertTrue(now <= 10);
            expired += now;
        }
        assertEquals(100, expired);
        assertEquals(0, wheel.size());
    }

    @Test
    void shouldLetATimerThatExpiresEndAndBeginOthers() {
        final TimerWheel wheel = new TimerWheel(0);
        final Counted first = new Counted();
        final Counted second = new Counted();
        final Counted third = new Counted();
        for (final Counted each : List.of(first, second, third)) {
            each.wanted = true;
            wheel.schedule(each, 1);
        }
        // Whichever comes first ends the two others, and itself begins anew.
        for (final Counted each : List.of(first, second, third)) {
            each.then = () -> {
                for (final Counted other : List.of(first, second, third)) {
                    other.wanted = false;
                    other.cancel();
                }
                each.then = () -> {};
                each.wanted = true;
                wheel.schedule(each, 1);
            };
        }
        assertEquals(1, wheel.poll(TimerWheel.TICK_NS, 10));
        assertEquals(1, wheel.size());
        assertEquals(1, wheel.poll(2 * TimerWheel.TICK_NS, 10));
        assertEquals(0, wheel.size());
        assertEquals(2, first.expired + second.expired + third.expired);
    }
}
