package io.kvasir.storage;

import io.kvasir.storage.dram.DramTier;
import io.kvasir.storage.dram.TenantArena;
import io.kvasir.storage.index.ObjectTable;
import io.kvasir.storage.lookup.Plan;
import io.kvasir.storage.lookup.Planner;
import io.kvasir.storage.lookup.Presence;
import java.util.ArrayList;
import java.util.List;
import java.util.function.IntConsumer;

/**
 * How engines read: finds out where the objects of a lookup are, has the {@link Planner} plan it, starts fetches, leases
 * the hits, packs the answer. Owned by {@link ObjectStore}.
 */
final class Lookups {
    /** Plans of one lookup: each but the first because something could not be fetched. */
    private static final int MOST_PLANS = 8;

    private final DramTier dram;
    private final SsdShelf ssd;
    private final RemoteShelf remote;
    private final Arrivals arrivals;
    private final Leases leases;
    private final Waiters waiters;
    private final IntConsumer verify;
    private final StoreContext context;
    private final StorageCounters counters;
    private final Planner planner = new Planner(TierKind.DRAM.code());
    /** Of the lookup under way. */
    private final LookupCells cells;

    Lookups(
            final ObjectTable table,
            final DramTier dram,
            final SsdShelf ssd,
            final RemoteShelf remote,
            final Arrivals arrivals,
            final Leases leases,
            final Waiters waiters,
            final IntConsumer verify,
            final StoreContext context,
            final StorageCounters counters) {
        this.dram = dram;
        this.ssd = ssd;
        this.remote = remote;
        this.arrivals = arrivals;
        this.leases = leases;
        this.waiters = waiters;
        this.verify = verify;
        this.context = context;
        this.counters = counters;
        cells = new LookupCells(table, dram, ssd, remote, leases);
    }

    /** See {@link ObjectStore#lookup}. */
    ObjectStore.LookupResult lookup(final Leases.Holder owner, final ObjectStore.LookupQuery query) {
        final long nowNs = context.nanoClock().nanoTime();
        if (query.peek()) {
            return peek(owner, query, nowNs);
        }
        look(owner, query, true, nowNs);
        long leaseBytes = leases.leasableBytes(owner);
        Plan plan = plan(query, leaseBytes, true);
        if (!leases.hasSpace(plan.leasedChunks() * cells.shards, cells.shards)) {
            leaseBytes = -1;
            plan = plan(query, leaseBytes, true);
        }
        if (plan.pending() > 0) {
            // A promotion may evict; nothing that this lookup found may go for it.
            cells.hold();
            plan = fetch(owner, query, plan, leaseBytes, nowNs);
            cells.unhold();
        }
        final Leases.Lease lease = lease(owner, query, plan, nowNs);
        return answer(query, plan, lease, ranges(plan, true));
    }

    private ObjectStore.LookupResult peek(
            final Leases.Holder owner, final ObjectStore.LookupQuery query, final long nowNs) {
        if (remote.isOpen()) {
            // The next peek knows more.
            look(owner, query, true, nowNs);
            ask(owner, query, plan(query, Long.MAX_VALUE, true), nowNs);
        }
        look(owner, query, false, nowNs);
        final Plan plan = plan(query, Long.MAX_VALUE, true);
        return answer(query, plan, null, ranges(plan, false));
    }

    private void look(
            final Leases.Holder owner, final ObjectStore.LookupQuery query, final boolean asks, final long nowNs) {
        cells.look(owner, query.namespace(), query.keys(), query.sparse(), asks, nowNs);
    }

    private Plan plan(final ObjectStore.LookupQuery query, final long leaseBytes, final boolean awaits) {
        return planner.plan(cells.presence, cells, query.sparse(), leaseBytes, query.recomputeNsPerChunk(), awaits);
    }

    /** Every key in every shard, on its own, as far as it is on this node. */
    LookupCells here(final Leases.Holder owner, final Hash256 namespace, final byte[] keys) {
        cells.look(owner, namespace, keys, true, false, context.nanoClock().nanoTime());
        return cells;
    }

    // ---- fetching

    /** Starts what makes the pending chunks readable. What cannot be fetched is absent: then the rest is planned anew. */
    private Plan fetch(
            final Leases.Holder owner,
            final ObjectStore.LookupQuery query,
            final Plan first,
            final long leaseBytes,
            final long nowNs) {
        ask(owner, query, first, nowNs);
        Plan plan = first;
        for (int plans = 1; !start((TenantArena) owner.tenant, query, plan, nowNs); plans++) {
            plan = plan(query, leaseBytes, plans < MOST_PLANS);
        }
        remote.flush((TenantArena) owner.tenant);
        return plan;
    }

    /** Starts to find out who has what nobody asked for yet. */
    private void ask(
            final Leases.Holder owner, final ObjectStore.LookupQuery query, final Plan plan, final long nowNs) {
        if (remote.isOpen()) {
            remote.ask(
                    cells, query.namespace(), query.keys(), owner.shards.shards(), plan.end(), query.sparse(), nowNs);
        }
    }

    /** False when the plan does not hold: a cell that it waits for turned out to be absent. */
    private boolean start(
            final TenantArena tenant, final ObjectStore.LookupQuery query, final Plan plan, final long nowNs) {
        final long recomputeNs = query.recomputeNsPerChunk();
        final long worthNs = recomputeNs == 0 ? Long.MAX_VALUE : recomputeNs * plan.pending() / 2;
        final boolean behindHits = !query.sparse() && !cells.presence.anyWindow();
        // Without space for more just now, the rest is pending all the same: who waits is woken when there is.
        boolean later = false;
        for (int chunk = behindHits ? plan.hits() : 0; chunk < plan.end(); chunk++) {
            for (int s = 0; s < cells.shards; s++) {
                final int cell = chunk * cells.shards + s;
                if (!plan.isAwaited(chunk, s)) {
                    continue;
                }
                final int entry = cells.entries[cell];
                if (entry != DramTier.NONE) {
                    if (dram.isUnverified(entry)) {
                        verify.accept(entry);
                    }
                } else if (!later) {
                    final ObjectId id = cells.id(query.namespace(), query.keys(), cell);
                    if (cells.isOn(TierKind.REMOTE, cell)) {
                        later = !remote.want(cells.hashes[cell], id, worthNs);
                        continue;
                    }
                    final int promoted = ssd.promote(tenant, cells.objects[cell], id, nowNs);
                    if (promoted == DramTier.NONE) {
                        cells.presence.set(cell, Presence.ABSENT);
                        return false;
                    }
                    later = promoted == SsdShelf.LATER;
                    cells.entries[cell] = later ? DramTier.NONE : promoted;
                }
            }
        }
        return true;
    }

    // ---- the answer

    /** Leases what the plan says; null when that is nothing. */
    private Leases.Lease lease(
            final Leases.Holder owner, final ObjectStore.LookupQuery query, final Plan plan, final long nowNs) {
        final int[] leased = new int[plan.leasedChunks() * cells.shards];
        boolean any = false;
        // Backwards, so that what comes first in the prefix was used last.
        for (int chunk = plan.leasedChunks() - 1; chunk >= 0; chunk--) {
            for (int s = cells.shards - 1; s >= 0; s--) {
                final int cell = chunk * cells.shards + s;
                leased[cell] = DramTier.NONE;
                if (plan.isLeased(chunk, s)) {
                    any = true;
                    leased[cell] = cells.entries[cell];
                    dram.touch(leased[cell]);
                    ssd.used(dram.object(leased[cell]), dram.hash(leased[cell]));
                }
            }
        }
        if (!any) {
            return null;
        }
        final Leases.Lease lease = leases.grant(owner, leased, cells.shards, nowNs + context.leaseNs(query.leaseNs()));
        for (final int entry : leased) {
            arrivals.leased(entry);
        }
        return lease;
    }

    /** @param counted a hit is the hit of the tier from which it came; else of DRAM, where it is */
    private List<PlanRange> ranges(final Plan plan, final boolean counted) {
        final List<PlanRange> ranges = new ArrayList<>(4);
        plan.ranges(new Plan.Ranges() {
            @Override
            public void miss(final int firstChunk, final int chunks) {
                ranges.add(new PlanRange.Miss(firstChunk, chunks));
            }

            @Override
            public void exact(
                    final int firstChunk,
                    final int chunks,
                    final boolean pending,
                    final int tier,
                    final long expectedNs) {
                ranges.add(new PlanRange.Exact(
                        firstChunk,
                        chunks,
                        pending ? SlotStatus.PENDING : SlotStatus.HIT,
                        pending || counted ? TierKind.of(tier) : TierKind.DRAM,
                        expectedNs));
            }
        });
        return ranges;
    }

    private ObjectStore.LookupResult answer(
            final ObjectStore.LookupQuery query,
            final Plan plan,
            final Leases.Lease lease,
            final List<PlanRange> ranges) {
        final int chunks = query.sparse() ? cells.chunks : plan.hits();
        final int[] asked = query.shardIndices();
        final int width = asked.length == 0 ? cells.shards : asked.length;
        final SlotRecords records = new SlotRecords(dram, chunks * width);
        for (int chunk = 0; chunk < chunks; chunk++) {
            for (int a = 0; a < width; a++) {
                record(records, plan, query.sparse(), chunk, asked.length == 0 ? a : asked[a]);
            }
        }
        return new ObjectStore.LookupResult(
                lease == null ? 0 : lease.id,
                lease == null ? 0 : lease.expiresNs - context.nanoClock().nanoTime(),
                plan.hits(),
                plan.pending(),
                records.bytes(),
                records.regions(),
                ranges,
                plan.isCut());
    }

    private void record(
            final SlotRecords records, final Plan plan, final boolean sparse, final int chunk, final int shard) {
        final int cell = chunk * cells.shards + shard;
        final byte where = cells.presence.get(cell);
        if (plan.isLeased(chunk, shard)) {
            records.add(SlotStatus.HIT, cells.entries[cell]);
        } else if (!sparse) {
            records.add(SlotStatus.NOT_NEEDED, DramTier.NONE);
        } else if (where == Presence.ARRIVING) {
            records.pending(TierKind.DRAM);
        } else if (Presence.isFetchable(where)) {
            records.pending(TierKind.of(Presence.tier(where)));
        } else {
            records.add(SlotStatus.MISS, DramTier.NONE);
        }
    }

    /** See {@link ObjectStore#answered}. */
    void answered(final Leases.Holder owner, final ObjectStore.LookupResult result) {
        for (final PlanRange range : result.plan()) {
            (range.status() == SlotStatus.HIT
                            ? counters.hits
                            : range.status() == SlotStatus.PENDING ? counters.pending : counters.misses)
                    .add(range.chunks());
        }
        if (result.quotaRefused()) {
            counters.quotaRefused.increment();
        }
        final Leases.Lease lease = result.lease() == 0 ? null : leases.of(owner, result.lease());
        if (lease != null) {
            for (final int entry : lease.entries) {
                if (entry != DramTier.NONE) {
                    dram.originCounted(entry);
                }
            }
        }
    }

    /** See {@link ObjectStore#whenSettled}. */
    long whenSettled(final Leases.Holder owner, final ObjectStore.LookupQuery query, final Runnable wake) {
        look(owner, query, true, context.nanoClock().nanoTime());
        // The lease of what is here is granted already; what may be leased beside it is all that matters.
        final Plan plan = plan(query, Long.MAX_VALUE, true);
        final int[] entries = new int[Math.min(plan.end() * cells.shards, StoreLimits.WAITS)];
        int count = 0;
        boolean wantsRoom = false;
        // What comes behind is waited for when these have settled: whoever is woken looks again.
        for (int cell = 0; cell < plan.end() * cells.shards && count < entries.length; cell++) {
            if (!plan.isAwaited(cell / cells.shards, cell % cells.shards)) {
                continue;
            }
            if (cells.entries[cell] != DramTier.NONE) {
                entries[count++] = cells.entries[cell];
                continue;
            }
            final int event = cells.isOn(TierKind.REMOTE, cell) ? remote.waitFor(cells.hashes[cell]) : 0;
            if (event == 0) {
                // Not started, or the answer has come.
                wantsRoom = true;
            } else if (count == 0 || entries[count - 1] != event) {
                entries[count++] = event;
            }
        }
        if (count > 0) {
            return waiters.await(entries, count, wake);
        }
        return wantsRoom ? waiters.awaitRoom(0, wake) : 0;
    }

    /** See {@link ObjectStore#resolve}. */
    ObjectStore.LookupResult resolve(final Leases.Holder owner, final long lease, final int[] shardIndices) {
        final long nowNs = context.nanoClock().nanoTime();
        final Leases.Lease found = leases.valid(owner, lease, nowNs);
        if (found == null) {
            return null;
        }
        final int chunks = found.entries.length / found.shards;
        final int asked = shardIndices.length == 0 ? found.shards : shardIndices.length;
        final SlotRecords records = new SlotRecords(dram, chunks * asked);
        for (int chunk = 0; chunk < chunks; chunk++) {
            for (int a = 0; a < asked; a++) {
                final int entry =
                        found.entries[chunk * found.shards + (shardIndices.length == 0 ? a : shardIndices[a])];
                records.add(entry == DramTier.NONE ? SlotStatus.NOT_NEEDED : SlotStatus.HIT, entry);
            }
        }
        return new ObjectStore.LookupResult(
                lease, found.expiresNs - nowNs, chunks, 0, records.bytes(), records.regions(), List.of(), false);
    }

    boolean renew(final Leases.Holder owner, final long lease, final long leaseNs) {
        final long nowNs = context.nanoClock().nanoTime();
        final Leases.Lease found = leases.valid(owner, lease, nowNs);
        if (found == null) {
            return false;
        }
        found.expiresNs = nowNs + context.leaseNs(leaseNs);
        return true;
    }
}
