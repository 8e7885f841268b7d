package io.kvasir.storage.tier.ssd;

import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * Which extents there are, what they are cut for, and how much of the capacity they occupy. {@link TierState}'s lock
 * guards it; it does no I/O. An extent that the writer cuts or deletes is not in the pool meanwhile, but its bytes are.
 */
final class ExtentPool {
    private static final class SizeGroup {
        final List<Extent> extents = new ArrayList<>();
        Extent current;
    }

    private final long capacityBytes;
    private final long extentBytes;
    private final Map<Integer, Extent> extents = new TreeMap<>();
    private final Map<Long, SizeGroup> groups = new HashMap<>();
    private long allocatedBytes;
    private int nextId = 1;

    ExtentPool(final long capacityBytes, final long extentBytes) {
        this.capacityBytes = capacityBytes;
        this.extentBytes = extentBytes;
    }

    /** An extent whose bytes were {@link #claim claimed} is ready. */
    void add(final Extent extent) {
        extents.put(extent.id, extent);
        nextId = Math.max(nextId, extent.id + 1);
        if (extent.slotBytes > 0) {
            groups.computeIfAbsent(extent.slotBytes, bytes -> new SizeGroup())
                    .extents
                    .add(extent);
        }
    }

    /** An extent found at opening, whose shape may not be known yet; {@link #add} follows. */
    void find(final Extent extent) {
        extents.put(extent.id, extent);
        nextId = Math.max(nextId, extent.id + 1);
    }

    Extent get(final int id) {
        return extents.get(id);
    }

    Collection<Extent> all() {
        return extents.values();
    }

    int nextId() {
        return nextId++;
    }

    long allocatedBytes() {
        return allocatedBytes;
    }

    long fileBytes(final long slotBytes) {
        return Extent.fileBytes(slotBytes, extentBytes);
    }

    /** True, and the bytes count as occupied, when the capacity allows that much more. */
    boolean claim(final long bytes) {
        if (allocatedBytes + bytes > capacityBytes) {
            return false;
        }
        allocatedBytes += bytes;
        return true;
    }

    /** Counts files found at opening, before it is seen whether the capacity holds them: {@link LoweredCapacity}. */
    void claimFound(final long bytes) {
        allocatedBytes += bytes;
    }

    void unclaim(final long bytes) {
        allocatedBytes -= bytes;
    }

    /** True when more files of the standard size fit. */
    boolean hasCapacityFor(final long bytes) {
        return allocatedBytes + bytes <= capacityBytes;
    }

    /** An extent cut for this size with a free slot, or null. */
    Extent withRoom(final long slotBytes) {
        final SizeGroup group = groups.get(slotBytes);
        if (group == null) {
            return null;
        }
        if (group.current == null || !group.current.hasRoom()) {
            group.current = null;
            for (final Extent extent : group.extents) {
                if (extent.hasRoom() && (group.current == null || extent.freeSlots() > group.current.freeSlots())) {
                    group.current = extent;
                }
            }
        }
        return group.current;
    }

    long freeSlots(final long slotBytes) {
        final SizeGroup group = groups.get(slotBytes);
        long free = 0;
        if (group != null) {
            for (final Extent extent : group.extents) {
                free += extent.freeSlots();
            }
        }
        return free;
    }

    /** Takes a wholly free extent that suits this size out of the pool, one that was never cut first; or null. */
    Extent takeFree(final long slotBytes) {
        Extent best = null;
        for (final Extent extent : extents.values()) {
            if (extent.isFree() && extent.suits(slotBytes) && (best == null || extent.slotBytes == 0)) {
                best = extent;
            }
        }
        return take(best);
    }

    /** Takes any wholly free extent out of the pool, to be deleted for its bytes; or null. */
    Extent takeAnyFree() {
        for (final Extent extent : extents.values()) {
            if (extent.isFree()) {
                return take(extent);
            }
        }
        return null;
    }

    boolean hasUncut() {
        for (final Extent extent : extents.values()) {
            if (extent.slotBytes == 0) {
                return true;
            }
        }
        return false;
    }

    private Extent take(final Extent extent) {
        if (extent == null) {
            return null;
        }
        extents.remove(extent.id);
        final SizeGroup group = groups.get(extent.slotBytes);
        if (group != null) {
            group.extents.remove(extent);
            if (group.current == extent) {
                group.current = null;
            }
            if (group.extents.isEmpty()) {
                groups.remove(extent.slotBytes);
            }
        }
        return extent;
    }

    void close() {
        for (final Iterator<Extent> each = extents.values().iterator(); each.hasNext(); each.remove()) {
            each.next().close();
        }
    }
}
