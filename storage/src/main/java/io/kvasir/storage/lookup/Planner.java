package io.kvasir.storage.lookup;

import java.util.Arrays;

/**
 * Plans a lookup: how long a prefix is a hit, how far waiting makes it longer, and which cells that takes. Pure: it reads
 * a {@link Presence} and {@link Costs}, and knows no tier but by its number. Each plan is one pass over the cells, or two
 * when something is on its way; it allocates nothing once its arrays have grown.
 *
 * <p>A prefix holds when each shard whose group needs every chunk has them all, and each other shard its window at the
 * prefix's end. So a prefix may hold where a shorter one does not, and a limit is met by looking for another prefix that
 * holds, never by cutting one off.
 */
public final class Planner {
    /** Tiers that a presence can name. */
    public static final int TIERS = 8;

    private final Plan plan;
    /** Of each shard with a window, the chunk behind its last gap. */
    private int[] afterGap = {};

    private final Transfers transfers = new Transfers();

    private Presence presence;
    private Costs costs;
    private long leaseBytes;
    private long newLeaseBytes;
    /** The limit of all leaves less than the session's own, which is met otherwise whenever the own is. */
    private boolean countsNew;

    private long recomputeNs;

    /** @param addressable the tier whose objects engines can copy */
    public Planner(final int addressable) {
        plan = new Plan(addressable);
    }

    /** Expected times of what is fetched, by tier. */
    static final class Transfers {
        private final long[] queueNs = new long[TIERS];
        private final long[] busyNs = new long[TIERS];
        private final int[] count = new int[TIERS];

        void clear() {
            Arrays.fill(queueNs, 0);
            Arrays.fill(busyNs, 0);
            Arrays.fill(count, 0);
        }

        void add(final int tier, final long queue, final long transfer) {
            queueNs[tier] = Math.max(queueNs[tier], queue);
            busyNs[tier] += transfer;
            count[tier]++;
        }

        void remove(final int tier, final long transfer) {
            busyNs[tier] -= transfer;
            count[tier]--;
        }

        long expectedNs(final int tier) {
            return count[tier] == 0 ? 0 : queueNs[tier] + busyNs[tier];
        }

        /** Until the slowest tier has sent all. */
        long expectedNs() {
            long longest = 0;
            for (int tier = 0; tier < TIERS; tier++) {
                longest = Math.max(longest, expectedNs(tier));
            }
            return longest;
        }
    }

    /**
     * The plan for what is present. The planner's next plan overwrites it.
     *
     * @param sparse each chunk is wanted on its own, in all shards that are not skipped; else the longest prefix by the rules of the groups
     * @param leaseBytes what the session may lease; below 0: nothing, not even what costs nothing
     * @param newLeaseBytes what may be leased that no session has leased
     * @param recomputeNs in which the engine computes one chunk: what is expected later than half of the time that it
     *     saves is not waited for; 0: unknown, always worth it
     * @param awaits false: what is not readable is not waited for
     */
    public Plan plan(
            final Presence cells,
            final Costs cellCosts,
            final boolean sparse,
            final long leaseBytes,
            final long newLeaseBytes,
            final long recomputeNs,
            final boolean awaits) {
        presence = cells;
        costs = cellCosts;
        this.leaseBytes = leaseBytes;
        this.newLeaseBytes = newLeaseBytes;
        countsNew = newLeaseBytes < leaseBytes;
        this.recomputeNs = recomputeNs;
        plan.begin(cells, cellCosts, sparse);
        if (sparse) {
            leaseEach();
            if (awaits && !plan.isCut) {
                awaitEach();
            }
        } else {
            if (afterGap.length < cells.shards()) {
                afterGap = new int[cells.shards()];
            }
            leasePrefix();
            plan.reachable = plan.hits;
            if (awaits && plan.hits < cells.chunks()) {
                awaitPrefix();
            }
        }
        return plan;
    }

    private void leasePrefix() {
        longestPrefix(0, 0, 0, false);
    }

    private void awaitPrefix() {
        // Without windows the pass goes on where the hits end.
        final boolean goesOn = !presence.anyWindow();
        longestPrefix(goesOn ? plan.hits : 0, goesOn ? plan.leasedBytes : 0, goesOn ? plan.newlyLeasedBytes : 0, true);
    }

    /** One pass: the longest prefix that holds, fits what may be leased and, with {@code awaits}, is worth waiting for. */
    private void longestPrefix(
            final int from, final long bytesBefore, final long newBytesBefore, final boolean awaits) {
        final int shards = presence.shards();
        Arrays.fill(afterGap, 0, shards, 0);
        transfers.clear();
        long bytes = bytesBefore;
        long newBytes = newBytesBefore;
        for (int chunk = from; chunk < presence.chunks(); chunk++) {
            boolean holds = true;
            for (int s = 0; s < shards; s++) {
                final int cell = chunk * shards + s;
                final int window = presence.window(s);
                if (counts(cell, awaits)) {
                    bytes += costs.bytes(cell);
                    newBytes += newBytes(cell);
                    begin(cell);
                } else if (window == 0) {
                    return;
                } else {
                    afterGap[s] = chunk + 1;
                }
                if (window > 0) {
                    final int behind = cell - window * shards;
                    if (chunk >= window && counts(behind, awaits)) {
                        bytes -= costs.bytes(behind);
                        newBytes -= newBytes(behind);
                        end(behind);
                    }
                    holds &= afterGap[s] <= Math.max(0, chunk + 1 - window);
                }
            }
            if (!holds) {
                continue;
            }
            if (!awaits) {
                plan.isCut = !fits(bytes, newBytes);
                if (!plan.isCut) {
                    plan.hits = chunk + 1;
                    plan.leasedBytes = bytes;
                    plan.newlyLeasedBytes = newBytes;
                }
            } else if (chunk >= plan.hits && fits(bytes, newBytes) && isWorth(chunk + 1 - plan.hits)) {
                plan.reachable = chunk + 1;
            }
        }
    }

    private boolean fits(final long bytes, final long newBytes) {
        return bytes <= leaseBytes && newBytes <= newLeaseBytes;
    }

    /** 0 while that limit cannot be the one that is met. */
    private long newBytes(final int cell) {
        return countsNew ? costs.newBytes(cell) : 0;
    }

    private boolean counts(final int cell, final boolean awaits) {
        final byte where = presence.get(cell);
        return where == Presence.READABLE || (awaits && where != Presence.ABSENT);
    }

    private void begin(final int cell) {
        final byte where = presence.get(cell);
        if (Presence.isFetchable(where)) {
            transfers.add(Presence.tier(where), costs.queueNs(cell), costs.transferNs(cell));
        }
    }

    private void end(final int cell) {
        final byte where = presence.get(cell);
        if (Presence.isFetchable(where)) {
            transfers.remove(Presence.tier(where), costs.transferNs(cell));
        }
    }

    private boolean isWorth(final int chunks) {
        return recomputeNs == 0 || transfers.expectedNs() <= recomputeNs * chunks / 2;
    }

    /** What is readable of each chunk, up to the first chunk that does not fit. */
    private void leaseEach() {
        final int shards = presence.shards();
        for (int chunk = 0; chunk < presence.chunks(); chunk++) {
            long bytes = 0;
            long newBytes = 0;
            for (int cell = chunk * shards; cell < (chunk + 1) * shards; cell++) {
                if (presence.get(cell) == Presence.READABLE) {
                    bytes += costs.bytes(cell);
                    newBytes += newBytes(cell);
                }
            }
            if (!fits(plan.leasedBytes + bytes, plan.newlyLeasedBytes + newBytes)) {
                plan.isCut = true;
                return;
            }
            plan.leasedBytes += bytes;
            plan.newlyLeasedBytes += newBytes;
            plan.leaseEnd = chunk + 1;
            plan.hits += presence.isReadable(chunk) ? 1 : 0;
        }
    }

    private void awaitEach() {
        final int shards = presence.shards();
        transfers.clear();
        long bytes = plan.leasedBytes;
        long newBytes = plan.newlyLeasedBytes;
        int pending = 0;
        for (int chunk = 0; chunk < presence.chunks(); chunk++) {
            if (!presence.isComing(chunk) || presence.isReadable(chunk)) {
                continue;
            }
            for (int s = 0; s < shards; s++) {
                final int cell = chunk * shards + s;
                if (presence.get(cell) != Presence.READABLE && !presence.isSkipped(s)) {
                    bytes += costs.bytes(cell);
                    newBytes += newBytes(cell);
                    begin(cell);
                }
            }
            pending++;
            if (fits(bytes, newBytes) && isWorth(pending)) {
                plan.awaitEnd = chunk + 1;
                plan.pending = pending;
            }
        }
    }
}
