package io.kvasir.storage.lookup;

import io.kvasir.storage.budget.StoreLimits;
import io.kvasir.storage.lease.LeaseReading;
import io.kvasir.storage.lease.LeaseTable;
import io.kvasir.storage.lease.SessionHolder;
import io.kvasir.storage.metrics.StorageCounters;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.PlanRange;
import io.kvasir.storage.object.SlotStatus;
import io.kvasir.storage.tenant.Tenant;
import io.kvasir.storage.tier.AddressableTiers;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.function.IntConsumer;
import java.util.function.LongUnaryOperator;
import java.util.function.Supplier;
import org.agrona.concurrent.NanoClock;

/**
 * How engines read: lookups in one piece or in slices, each by a {@link LookupTask}; and what is done with their leases.
 * Owned by the store's thread.
 */
public final class Lookups {
    private static final int[] ALL_SHARDS = {};
    /** Answers beyond that are counted in part: what is left out counts once more as a hit of the tier it came from. */
    private static final int MOST_COUNTED = 64;

    private final AddressableTiers slots;
    private final LeaseTable leases;
    private final NanoClock clock;
    private final LongUnaryOperator leaseNs;
    private final StorageCounters counters;
    /** Of lookups in one piece. */
    private final LookupTask task;
    /** Of lookups in slices; those that are free. */
    private final ArrayDeque<LookupTask> free = new ArrayDeque<>();
    /** Tenants that have one under way: each has one, so that none takes all. */
    private final List<Tenant> busy = new ArrayList<>(StoreLimits.LOOKUPS_IN_SLICES);

    /** Leases of answers whose hits are still to be counted, those of the widest lookups. */
    private final ArrayDeque<LeaseReading> counted = new ArrayDeque<>();

    private final IntConsumer originCounted = this::originCounted;

    public Lookups(
            final Supplier<LookupTask> tasks,
            final AddressableTiers slots,
            final LeaseTable leases,
            final NanoClock clock,
            final LongUnaryOperator leaseNs,
            final StorageCounters counters) {
        this.slots = slots;
        this.leases = leases;
        this.clock = clock;
        this.leaseNs = leaseNs;
        this.counters = counters;
        task = tasks.get();
        for (int i = 0; i < StoreLimits.LOOKUPS_IN_SLICES; i++) {
            free.add(tasks.get());
        }
    }

    /** See {@code EngineStore#lookup}. */
    public LookupAnswer lookup(final SessionHolder owner, final LookupQuery query) {
        try {
            task.begin(owner, query, false, 0);
            while (!task.step(Integer.MAX_VALUE)) {
                // Each step is one phase.
            }
            return task.result();
        } finally {
            task.end();
        }
    }

    /** See {@code EngineStore#canSlice}. */
    public boolean canSlice(final SessionHolder owner) {
        return !free.isEmpty() && !busy.contains(owner.tenant);
    }

    /** See {@code EngineStore#lookupInSlices}. */
    public SlicedLookup lookupInSlices(final SessionHolder owner, final LookupQuery query, final long replacedLease) {
        if (!canSlice(owner)) {
            return null;
        }
        final LookupTask taken = free.remove();
        taken.begin(owner, query, true, replacedLease);
        busy.add(owner.tenant);
        return new Slices(taken, owner.tenant);
    }

    private final class Slices implements SlicedLookup {
        private final Tenant tenant;
        private LookupTask taken;

        Slices(final LookupTask taken, final Tenant tenant) {
            this.taken = taken;
            this.tenant = tenant;
        }

        @Override
        public boolean step() {
            return taken.step(StoreLimits.CELLS_IN_A_SLICE);
        }

        @Override
        public LookupAnswer result() {
            return taken.result();
        }

        @Override
        public long whenSettled(final Runnable wake) {
            return taken.await(wake);
        }

        @Override
        public void close() {
            if (taken != null) {
                taken.end();
                free.add(taken);
                busy.remove(tenant);
                taken = null;
            }
        }
    }

    /** Every key in every shard, on its own, as far as it is in DRAM. */
    public LookupCells here(final SessionHolder owner, final Hash256 namespace, final byte[] keys) {
        final LookupQuery query = new LookupQuery(namespace, keys, ALL_SHARDS, 0, true, true, 0, 0);
        task.cells.begin(owner, query, false, false, true, clock.nanoTime());
        task.cells.lookOn(Integer.MAX_VALUE);
        return task.cells;
    }

    /** See {@code EngineStore#answered}. */
    public void answered(final SessionHolder owner, final LookupAnswer result) {
        for (final PlanRange range : result.plan()) {
            (range.status() == SlotStatus.HIT
                            ? counters.hits
                            : range.status() == SlotStatus.PENDING ? counters.pending : counters.misses)
                    .add(range.chunks());
        }
        if (result.quotaRefused()) {
            counters.quotaRefused.increment();
        }
        if (result.lease() == 0) {
            return;
        }
        final LeaseReading answered = leases.reading(owner.leases, result.lease());
        if (!answered.read(StoreLimits.CELLS_IN_ONE_PIECE, originCounted) && counted.size() < MOST_COUNTED) {
            counted.add(answered);
        }
    }

    private void originCounted(final int entry) {
        if (entry != AddressableTiers.NONE) {
            slots.originCounted(entry);
        }
    }

    /** Does a part of what answers to wide lookups left to do. */
    public int doWork() {
        final LeaseReading first = counted.peek();
        if (first == null) {
            return 0;
        }
        if (first.read(StoreLimits.CELLS_IN_A_SLICE, originCounted)) {
            counted.remove();
        }
        return 1;
    }

    /** See {@code EngineStore#whenSettled}. */
    public long whenSettled(final SessionHolder owner, final LookupQuery query, final Runnable wake) {
        try {
            task.lookAndPlan(owner, query);
            return task.await(wake);
        } finally {
            task.end();
        }
    }

    /** See {@code EngineStore#resolve}. */
    public Resolution resolve(final SessionHolder owner, final long id, final int[] shardIndices) {
        final int lease = leases.findValid(owner.leases, id, clock.nanoTime());
        return lease == LeaseTable.NONE ? null : new Resolution(leases, slots, owner, id, lease, shardIndices, clock);
    }

    public boolean renew(final SessionHolder owner, final long lease, final long wantedNs) {
        final long nowNs = clock.nanoTime();
        return leases.renew(owner.leases, lease, nowNs + leaseNs.applyAsLong(wantedNs), nowNs);
    }
}
