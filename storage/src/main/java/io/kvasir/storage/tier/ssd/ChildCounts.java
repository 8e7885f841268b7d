package io.kvasir.storage.tier.ssd;

import io.kvasir.storage.index.OffHeap;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Which objects are continued by others, about: a counting Bloom filter with two counters of 4 bits an object in 8, so that an
 * object takes 4 bytes whether its parent comes before or after it. Whoever has children is always found; one in 20 without
 * is taken for a parent, in a full tier, as is one of whose counters has ever had 15. Not thread-safe.
 */
final class ChildCounts {
    /** Counters for each object. */
    private static final int COUNTERS = 8;

    private static final int MOST = 15;

    private final MemorySegment bytes;
    private final long counters;

    ChildCounts(final int objects) {
        counters = (long) Math.max(1, objects) * COUNTERS;
        bytes = OffHeap.zeroes(counters / 2, Arena.ofAuto());
    }

    /** Bytes of memory for so many objects. */
    static long bytes(final int objects) {
        return (long) objects * COUNTERS / 2;
    }

    /** @param parent hash bits of the object that is continued */
    void add(final int parent) {
        change(first(parent), 1);
        change(second(parent), 1);
    }

    void remove(final int parent) {
        change(first(parent), -1);
        change(second(parent), -1);
    }

    boolean has(final int parent) {
        return get(first(parent)) > 0 && get(second(parent)) > 0;
    }

    /** Reads what {@link #add} of this will need; its value means nothing. */
    int expect(final int parent) {
        return get(first(parent)) + get(second(parent));
    }

    private long first(final int hash) {
        return (Integer.toUnsignedLong(hash) * counters) >>> Integer.SIZE;
    }

    private long second(final int hash) {
        return first(hash * 0x9e3779b1 ^ hash >>> 15);
    }

    private int get(final long at) {
        return bytes.get(ValueLayout.JAVA_BYTE, at >>> 1) >>> ((at & 1) * 4) & MOST;
    }

    /** What has been at the most stays there: how often it was counted beyond that is not known. */
    private void change(final long at, final int by) {
        final int before = get(at);
        if (before < MOST) {
            final int shift = (int) (at & 1) * 4;
            final int others = bytes.get(ValueLayout.JAVA_BYTE, at >>> 1) & ~(MOST << shift);
            bytes.set(ValueLayout.JAVA_BYTE, at >>> 1, (byte) (others | (before + by) << shift));
        }
    }
}
