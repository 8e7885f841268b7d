package io.kvasir.storage.tier.dram;

import java.util.ArrayList;
import java.util.List;

/** The regions of one tenant that have slots of one size, and which of them have a free one. Owned by {@link Regions}. */
final class Pool {
    final TenantArena tenant;
    final long slotBytes;
    /** A region is being made. */
    boolean growing;

    private final List<Region> withFree = new ArrayList<>();
    private final List<Region> regions = new ArrayList<>();
    private int freeSlots;
    private long bytes;
    private long waitsUntilMs;
    /** What was evicted in other pools for this one has not become a region of it so far. */
    private long evictedUntilMs;

    Pool(final TenantArena tenant, final long slotBytes) {
        this.tenant = tenant;
        this.slotBytes = slotBytes;
    }

    void add(final Region region) {
        regions.add(region);
        bytes += region.dataBytes();
        evictedUntilMs = 0;
        region.join(this);
    }

    void remove(final Region region) {
        region.leave();
        regions.remove(region);
        bytes -= region.dataBytes();
    }

    /** Whether it waits for what others are using now: for so long, and then not for four times as long. */
    boolean mayWait(final long nowMs, final long forMs) {
        if (nowMs >= waitsUntilMs + 4 * forMs) {
            waitsUntilMs = nowMs + forMs;
        }
        return nowMs < waitsUntilMs;
    }

    /** Objects of other pools were evicted for this one; so long it waits for their memory before more of them are. */
    void evictedOthers(final long nowMs, final long forMs) {
        evictedUntilMs = nowMs + forMs;
    }

    boolean mayEvictOthers(final long nowMs) {
        return nowMs >= evictedUntilMs;
    }

    boolean isEmpty() {
        return regions.isEmpty();
    }

    /** The one after which {@link #last} was called longest ago comes first. */
    List<Region> regions() {
        return regions;
    }

    void last(final Region region) {
        regions.remove(region);
        regions.add(region);
    }

    /** Payload bytes of its regions. */
    long bytes() {
        return bytes;
    }

    /** Slots that {@link #region} may give. */
    int freeSlots() {
        return freeSlots;
    }

    /** A region with a free slot for this writer, that which has had one longest; null when there is none. */
    Region region(final long writer) {
        for (int i = 0; i < withFree.size(); i++) {
            if (withFree.get(i).admits(writer)) {
                return withFree.get(i);
            }
        }
        return null;
    }

    /** The region gives its free slots from now on. */
    void offer(final Region region) {
        freeSlots += region.freeCount();
        if (region.freeCount() > 0) {
            withFree.add(region);
        }
    }

    /** The region gives no slots any more. */
    void withdraw(final Region region) {
        freeSlots -= region.freeCount();
        withFree.remove(region);
    }

    void freed(final Region region) {
        freeSlots++;
        if (region.freeCount() == 1) {
            withFree.add(region);
        }
    }

    void taken(final Region region) {
        freeSlots--;
        if (region.freeCount() == 0) {
            withFree.remove(region);
        }
    }
}
