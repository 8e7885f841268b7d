package io.kvasir.storage.move;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.lease.TimerWheel;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.constraints.LongRange;
import org.junit.jupiter.api.Test;

class MoverTest {
    private static final List<MovePriority> PRIORITIES = List.of(MovePriority.values());
    private static final long SECOND = 1_000_000_000;
    private static final MoveBudget SMALL = new MoveBudget(100, 50, 4, 8, 300, 16);

    private final TimerWheel timers = new TimerWheel(0);
    private final List<TestMove> started = new ArrayList<>();
    private final List<TestMove> dropped = new ArrayList<>();
    private int seen;

    private final class TestMove extends Move {
        private boolean moving;
        private boolean endsAtOnce;
        private Mover mover;
        /** Bytes of others that started while it was the first of its priority and could have started. */
        private long passed;

        TestMove(final MovePriority priority, final long bytes) {
            super(priority.isStore() ? MoveKind.DEMOTE : MoveKind.PROMOTE, priority, bytes);
        }

        @Override
        protected void start() {
            assertFalse(moving, "it starts once");
            moving = true;
            started.add(this);
            if (endsAtOnce) {
                moving = false;
                mover.ended(this);
            }
        }

        @Override
        protected void dropped() {
            assertFalse(moving);
            dropped.add(this);
        }
    }

    private Mover mover(final MoveBudget budget) {
        return new Mover(timers, Map.of(Channel.SSD, budget));
    }

    private TestMove submit(final Mover mover, final MovePriority priority, final long bytes) {
        final TestMove move = new TestMove(priority, bytes);
        assertTrue(mover.submit(move));
        return move;
    }

    @Test
    void shouldStartLoadsBeforeStoresAndWhatIsWaitedForBeforeTheRest() {
        final Mover mover = mover(SMALL);
        final TestMove first = submit(mover, MovePriority.LOAD, 100);
        final TestMove fourth = submit(mover, MovePriority.BACKGROUND_STORE, 50);
        final TestMove third = submit(mover, MovePriority.STORE, 50);
        final TestMove second = submit(mover, MovePriority.BACKGROUND_LOAD, 50);
        final TestMove demanded = submit(mover, MovePriority.LOAD, 50);
        assertEquals(List.of(first), started);
        mover.ended(first);
        assertEquals(List.of(first, demanded, second), started);
        mover.ended(demanded);
        mover.ended(second);
        assertEquals(List.of(first, demanded, second, third), started, "stores take half");
        mover.ended(third);
        assertEquals(List.of(first, demanded, second, third, fourth), started);
        assertEquals(1, mover.moving(MoveKind.DEMOTE));
        assertEquals(50, mover.movingBytes(MoveKind.DEMOTE));
        assertEquals(50, mover.movingBytes(Channel.SSD));
    }

    @Test
    void shouldLetALargeMoveDrainTheBudgetRatherThanBeOvertaken() {
        final Mover mover = mover(SMALL);
        final TestMove small = submit(mover, MovePriority.LOAD, 10);
        final TestMove large = submit(mover, MovePriority.LOAD, 250);
        submit(mover, MovePriority.LOAD, 10);
        assertEquals(List.of(small), started);
        mover.ended(small);
        assertEquals(List.of(small, large), started);
        mover.ended(large);
        assertEquals(3, started.size());
    }

    @Test
    void shouldTakeNoMoreLoadsThanHaveSpaceAndNoMoreStoresThanMayWait() {
        final Mover mover = mover(SMALL);
        final TestMove load = submit(mover, MovePriority.LOAD, 200);
        assertTrue(mover.takes(MoveKind.PROMOTE, MovePriority.BACKGROUND_LOAD, 100));
        submit(mover, MovePriority.BACKGROUND_LOAD, 80);
        assertFalse(mover.takes(MoveKind.PROMOTE, MovePriority.LOAD, 30));
        assertFalse(mover.submit(new TestMove(MovePriority.LOAD, 30)));
        mover.ended(load);
        assertFalse(mover.takes(MoveKind.PROMOTE, MovePriority.BACKGROUND_LOAD, 80), "half at most");
        assertTrue(mover.takes(MoveKind.PROMOTE, MovePriority.LOAD, 80));
        for (int i = 0; i < 8; i++) {
            submit(mover, MovePriority.STORE, 50);
        }
        assertFalse(mover.takes(MoveKind.DEMOTE, MovePriority.STORE, 1));
        assertTrue(mover.takes(MoveKind.DEMOTE, MovePriority.BACKGROUND_STORE, 1));
        assertEquals(8, mover.waiting(MoveKind.DEMOTE));
    }

    @Test
    void shouldDropWhatHasNotStartedAtItsDeadline() {
        final Mover mover = mover(SMALL);
        final TestMove first = new TestMove(MovePriority.LOAD, 100);
        assertTrue(mover.submit(first, SECOND));
        final TestMove late = new TestMove(MovePriority.LOAD, 100);
        assertTrue(mover.submit(late, SECOND));
        final TestMove small = submit(mover, MovePriority.STORE, 1);
        timers.poll(2 * SECOND, 10);
        assertEquals(List.of(late), dropped);
        assertEquals(List.of(first), started, "the one that started goes on");
        assertEquals(0, mover.waiting(MoveKind.PROMOTE));
        mover.ended(first);
        assertEquals(List.of(first, small), started);
        assertEquals(0, timers.size());
    }

    @Test
    void shouldStartWhatWasBehindADroppedOne() {
        final Mover mover = mover(SMALL);
        submit(mover, MovePriority.LOAD, 50);
        final TestMove large = new TestMove(MovePriority.LOAD, 60);
        assertTrue(mover.submit(large, SECOND));
        final TestMove behind = submit(mover, MovePriority.LOAD, 50);
        assertEquals(1, started.size());
        timers.poll(2 * SECOND, 10);
        assertEquals(behind, started.getLast());
    }

    @Test
    void shouldTakeBackOnlyWhatWaits() {
        final Mover mover = mover(SMALL);
        final TestMove first = submit(mover, MovePriority.LOAD, 60);
        final TestMove second = submit(mover, MovePriority.LOAD, 60);
        final TestMove third = submit(mover, MovePriority.LOAD, 40);
        assertFalse(mover.cancel(first));
        assertTrue(mover.cancel(second));
        assertFalse(mover.cancel(second));
        assertEquals(List.of(first, third), started);
        assertEquals(List.of(), dropped);
    }

    @Test
    void shouldDropWhatWaitsWhenItCloses() {
        final Mover mover = mover(SMALL);
        final TestMove first = submit(mover, MovePriority.LOAD, 100);
        final TestMove second = submit(mover, MovePriority.LOAD, 100);
        final TestMove third = submit(mover, MovePriority.STORE, 1);
        mover.close();
        assertEquals(List.of(second, third), dropped);
        mover.ended(first);
        assertEquals(List.of(first), started);
        assertFalse(mover.submit(new TestMove(MovePriority.LOAD, 1)));
    }

    @Test
    void shouldGoOnWithMovesThatEndAtOnce() {
        final Mover mover = mover(SMALL);
        final TestMove first = submit(mover, MovePriority.LOAD, 100);
        for (int i = 0; i < 8; i++) {
            final TestMove move = new TestMove(MovePriority.STORE, 50);
            move.endsAtOnce = true;
            move.mover = mover;
            assertTrue(mover.submit(move));
        }
        mover.ended(first);
        assertEquals(9, started.size());
        assertEquals(0, mover.movingBytes(Channel.SSD));
    }

    @Provide
    Arbitrary<MoveBudget> budgets() {
        return Arbitraries.longs()
                .between(1, 1_000_000)
                .map(seed -> new SplittableRandom(seed))
                .map(random -> new MoveBudget(
                        random.nextLong(1, 200),
                        random.nextLong(1, 200),
                        random.nextInt(1, 20),
                        random.nextInt(1, 20),
                        random.nextLong(1, 400),
                        random.nextInt(1, 40)));
    }

    /** Everything that it promises, checked after each step of a random history. */
    @Property(tries = 500)
    void shouldKeepItsBudgetAndForgetNoMove(
            @ForAll("budgets") final MoveBudget budget, @ForAll @LongRange(min = 0, max = 1 << 20) final long seed) {
        started.clear();
        dropped.clear();
        final TimerWheel wheel = new TimerWheel(0);
        final Mover mover = new Mover(wheel, Map.of(Channel.SSD, budget));
        final SplittableRandom random = new SplittableRandom(seed);
        final List<TestMove> submitted = new ArrayList<>();
        int canceled = 0;
        long nowNs = 0;
        for (int step = 0; step < 300; step++) {
            final TestMove any = submitted.isEmpty() ? null : submitted.get(random.nextInt(submitted.size()));
            switch (random.nextInt(8)) {
                case 0, 1, 2, 3 -> {
                    final TestMove move =
                            new TestMove(PRIORITIES.get(random.nextInt(PRIORITIES.size())), random.nextLong(0, 120));
                    final boolean taken = random.nextInt(4) == 0
                            ? mover.submit(move, nowNs + random.nextLong(SECOND))
                            : mover.submit(move);
                    if (taken) {
                        submitted.add(move);
                    }
                }
                case 4, 5, 6 -> {
                    final TestMove over = started.stream()
                            .filter(move -> move.moving)
                            .skip(random.nextInt(3))
                            .findFirst()
                            .orElse(null);
                    if (over != null) {
                        over.moving = false;
                        mover.ended(over);
                    }
                }
                default -> {
                    if (any != null && random.nextBoolean() && mover.cancel(any)) {
                        canceled++;
                    }
                    nowNs += random.nextLong(SECOND / 4);
                    wheel.poll(nowNs, 100);
                }
            }
            assertWithinBudget(mover, budget);
            assertEquals(
                    submitted.size(),
                    started.size()
                            + dropped.size()
                            + canceled
                            + mover.waiting(MoveKind.PROMOTE)
                            + mover.waiting(MoveKind.DEMOTE));
        }
        // Whatever waits starts in the end.
        for (TestMove move = moving(); move != null; move = moving()) {
            move.moving = false;
            mover.ended(move);
        }
        assertEquals(submitted.size(), started.size() + dropped.size() + canceled);
        assertEquals(0, mover.movingBytes(Channel.SSD));
    }

    private TestMove moving() {
        return started.stream().filter(move -> move.moving).findFirst().orElse(null);
    }

    private void assertWithinBudget(final Mover mover, final MoveBudget budget) {
        final List<TestMove> moving =
                started.stream().filter(move -> move.moving).toList();
        final List<TestMove> stores =
                moving.stream().filter(move -> move.priority().isStore()).toList();
        final long bytes = moving.stream().mapToLong(Move::bytes).sum();
        final long storeBytes = stores.stream().mapToLong(Move::bytes).sum();
        assertEquals(bytes, mover.movingBytes(Channel.SSD));
        assertEquals(storeBytes, mover.movingBytes(MoveKind.DEMOTE));
        assertEquals(stores.size(), mover.moving(MoveKind.DEMOTE));
        assertEquals(moving.size() - stores.size(), mover.moving(MoveKind.PROMOTE));
        assertTrue(bytes <= budget.bytes()
                || moving.stream().filter(move -> move.bytes() > 0).count() <= 1);
        assertTrue(storeBytes <= budget.storeBytes()
                || stores.stream().filter(move -> move.bytes() > 0).count() <= 1);
        assertTrue(stores.size() <= budget.stores());
    }

    /** All queues are full all the time: each move starts after a bounded number of bytes of others, however urgent. */
    @Property(tries = 200)
    void shouldLetNobodyWaitForEver(@ForAll @LongRange(min = 0, max = 1 << 20) final long seed) {
        started.clear();
        seen = 0;
        final long largest = 64;
        final long unbounded = Long.MAX_VALUE / 4;
        final Mover mover = new Mover(
                new TimerWheel(0), Map.of(Channel.SSD, new MoveBudget(512, unbounded, 1000, 20, unbounded, 400)));
        final SplittableRandom random = new SplittableRandom(seed);
        final List<List<TestMove>> waiting = new ArrayList<>();
        for (int i = 0; i < PRIORITIES.size(); i++) {
            waiting.add(new ArrayList<>());
        }
        for (int step = 0; step < 1000; step++) {
            for (final MovePriority priority : PRIORITIES) {
                final List<TestMove> queue = waiting.get(priority.level());
                while (queue.size() < 10) {
                    final TestMove move = new TestMove(priority, random.nextLong(1, largest + 1));
                    queue.add(move);
                    assertTrue(mover.submit(move));
                    seeStarted(waiting, largest);
                }
            }
            final List<TestMove> moving =
                    started.stream().filter(move -> move.moving).toList();
            started.clear();
            started.addAll(moving);
            seen = moving.size();
            final TestMove over = moving.get(random.nextInt(moving.size()));
            over.moving = false;
            mover.ended(over);
            seeStarted(waiting, largest);
        }
    }

    private void seeStarted(final List<List<TestMove>> waiting, final long largest) {
        for (; seen < started.size(); seen++) {
            final TestMove now = started.get(seen);
            assertEquals(now, waiting.get(now.priority().level()).removeFirst(), "in their order");
            for (final List<TestMove> others : waiting) {
                if (!others.isEmpty()) {
                    final TestMove first = others.getFirst();
                    first.passed += now.bytes();
                    assertTrue(first.passed <= (Lane.PASSED + 8) * largest, () -> first.passed + " bytes went before");
                }
            }
        }
    }
}
