package io.kvasir.storage.lookup;

import io.kvasir.storage.budget.StoreLimits;
import io.kvasir.storage.index.ObjectTable;
import io.kvasir.storage.lease.LeaseTable;
import io.kvasir.storage.lease.SessionHolder;
import io.kvasir.storage.object.PlanRange;
import io.kvasir.storage.object.SlotStatus;
import io.kvasir.storage.object.TierKind;
import io.kvasir.storage.tier.AddressableTiers;
import io.kvasir.storage.tier.SlotRecords;
import io.kvasir.storage.tier.Tier;
import java.util.ArrayList;
import java.util.List;
import java.util.function.IntConsumer;
import java.util.function.LongUnaryOperator;
import org.agrona.concurrent.NanoClock;

/**
 * One lookup at a time, in steps of bounded work: finds out where the objects are, has the {@link Planner} plan it, starts
 * fetches, leases the hits, packs the answer. Between two steps others may use the store: what was found readable is held
 * until the end, and before each plan {@link LookupCells#lookAgain} sees to the rest. The arrays are reused by the next
 * lookup. Owned by {@link Lookups}.
 */
public final class LookupTask {
    /** Plans of one lookup: each but the first because something could not be fetched. */
    private static final int MOST_PLANS = 8;

    private static final int[] ALL_SHARDS = {};

    private enum Phase {
        /** A peek finds out what other nodes have; the next one knows more. */
        ASK,
        LOOK,
        /** What the lease that this lookup replaces has is given back. */
        GIVE_BACK,
        FETCH,
        LEASE,
        GRANT,
        TOUCH,
        PACK,
        LET_GO,
        DONE
    }

    private final AddressableTiers slots;
    private final List<Tier> tiers;
    private final LeaseTable leases;
    private final Waiters waiters;
    private final IntConsumer verify;
    private final LeaseListener listener;
    private final NanoClock clock;
    private final LongUnaryOperator leaseNs;
    private final Planner planner;
    final LookupCells cells;

    private Phase phase = Phase.DONE;
    private SessionHolder owner;
    private LookupQuery query;
    private boolean sliced;
    private long replaced;
    private long nowNs;
    /** What the session, and all together, may still lease. */
    private long leaseBytes;

    private long newLeaseBytes;
    private Plan plan;
    private int plans;
    /** Where the phase goes on: a chunk, or a cell. */
    private int at;
    /** Without space for more just now, the rest is pending all the same: who waits is woken when there is. */
    private boolean later;

    private long expiresNs;
    /** {@link LeaseTable#NONE}: nothing is leased. */
    private int lease = LeaseTable.NONE;
    /** 0 until the lease has all its cells. */
    private long leaseId;
    /** It has no cell yet that is leased. */
    private boolean isEmpty;

    private List<PlanRange> ranges;
    private SlotRecords records;

    /**
     * @param tiers from which objects are fetched, the fastest first
     * @param verify of an entry of the main tier that nobody has verified yet
     * @param leaseNs the length of a lease for the one that was asked for
     */
    public LookupTask(
            final ObjectTable table,
            final AddressableTiers slots,
            final List<Tier> tiers,
            final LeaseTable leases,
            final Waiters waiters,
            final IntConsumer verify,
            final LeaseListener listener,
            final NanoClock clock,
            final LongUnaryOperator leaseNs) {
        this.slots = slots;
        this.tiers = tiers;
        this.leases = leases;
        this.waiters = waiters;
        this.verify = verify;
        this.listener = listener;
        this.clock = clock;
        this.leaseNs = leaseNs;
        planner = new Planner(slots.kind().code());
        cells = new LookupCells(table, slots, tiers, leases);
    }

    /**
     * @param inSlices others may use the store between its steps
     * @param replacedLease is given back when this lookup holds what it covers, so that its quota is free; 0: none
     */
    void begin(final SessionHolder holder, final LookupQuery lookup, final boolean inSlices, final long replacedLease) {
        owner = holder;
        query = lookup;
        sliced = inSlices;
        replaced = replacedLease;
        nowNs = clock.nanoTime();
        lease = LeaseTable.NONE;
        leaseId = 0;
        plans = 0;
        later = false;
        if (query.peek() && tiers.stream().anyMatch(Tier::isAsked)) {
            phase = Phase.ASK;
            cells.begin(owner, query, true, false, false, nowNs);
        } else {
            look(!query.peek());
        }
    }

    private void look(final boolean asks) {
        phase = Phase.LOOK;
        cells.begin(owner, query, asks, sliced, false, nowNs);
    }

    /** Works on about so many cells; true when there is nothing more to do. */
    boolean step(final int most) {
        switch (phase) {
            case ASK -> {
                if (cells.lookOn(most)) {
                    limit(Long.MAX_VALUE, Long.MAX_VALUE);
                    plan(true);
                    ask();
                    look(false);
                }
            }
            case LOOK -> {
                if (cells.lookOn(most)) {
                    if (replaced != 0) {
                        leases.release(owner.leases, replaced, ALL_SHARDS);
                    }
                    phase = Phase.GIVE_BACK;
                }
            }
            case GIVE_BACK -> {
                if (replaced == 0 || leases.letGo(owner.leases, most)) {
                    afterLook();
                }
            }
            case FETCH -> {
                if (fetch(most)) {
                    if (!sliced) {
                        // What a promotion evicted may have been the first copy of what was found elsewhere.
                        if (cells.losesCondemned()) {
                            plan(plans < MOST_PLANS);
                        }
                        cells.unhold(Integer.MAX_VALUE);
                    }
                    phase = Phase.LEASE;
                }
            }
            case LEASE -> lease();
            case GRANT -> grant(most);
            case TOUCH -> touch(most);
            case PACK -> pack(most);
            case LET_GO -> phase = cells.unhold(most) ? Phase.DONE : Phase.LET_GO;
            case DONE -> {}
        }
        return phase == Phase.DONE;
    }

    private void afterLook() {
        if (query.peek()) {
            limit(Long.MAX_VALUE, Long.MAX_VALUE);
        } else {
            limit(leases.leasableBytes(owner.leases), leases.newlyLeasableBytes(owner.leases));
        }
        planWithinMemory(true);
        if (query.peek() || plan.pending() == 0) {
            phase = Phase.LEASE;
            return;
        }
        if (!sliced) {
            // A promotion may evict; nothing that this lookup found may go for it.
            cells.hold();
        }
        ask();
        at = fetchFrom();
        phase = Phase.FETCH;
    }

    private void limit(final long bytes, final long newBytes) {
        leaseBytes = bytes;
        newLeaseBytes = newBytes;
    }

    private void planWithinMemory(final boolean awaits) {
        plan(awaits);
        if (!query.peek() && !leases.hasSpace(owner.leases, plan.leasedChunks() * cells.shards, cells.shards)) {
            leaseBytes = -1;
            plan(awaits);
        }
    }

    private void plan(final boolean awaits) {
        if (sliced) {
            cells.lookAgain();
        }
        plan = planner.plan(
                cells.presence, cells, query.sparse(), leaseBytes, newLeaseBytes, query.recomputeNsPerChunk(), awaits);
    }

    // ---- fetching

    /** Starts to find out who has what nobody asked for yet. */
    private void ask() {
        for (final Tier tier : tiers) {
            tier.ask(cells, plan.end(), nowNs);
        }
    }

    private int fetchFrom() {
        return query.sparse() || cells.presence.anyWindow() ? 0 : plan.hits();
    }

    /** Starts what makes the pending chunks readable. What cannot be fetched is absent: then the rest is planned anew. */
    private boolean fetch(final int most) {
        final int end = (int) Math.min(plan.end(), at + Math.max(1L, most / cells.shards));
        for (; at < end; at++) {
            if (!fetch()) {
                plans++;
                plan(plans < MOST_PLANS);
                at = fetchFrom();
                break;
            }
        }
        for (final Tier tier : tiers) {
            tier.flush(owner.tenant);
        }
        return at >= plan.end();
    }

    /** False when the plan does not hold: a cell of the chunk that it waits for turned out to be absent. */
    private boolean fetch() {
        for (int s = 0; s < cells.shards; s++) {
            final int cell = at * cells.shards + s;
            if (!plan.isAwaited(at, s)) {
                continue;
            }
            final int entry = cells.entries[cell];
            if (entry != AddressableTiers.NONE) {
                if (slots.isMain(entry) && cells.isStill(cell) && slots.isUnverified(entry)) {
                    verify.accept(entry);
                }
            } else if (!later && !start(cell)) {
                cells.presence.set(cell, Presence.ABSENT);
                return false;
            }
        }
        return true;
    }

    private boolean start(final int cell) {
        final long recomputeNs = query.recomputeNsPerChunk();
        final long worthNs = recomputeNs == 0 ? Long.MAX_VALUE : recomputeNs * plan.pending() / 2;
        final int started = cells.tierOf(cell).fetch(owner.tenant, cells.at(cell), worthNs, nowNs);
        later = started == Tier.LATER;
        if (started >= 0) {
            cells.arrives(cell, started);
        }
        return started != Tier.NOT_HERE;
    }

    /** See {@code EngineStore#whenSettled}; of a lookup that has ended, or has looked and planned. */
    long await(final Runnable wake) {
        final int[] entries = new int[Math.min(plan.end() * cells.shards, StoreLimits.WAITS)];
        int count = 0;
        boolean wantsSpace = false;
        // What comes behind is waited for when these have settled: whoever is woken looks again.
        for (int chunk = 0; chunk < plan.end() && count < entries.length; chunk++) {
            for (int s = 0; s < cells.shards && count < entries.length; s++) {
                final int cell = chunk * cells.shards + s;
                if (!plan.isAwaited(chunk, s)) {
                    continue;
                }
                if (cells.entries[cell] != AddressableTiers.NONE) {
                    if (cells.isStill(cell) && !slots.isReadable(cells.entries[cell])) {
                        entries[count++] = cells.entries[cell];
                    }
                    continue;
                }
                final Tier tier = cells.tierOf(cell);
                final int event = tier == null ? 0 : tier.waitFor(cells.at(cell));
                if (event == 0) {
                    // Not started, or the answer has come.
                    wantsSpace = true;
                } else if (count == 0 || entries[count - 1] != event) {
                    entries[count++] = event;
                }
            }
        }
        if (count > 0) {
            return waiters.await(entries, count, wake);
        }
        return wantsSpace ? waiters.awaitRoom(0, wake) : 0;
    }

    /** What {@link #await} waits for, when no lookup went before: as if nothing limited what may be leased. */
    void lookAndPlan(final SessionHolder holder, final LookupQuery lookup) {
        begin(holder, lookup, false, 0);
        cells.lookOn(Integer.MAX_VALUE);
        limit(Long.MAX_VALUE, Long.MAX_VALUE);
        plan(true);
        phase = Phase.DONE;
    }

    // ---- the answer

    /** In one piece with its plan, so that what is told as a hit is leased. */
    private void lease() {
        if (sliced && !query.peek()) {
            limit(
                    Math.min(leaseBytes, leases.leasableBytes(owner.leases)),
                    Math.min(newLeaseBytes, leases.newlyLeasableBytes(owner.leases)));
            planWithinMemory(plans < MOST_PLANS);
        }
        ranges = ranges();
        final int[] asked = query.shardIndices();
        final int packed = query.sparse() ? cells.chunks : plan.hits();
        records = new SlotRecords(slots, packed * (asked.length == 0 ? cells.shards : asked.length));
        at = 0;
        phase = Phase.PACK;
        if (!query.peek() && plan.leasedChunks() > 0) {
            expiresNs = nowNs + leaseNs.applyAsLong(query.leaseNs());
            lease = leases.begin(
                    owner.leases, plan.leasedChunks() * cells.shards, cells.shards, plan.leasedBytes(), expiresNs);
            isEmpty = true;
            phase = Phase.GRANT;
        }
    }

    /** What was found readable is kept meanwhile, and its bytes are claimed. */
    private void grant(final int most) {
        final int end = (int) Math.min(plan.leasedChunks(), at + Math.max(1L, most / cells.shards));
        for (; at < end; at++) {
            for (int s = 0; s < cells.shards; s++) {
                final boolean isLeased = plan.isLeased(at, s);
                leases.add(lease, isLeased ? cells.entries[at * cells.shards + s] : LeaseTable.NONE);
                isEmpty &= !isLeased;
            }
        }
        if (at < plan.leasedChunks()) {
            return;
        }
        if (isEmpty) {
            leases.abandon(lease);
            lease = LeaseTable.NONE;
            at = 0;
            phase = Phase.PACK;
        } else {
            leaseId = leases.seal(lease);
            at *= cells.shards;
            phase = Phase.TOUCH;
        }
    }

    /** Backwards, so that what comes first in the prefix was used last. */
    private void touch(final int most) {
        for (int left = most; at > 0 && left > 0; left--) {
            at--;
            if (plan.isLeased(at / cells.shards, at % cells.shards)) {
                listener.leased(cells, at);
            }
        }
        if (at == 0) {
            phase = Phase.PACK;
        }
    }

    private void pack(final int most) {
        final int[] asked = query.shardIndices();
        final int width = asked.length == 0 ? cells.shards : asked.length;
        final int packed = query.sparse() ? cells.chunks : plan.hits();
        final int end = (int) Math.min(packed, at + Math.max(1L, most / width));
        for (; at < end; at++) {
            for (int a = 0; a < width; a++) {
                record(at, asked.length == 0 ? a : asked[a]);
            }
        }
        if (at >= packed) {
            phase = cells.unhold(0) ? Phase.DONE : Phase.LET_GO;
        }
    }

    private void record(final int chunk, final int shard) {
        final int cell = chunk * cells.shards + shard;
        final byte where = cells.presence.get(cell);
        if (plan.isLeased(chunk, shard)) {
            records.add(SlotStatus.HIT, cells.entries[cell]);
        } else if (!query.sparse()) {
            records.add(SlotStatus.NOT_NEEDED, AddressableTiers.NONE);
        } else if (where == Presence.ARRIVING) {
            records.pending(TierKind.DRAM);
        } else if (Presence.isFetchable(where)) {
            records.pending(TierKind.of(Presence.tier(where)));
        } else {
            records.add(SlotStatus.MISS, AddressableTiers.NONE);
        }
    }

    private List<PlanRange> ranges() {
        final List<PlanRange> out = new ArrayList<>(4);
        plan.ranges(new Plan.Ranges() {
            @Override
            public void miss(final int firstChunk, final int chunks) {
                out.add(new PlanRange.Miss(firstChunk, chunks));
            }

            @Override
            public void exact(
                    final int firstChunk,
                    final int chunks,
                    final boolean pending,
                    final int tier,
                    final long expectedNs) {
                // A hit is the hit of the tier from which it came; for a peek, of DRAM, where it is.
                out.add(new PlanRange.Exact(
                        firstChunk,
                        chunks,
                        pending ? SlotStatus.PENDING : SlotStatus.HIT,
                        pending || !query.peek() ? TierKind.of(tier) : TierKind.DRAM,
                        expectedNs));
            }
        });
        return out;
    }

    /** Of the lookup whose last step was done. */
    LookupAnswer result() {
        return new LookupAnswer(
                leaseId,
                leaseId == 0 ? 0 : expiresNs - clock.nanoTime(),
                plan.hits(),
                plan.pending(),
                records.bytes(),
                records.regions(),
                ranges,
                plan.isCut());
    }

    /** Ends the lookup, wherever it is; what it has leased and not answered is given back. */
    void end() {
        cells.unhold(Integer.MAX_VALUE);
        if (phase != Phase.DONE && lease != LeaseTable.NONE) {
            if (leaseId == 0) {
                leases.abandon(lease);
            } else {
                leases.release(owner.leases, leaseId, ALL_SHARDS);
            }
        }
        phase = Phase.DONE;
        owner = null;
        query = null;
        lease = LeaseTable.NONE;
        ranges = null;
        records = null;
    }
}
