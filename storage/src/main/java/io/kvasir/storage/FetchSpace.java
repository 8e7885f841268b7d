package io.kvasir.storage;

import io.kvasir.storage.metrics.StorageCounters;
import io.kvasir.storage.move.MovePriority;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.SizeClass;
import io.kvasir.storage.tier.Tier;
import io.kvasir.storage.tier.dram.DramTier;
import io.kvasir.storage.tier.dram.Eviction;
import io.kvasir.storage.tier.dram.TenantArena;
import java.util.ArrayList;
import java.util.List;

/**
 * Space in DRAM for objects that are fetched from SSD. A fetch that finds none is asked for again, and until then new
 * stores of its tenant and size find none either, nor fetches that nobody waits for when somebody waits for this one. One
 * that was asked for again and again for a while takes the slot of an object that is nowhere else: what is durable and
 * asked for is not told as a miss because the SSD writes something else.
 * Owned by {@link SsdShelf}.
 */
final class FetchSpace {
    /** How long a fetch waits for a slot whose object is durable. */
    static final long WAITS_NS = 200_000_000;
    /** Space that does not come for so long is not waited for: all of DRAM is leased or being written. */
    static final long GIVEN_UP_NS = 1_000_000_000;
    /** A fetch that nobody asked for again by then is not waited for any more. */
    private static final long ASKED_ANEW_NS = 500_000_000;
    /** How long free slots are left to a fetch that found none; who waits asks again sooner. */
    private static final long PRECEDES_NS = 100_000_000;
    /** Of all tenants and sizes; beyond it the one that began first is forgotten. */
    private static final int MOST_WANTS = 64;

    /** Fetches of one tenant and size. */
    private static final class Want {
        private final TenantArena tenant;
        private final long slotBytes;
        /** When the first one found no space, with never a longer pause since than {@link #ASKED_ANEW_NS}. */
        private final long beganNs;
        /** Since when none found any; while {@link #unmet}. */
        private long unmetSinceNs;

        private boolean unmet;
        private long askedNs;
        /** Until when fetches that nobody waits for leave free slots to one that somebody waits for. */
        private long loadsFirstUntilNs;

        private Want(final TenantArena tenant, final long slotBytes, final long nowNs) {
            this.tenant = tenant;
            this.slotBytes = slotBytes;
            beganNs = nowNs;
            loadsFirstUntilNs = nowNs;
        }
    }

    private final DramTier dram;
    private final StorageCounters counters;
    private final List<Want> wants = new ArrayList<>();

    FetchSpace(final DramTier dram, final StorageCounters counters) {
        this.counters = counters;
        this.dram = dram;
    }

    /** @return the entry to write to, {@link Tier#LATER}, or {@link Tier#NOT_HERE} when waiting is in vain */
    int reserve(
            final TenantArena tenant,
            final ObjectId id,
            final long length,
            final MovePriority priority,
            final long nowNs) {
        final long slotBytes = SizeClass.dramSlotBytes(length);
        Want want = find(tenant, slotBytes, nowNs);
        if (want != null && priority != MovePriority.LOAD && nowNs - want.loadsFirstUntilNs < 0) {
            // It is not refused: its own deadline says how long it may wait.
            return Tier.LATER;
        }
        final boolean waited = want != null && nowNs - want.beganNs > WAITS_NS;
        final int entry = dram.reserve(
                tenant,
                null,
                id.namespace(),
                id.key(),
                id.shard(),
                length,
                0,
                waited ? Eviction.AT_ONCE : Eviction.ANYTHING);
        if (entry >= 0) {
            if (want != null) {
                want.unmet = false;
            }
            return entry;
        }
        if (want == null) {
            want = add(tenant, slotBytes, nowNs);
        }
        if (!want.unmet) {
            want.unmet = true;
            want.unmetSinceNs = nowNs;
        }
        want.askedNs = nowNs;
        if (priority == MovePriority.LOAD) {
            want.loadsFirstUntilNs = nowNs + PRECEDES_NS;
        }
        if (nowNs - want.unmetSinceNs <= GIVEN_UP_NS) {
            return Tier.LATER;
        }
        counters.fetchesWithoutSpace.increment();
        return Tier.NOT_HERE;
    }

    /** Whether a fetch waits for a slot that a store of this tenant would take. */
    boolean precedes(final TenantArena tenant, final long length, final long nowNs) {
        if (wants.isEmpty()) {
            return false;
        }
        final Want want = find(tenant, SizeClass.dramSlotBytes(length), nowNs);
        return want != null && want.unmet && nowNs - want.askedNs <= PRECEDES_NS;
    }

    /** Whether some fetch waits for space. */
    boolean isWanted(final long nowNs) {
        for (int i = 0; i < wants.size(); i++) {
            if (wants.get(i).unmet && nowNs - wants.get(i).askedNs <= ASKED_ANEW_NS) {
                return true;
            }
        }
        return false;
    }

    /** Null when there is none that is still asked for. */
    private Want find(final TenantArena tenant, final long slotBytes, final long nowNs) {
        for (int i = 0; i < wants.size(); i++) {
            final Want want = wants.get(i);
            if (want.tenant == tenant && want.slotBytes == slotBytes) {
                return nowNs - want.askedNs <= ASKED_ANEW_NS ? want : null;
            }
        }
        return null;
    }

    private Want add(final TenantArena tenant, final long slotBytes, final long nowNs) {
        wants.removeIf(want -> nowNs - want.askedNs > ASKED_ANEW_NS);
        if (wants.size() >= MOST_WANTS) {
            wants.removeFirst();
        }
        final Want want = new Want(tenant, slotBytes, nowNs);
        wants.add(want);
        return want;
    }
}
