package io.kvasir.storage.lookup;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.junit.jupiter.api.Test;

/** The planner beside a reference that looks at every prefix anew. */
class PlannerTest {
    private static final int ADDRESSABLE = 1;
    /** Of each tier that can be fetched from; the last is one that no node has. */
    private static final int[] SLOWER = {2, 3, 6};

    /** One lookup, drawn from a seed: shrinking a seed is of no use, so the sizes are drawn small first. */
    private static final class Case implements Costs {
        final Presence presence = new Presence();
        final long[] bytes;
        final long[] newBytes;
        final long[] transferNs;
        final long[] queueNs;
        final int[] origin;
        final long leaseBytes;
        final long newLeaseBytes;
        final long recomputeNs;

        Case(final long seed, final int chunks, final int shards) {
            final SplittableRandom random = new SplittableRandom(seed);
            presence.reset(chunks, shards);
            for (int s = 0; s < shards; s++) {
                if (random.nextInt(2) == 0) {
                    presence.window(s, 1 + random.nextInt(chunks + 1));
                }
            }
            final int cells = chunks * shards;
            bytes = new long[cells];
            newBytes = new long[cells];
            transferNs = new long[cells];
            queueNs = new long[Planner.TIERS];
            origin = new int[cells];
            final int gaps = 1 + random.nextInt(3 * chunks);
            final int slow = 1 + random.nextInt(4);
            for (int cell = 0; cell < cells; cell++) {
                presence.set(cell, where(random, gaps, slow));
                bytes[cell] = random.nextInt(5);
                newBytes[cell] = random.nextBoolean() ? bytes[cell] : 0;
                transferNs[cell] = random.nextInt(4);
                origin[cell] = random.nextInt(5) == 0 ? SLOWER[random.nextInt(SLOWER.length)] : ADDRESSABLE;
            }
            for (int tier = 0; tier < queueNs.length; tier++) {
                queueNs[tier] = random.nextInt(6);
            }
            leaseBytes = random.nextInt(3) == 0 ? Long.MAX_VALUE : random.nextInt(4 * cells + 1) - 1;
            newLeaseBytes = random.nextInt(3) == 0 ? leaseBytes : random.nextInt(4 * cells + 1);
            recomputeNs = random.nextInt(3) == 0 ? 0 : 1 + random.nextInt(8);
        }

        private static byte where(final SplittableRandom random, final int gaps, final int slow) {
            if (random.nextInt(gaps) == 0) {
                return Presence.ABSENT;
            }
            if (random.nextInt(slow) == 0) {
                return Presence.READABLE;
            }
            return random.nextInt(4) == 0
                    ? Presence.ARRIVING
                    : Presence.fetchable(SLOWER[random.nextInt(SLOWER.length)]);
        }

        @Override
        public long bytes(final int cell) {
            return bytes[cell];
        }

        @Override
        public long newBytes(final int cell) {
            return newBytes[cell];
        }

        @Override
        public long queueNs(final int cell) {
            return queueNs[Presence.tier(presence.get(cell))];
        }

        @Override
        public long transferNs(final int cell) {
            return transferNs[cell];
        }

        @Override
        public int origin(final int cell) {
            return origin[cell];
        }

        // ---- the reference

        boolean isNeeded(final int prefix, final int chunk, final int shard) {
            final int window = presence.window(shard);
            return chunk < prefix && (window == 0 || chunk >= prefix - window);
        }

        private boolean isThere(final int cell, final boolean awaits) {
            return presence.get(cell) == Presence.READABLE || (awaits && presence.get(cell) != Presence.ABSENT);
        }

        boolean holds(final int prefix, final boolean awaits) {
            for (int cell = 0; cell < prefix * presence.shards(); cell++) {
                if (isNeeded(prefix, cell / presence.shards(), cell % presence.shards()) && !isThere(cell, awaits)) {
                    return false;
                }
            }
            return true;
        }

        long needs(final int prefix) {
            return needs(prefix, bytes);
        }

        long needs(final int prefix, final long[] ofCells) {
            long sum = 0;
            for (int cell = 0; cell < prefix * presence.shards(); cell++) {
                sum += isNeeded(prefix, cell / presence.shards(), cell % presence.shards()) ? ofCells[cell] : 0;
            }
            return sum;
        }

        long expectedNs(final int prefix) {
            long longest = 0;
            for (final int tier : SLOWER) {
                long sum = 0;
                boolean any = false;
                for (int cell = 0; cell < prefix * presence.shards(); cell++) {
                    if (presence.get(cell) == Presence.fetchable(tier)
                            && isNeeded(prefix, cell / presence.shards(), cell % presence.shards())) {
                        sum += transferNs[cell];
                        any = true;
                    }
                }
                longest = Math.max(longest, any ? queueNs[tier] + sum : 0);
            }
            return longest;
        }

        boolean isWorth(final int prefix, final int hits) {
            return recomputeNs == 0 || expectedNs(prefix) <= recomputeNs * (prefix - hits) / 2;
        }

        int hits() {
            return longest(false, 0);
        }

        int reachable() {
            return longest(true, hits());
        }

        private int longest(final boolean awaits, final int hits) {
            int longest = hits;
            for (int prefix = hits + 1; prefix <= presence.chunks(); prefix++) {
                if (holds(prefix, awaits)
                        && needs(prefix) <= leaseBytes
                        && needs(prefix, newBytes) <= newLeaseBytes
                        && (!awaits || isWorth(prefix, hits))) {
                    longest = prefix;
                }
            }
            return longest;
        }

        Plan plan() {
            return new Planner(ADDRESSABLE).plan(presence, this, false, leaseBytes, newLeaseBytes, recomputeNs, true);
        }

        Plan sparse() {
            return new Planner(ADDRESSABLE).plan(presence, this, true, leaseBytes, newLeaseBytes, recomputeNs, true);
        }
    }

    @Provide
    Arbitrary<Integer> chunks() {
        return Arbitraries.integers().between(1, 24);
    }

    @Provide
    Arbitrary<Integer> shards() {
        return Arbitraries.integers().between(1, 5);
    }

    @Property(tries = 4000)
    void shouldFindWhatTheReferenceFinds(
            @ForAll final long seed, @ForAll("chunks") final int chunks, @ForAll("shards") final int shards) {
        final Case it = new Case(seed, chunks, shards);
        final Plan plan = it.plan();
        assertEquals(it.hits(), plan.hits(), "hits");
        assertEquals(it.reachable(), plan.hits() + plan.pending(), "reachable");
        boolean leftOut = false;
        for (int prefix = plan.hits() + 1; prefix <= chunks; prefix++) {
            leftOut |= it.holds(prefix, false);
        }
        assertEquals(leftOut, plan.isCut(), "left out by the limit");
        for (int chunk = 0; chunk < chunks; chunk++) {
            for (int s = 0; s < shards; s++) {
                final boolean readable = it.presence.get(chunk * shards + s) == Presence.READABLE;
                assertEquals(readable && it.isNeeded(plan.hits(), chunk, s), plan.isLeased(chunk, s));
                assertEquals(!readable && it.isNeeded(it.reachable(), chunk, s), plan.isAwaited(chunk, s));
            }
        }
    }

    /** What is told as a hit is leased, fits the limit, and is all that the groups' rules need of that prefix. */
    @Property(tries = 4000)
    void shouldLeaseWhatTheHitsNeedWithinTheLimit(
            @ForAll final long seed, @ForAll("chunks") final int chunks, @ForAll("shards") final int shards) {
        final Case it = new Case(seed, chunks, shards);
        final Plan plan = it.plan();
        assertTrue(it.holds(plan.hits(), false));
        assertTrue(plan.hits() == 0 || leased(it, plan, it.bytes) <= it.leaseBytes);
        assertTrue(plan.hits() == 0 || leased(it, plan, it.newBytes) <= it.newLeaseBytes);
        final Plan sparse = it.sparse();
        assertTrue(sparse.leasedChunks() == 0 || leased(it, sparse, it.bytes) <= it.leaseBytes);
        assertTrue(sparse.leasedChunks() == 0 || leased(it, sparse, it.newBytes) <= it.newLeaseBytes);
        int whole = 0;
        for (int chunk = 0; chunk < chunks; chunk++) {
            boolean all = true;
            for (int s = 0; s < shards; s++) {
                all &= sparse.isLeased(chunk, s);
            }
            whole += all ? 1 : 0;
        }
        assertEquals(whole, sparse.hits(), "sparse hits are leased in every shard");
    }

    private static long leased(final Case it, final Plan plan, final long[] bytes) {
        long sum = 0;
        for (int cell = 0; cell < it.bytes.length; cell++) {
            sum += plan.isLeased(cell / it.presence.shards(), cell % it.presence.shards()) ? bytes[cell] : 0;
        }
        return sum;
    }

    @Property(tries = 2000)
    void shouldFindNoLessWhenMoreIsThereOrMayBeLeased(
            @ForAll final long seed, @ForAll("chunks") final int chunks, @ForAll("shards") final int shards) {
        final Case it = new Case(seed, chunks, shards);
        final Planner planner = new Planner(ADDRESSABLE);
        final SplittableRandom random = new SplittableRandom(seed);
        final boolean sparse = random.nextBoolean();
        final long limit = random.nextInt(4 * it.bytes.length + 1);
        int hits = 0;
        int reachable = 0;
        for (long more = 0; more < 6; more++) {
            final Plan plan = planner.plan(it.presence, it, sparse, limit + more, Long.MAX_VALUE, 0, true);
            assertTrue(plan.hits() >= hits, "hits with a larger limit");
            hits = plan.hits();
        }
        hits = 0;
        for (int cell = 0; cell < it.bytes.length; cell++) {
            final Plan plan = planner.plan(it.presence, it, sparse, Long.MAX_VALUE, Long.MAX_VALUE, 0, true);
            assertTrue(plan.hits() >= hits, "hits with more that is readable");
            assertTrue(plan.hits() + plan.pending() >= reachable, "reachable with more that is there");
            hits = plan.hits();
            reachable = plan.hits() + plan.pending();
            final byte where = it.presence.get(cell);
            it.presence.set(cell, where == Presence.ABSENT ? Presence.fetchable(2) : Presence.READABLE);
        }
    }

    private record Range(int first, int chunks, boolean hit, boolean pending, int tier, long expectedNs) {}

    private static List<Range> ranges(final Plan plan) {
        final List<Range> ranges = new ArrayList<>();
        plan.ranges(new Plan.Ranges() {
            @Override
            public void miss(final int firstChunk, final int chunks) {
                ranges.add(new Range(firstChunk, chunks, false, false, 0, 0));
            }

            @Override
            public void exact(
                    final int firstChunk,
                    final int chunks,
                    final boolean pending,
                    final int tier,
                    final long expectedNs) {
                ranges.add(new Range(firstChunk, chunks, !pending, pending, tier, expectedNs));
            }
        });
        return ranges;
    }

    @Property(tries = 2000)
    void shouldSayRangesWithoutGapsThatAddUpToTheCounts(
            @ForAll final long seed,
            @ForAll("chunks") final int chunks,
            @ForAll("shards") final int shards,
            @ForAll final boolean sparse) {
        final Case it = new Case(seed, chunks, shards);
        final Plan plan = sparse ? it.sparse() : it.plan();
        int next = 0;
        int hits = 0;
        int pending = 0;
        long expectedNs = 0;
        for (final Range range : ranges(plan)) {
            assertEquals(next, range.first);
            assertTrue(range.chunks > 0);
            next += range.chunks;
            hits += range.hit ? range.chunks : 0;
            pending += range.pending ? range.chunks : 0;
            expectedNs = Math.max(expectedNs, range.expectedNs);
        }
        assertEquals(chunks, next);
        assertEquals(plan.hits(), hits);
        assertEquals(plan.pending(), pending);
        if (!sparse) {
            assertEquals(it.expectedNs(it.reachable()), expectedNs, "the last range ends with the last transfer");
        }
    }

    private static final class Flat implements Costs {
        @Override
        public long bytes(final int cell) {
            return 1;
        }

        @Override
        public long newBytes(final int cell) {
            return 1;
        }

        @Override
        public long queueNs(final int cell) {
            return 5;
        }

        @Override
        public long transferNs(final int cell) {
            return 1;
        }

        @Override
        public int origin(final int cell) {
            return ADDRESSABLE;
        }
    }

    /** Shard 0 needs all chunks, shard 1 its last two: 4 chunks hold, and so do 3 only with what is before the window. */
    @Test
    void shouldFallBackToAPrefixWhoseOwnWindowIsThere() {
        final Presence presence = new Presence();
        presence.reset(4, 2);
        presence.window(1, 2);
        for (int chunk = 0; chunk < 4; chunk++) {
            presence.set(chunk * 2, Presence.READABLE);
            presence.set(chunk * 2 + 1, chunk == 1 ? Presence.ABSENT : Presence.READABLE);
        }
        final Planner planner = new Planner(ADDRESSABLE);
        assertEquals(4, planner.plan(presence, new Flat(), false, 6, 6, 0, true).hits());
        final Plan plan = planner.plan(presence, new Flat(), false, 5, 5, 0, true);
        assertEquals(1, plan.hits(), "3 chunks would need what shard 1 lacks");
        assertTrue(plan.isCut());
        assertTrue(plan.isLeased(0, 1));
    }

    @Test
    void shouldWaitForWhatPaysOnlyTogether() {
        final Presence presence = new Presence();
        presence.reset(10, 1);
        for (int chunk = 0; chunk < 10; chunk++) {
            presence.set(chunk, Presence.fetchable(2));
        }
        final Planner planner = new Planner(ADDRESSABLE);
        // A queue of 5 and 1 for each: worth it from 10 chunks of 3 on, whose half is 15.
        assertEquals(
                10, planner.plan(presence, new Flat(), false, 10, 10, 3, true).pending());
        assertEquals(
                0, planner.plan(presence, new Flat(), false, 10, 10, 2, true).pending());
        assertEquals(
                0, planner.plan(presence, new Flat(), false, 10, 10, 3, false).pending());
    }

    @Test
    void shouldAllocateNothingForAPlan() {
        final Presence presence = new Presence();
        final Planner planner = new Planner(ADDRESSABLE);
        final Flat costs = new Flat();
        final ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
        long least = Long.MAX_VALUE;
        for (int i = 0; i < 50; i++) {
            final long before = threads.getCurrentThreadAllocatedBytes();
            presence.reset(512, 8);
            presence.window(3, 16);
            for (int cell = 0; cell < 512 * 8; cell++) {
                presence.set(cell, cell < 2000 ? Presence.READABLE : Presence.fetchable(2));
            }
            final Plan plan = planner.plan(presence, costs, false, 3000, 2900, 100, true);
            assertFalse(plan.hits() == 0 || plan.pending() == 0);
            least = Math.min(least, threads.getCurrentThreadAllocatedBytes() - before);
        }
        assertEquals(0, least);
    }
}
