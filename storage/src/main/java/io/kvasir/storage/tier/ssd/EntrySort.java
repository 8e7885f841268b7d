package io.kvasir.storage.tier.ssd;

import io.kvasir.storage.index.OffHeap;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.function.IntToLongFunction;

/**
 * Entries in the order of some number: a radix sort, 16 bits a pass, in memory off the heap that is given back at the end,
 * 8 bytes an entry. Takes linear time, since there may be millions, and keeps the order of equal ones.
 */
final class EntrySort implements AutoCloseable {
    private static final int BITS = 16;
    private static final int BUCKETS = 1 << BITS;
    /** For each entry. */
    static final int BYTES = 2 * Integer.BYTES;

    private final Arena arena = Arena.ofShared();
    private final IntToLongFunction key;
    private final long capacity;
    private MemorySegment from;
    private MemorySegment to;
    private long count;
    private long first = Long.MAX_VALUE;
    private long last = Long.MIN_VALUE;

    /**
     * @param capacity entries that are added at most
     * @param key of an entry, by which they are sorted; the keys span less than 2^63
     */
    EntrySort(final long capacity, final IntToLongFunction key) {
        this.key = key;
        this.capacity = capacity;
        from = OffHeap.zeroes(Math.max(1, capacity) * Integer.BYTES, arena);
        to = OffHeap.zeroes(Math.max(1, capacity) * Integer.BYTES, arena);
    }

    void add(final int entry) {
        assert count < capacity : "more entries than were announced";
        from.setAtIndex(ValueLayout.JAVA_INT, count++, entry);
        first = Math.min(first, key.applyAsLong(entry));
        last = Math.max(last, key.applyAsLong(entry));
    }

    void sort() {
        for (int shift = 0; count > 0 && shift < Long.SIZE && (last - first) >>> shift != 0; shift += BITS) {
            pass(shift);
        }
    }

    long size() {
        return count;
    }

    /** The entry in this place. */
    int get(final long at) {
        return from.getAtIndex(ValueLayout.JAVA_INT, at);
    }

    private void pass(final int shift) {
        final int[] next = new int[BUCKETS + 1];
        for (long i = 0; i < count; i++) {
            next[bucket(from.getAtIndex(ValueLayout.JAVA_INT, i), shift) + 1]++;
        }
        for (int bucket = 0; bucket < BUCKETS; bucket++) {
            next[bucket + 1] += next[bucket];
        }
        for (long i = 0; i < count; i++) {
            final int entry = from.getAtIndex(ValueLayout.JAVA_INT, i);
            to.setAtIndex(ValueLayout.JAVA_INT, next[bucket(entry, shift)]++, entry);
        }
        final MemorySegment sorted = to;
        to = from;
        from = sorted;
    }

    private int bucket(final int entry, final int shift) {
        return (int) ((key.applyAsLong(entry) - first) >>> shift) & (BUCKETS - 1);
    }

    @Override
    public void close() {
        arena.close();
    }
}
