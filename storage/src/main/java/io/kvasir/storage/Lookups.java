package io.kvasir.storage;

import io.kvasir.storage.dram.DramTier;
import io.kvasir.storage.dram.TenantArena;
import java.util.Arrays;
import java.util.List;

/** How engines read: plans a lookup, starts fetches, leases the hits, packs the answer. Owned by {@link ObjectStore}. */
final class Lookups {
    private final DramTier dram;
    private final SsdShelf ssd;
    private final LookupPlanner planner;
    private final RemoteShelf remote;
    private final Arrivals arrivals;
    private final Leases leases;
    private final Waiters waiters;
    private final StoreContext context;
    private final StorageCounters counters;

    Lookups(
            final DramTier dram,
            final SsdShelf ssd,
            final LookupPlanner planner,
            final RemoteShelf remote,
            final Arrivals arrivals,
            final Leases leases,
            final Waiters waiters,
            final StoreContext context,
            final StorageCounters counters) {
        this.dram = dram;
        this.ssd = ssd;
        this.planner = planner;
        this.remote = remote;
        this.arrivals = arrivals;
        this.leases = leases;
        this.waiters = waiters;
        this.context = context;
        this.counters = counters;
    }

    /** See {@link ObjectStore#lookup}. */
    ObjectStore.LookupResult lookup(final Leases.Holder owner, final ObjectStore.LookupQuery query) {
        final long nowNs = context.nanoClock().nanoTime();
        if (query.peek() && remote.isOpen()) {
            // The next peek knows more.
            final LookupPlanner.Found wanted =
                    planner.look(owner.shards, query.namespace(), query.keys(), query.sparse(), true, nowNs);
            planner.ask(
                    wanted,
                    query.namespace(),
                    query.keys(),
                    owner.shards,
                    query.sparse(),
                    query.sparse() ? wanted.chunks : wanted.hits + wanted.pending,
                    nowNs);
        }
        final LookupPlanner.Found found =
                planner.look(owner.shards, query.namespace(), query.keys(), query.sparse(), !query.peek(), nowNs);
        if (query.peek()) {
            return answer(
                    query, found, found.hits, null, false, planner.plan(found, found.hits, query.sparse(), false));
        }
        if (found.pending > 0) {
            // A promotion may evict; nothing that this lookup found may go for it.
            planner.hold(found);
            planner.fetch(
                    found,
                    (TenantArena) owner.tenant,
                    owner.shards,
                    query.namespace(),
                    query.keys(),
                    query.sparse(),
                    query.recomputeNsPerChunk(),
                    nowNs);
            planner.unhold(found);
        }
        final int chunks = query.sparse() ? found.chunks : found.hits;
        dropUnreadable(found, chunks);
        final int fitting = leases.fitting(owner, found.entries, chunks, found.shards);
        final int hits = query.sparse() ? found.hits : fitting;
        final List<PlanRange> plan = planner.plan(found, hits, query.sparse(), true);
        Leases.Lease lease = null;
        final int[] leased = Arrays.copyOf(found.entries, fitting * found.shards);
        if (hits > 0 && fitting > 0) {
            for (int i = leased.length - 1; i >= 0; i--) {
                if (leased[i] != DramTier.NONE) {
                    dram.touch(leased[i]);
                    ssd.used(dram.object(leased[i]), dram.hash(leased[i]));
                }
            }
            lease = leases.grant(owner, leased, found.shards, nowNs + context.leaseNs(query.leaseNs()));
            for (final int entry : leased) {
                arrivals.leased(entry);
            }
        }
        if (query.sparse()) {
            Arrays.fill(found.status, fitting * found.shards, found.cells(), SlotStatus.MISS);
        }
        return answer(query, found, hits, lease, fitting < chunks, plan);
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

    /** Only what is readable now can be leased. */
    private static void dropUnreadable(final LookupPlanner.Found found, final int chunks) {
        for (int i = 0; i < chunks * found.shards; i++) {
            if (found.status[i] != SlotStatus.HIT) {
                found.entries[i] = DramTier.NONE;
            }
        }
    }

    private ObjectStore.LookupResult answer(
            final ObjectStore.LookupQuery query,
            final LookupPlanner.Found found,
            final int hits,
            final Leases.Lease lease,
            final boolean quotaRefused,
            final List<PlanRange> plan) {
        final int chunks = query.sparse() ? found.chunks : hits;
        final int[] asked = query.shardIndices();
        final SlotRecords records = new SlotRecords(dram, chunks * (asked.length == 0 ? found.shards : asked.length));
        for (int chunk = 0; chunk < chunks; chunk++) {
            if (asked.length == 0) {
                for (int s = 0; s < found.shards; s++) {
                    records.add(found.status[chunk * found.shards + s], found.entries[chunk * found.shards + s]);
                }
            } else {
                for (final int s : asked) {
                    records.add(found.status[chunk * found.shards + s], found.entries[chunk * found.shards + s]);
                }
            }
        }
        return new ObjectStore.LookupResult(
                lease == null ? 0 : lease.id,
                lease == null ? 0 : lease.expiresNs - context.nanoClock().nanoTime(),
                hits,
                found.pending,
                records.bytes(),
                records.regions(),
                plan,
                quotaRefused);
    }

    /** See {@link ObjectStore#whenSettled}. */
    long whenSettled(final Leases.Holder owner, final ObjectStore.LookupQuery query, final Runnable wake) {
        final LookupPlanner.Found found = planner.look(
                owner.shards,
                query.namespace(),
                query.keys(),
                query.sparse(),
                true,
                context.nanoClock().nanoTime());
        final int end = query.sparse() ? found.chunks : found.hits + found.pending;
        final int cells = end * found.shards;
        final int[] entries = new int[Math.min(cells, StoreLimits.WAITS)];
        int count = 0;
        boolean wantsRoom = false;
        // What comes behind is waited for when these have settled: whoever is woken looks again.
        for (int i = 0; i < cells && count < entries.length; i++) {
            if (found.status[i] == SlotStatus.PENDING && found.entries[i] != DramTier.NONE) {
                entries[count++] = found.entries[i];
            }
            final int event = found.status[i] >= LookupPlanner.REMOTE ? remote.waitFor(found.hashes[i]) : 0;
            if (event != 0 && count < entries.length && (count == 0 || entries[count - 1] != event)) {
                entries[count++] = event;
            }
            wantsRoom |=
                    found.status[i] == LookupPlanner.ON_SSD || (found.status[i] == LookupPlanner.REMOTE && event == 0);
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
