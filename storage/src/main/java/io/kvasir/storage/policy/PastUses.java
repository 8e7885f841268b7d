package io.kvasir.storage.policy;

import java.util.Arrays;

/**
 * Remembers for a bounded number of objects that left how often they had been used, and when last. Sets of eight places, the oldest of a
 * set gives way; no allocation but when it grows.
 *
 * <p>An object comes here when it leaves and again when it returns, at a place that nothing else has read lately, so what
 * it costs is cache misses: a place is 64 bits, and a set with its order lies together. The hash is kept as a tag of 28
 * bits, the time as 32.
 */
final class PastUses {
    private static final int WAYS = 8;
    private static final int USES_BITS = 4;
    private static final int USES = (1 << USES_BITS) - 1;
    /** What a use count is cut to. */
    private static final int MOST = USES - 1;

    /** By set, from the newest to the oldest: time, tag, use count plus 1; 0 when nothing is remembered there. */
    private long[] places;
    /** Makes the loads of {@link #expect} count as used. */
    private final long[] read = new long[1];

    private int takenAt;

    /** @param count of objects; rounded up to a power of two */
    PastUses(final int count) {
        places = new long[size(count)];
    }

    int places() {
        return places.length;
    }

    /** @param time of the last use, by the caller's count; its low 32 bits are kept */
    void put(final long hash, final int used, final long time) {
        final int set = set(hash);
        System.arraycopy(places, set, places, set + 1, WAYS - 1);
        places[set] = (time << Integer.SIZE) | Integer.toUnsignedLong(tag(hash) | (Math.min(used, MOST) + 1));
    }

    /** The uses that were put, and forgets them; -1 when the object is not remembered. */
    int take(final long hash) {
        final int tag = tag(hash);
        final int set = set(hash);
        for (int i = set; i < set + WAYS; i++) {
            final int place = (int) places[i];
            final int used = place & USES;
            if (used != 0 && (place & ~USES) == tag) {
                takenAt = (int) (places[i] >>> Integer.SIZE);
                places[i] = 0;
                return used - 1;
            }
        }
        return -1;
    }

    /** How long before {@code now} the object was last used that {@link #take} found last. */
    long sinceTaken(final long now) {
        return Integer.toUnsignedLong((int) now - takenAt);
    }

    /** See {@link EvictionPolicy#expect}. */
    void expect(final long[] hashes, final int count) {
        long sum = 0;
        for (int i = 0; i < count; i++) {
            final int set = set(hashes[i]);
            sum += places[set] + places[set + WAYS - 1];
        }
        read[0] = sum;
    }

    /** Makes room for more objects; keeps what is remembered. */
    void grow(final int count) {
        final int size = size(count);
        // Of the larger table, a tag does not say in which of the sets that one becomes it belongs: it is kept in each.
        while (places.length < size) {
            final int from = places.length;
            places = Arrays.copyOf(places, from * 2);
            System.arraycopy(places, 0, places, from, from);
        }
    }

    private static int size(final int count) {
        return Math.max(WAYS, Integer.highestOneBit(Math.max(count - 1, 1)) << 1);
    }

    private int set(final long hash) {
        return (int) (hash ^ (hash >>> 32)) & (places.length - 1) & -WAYS;
    }

    private static int tag(final long hash) {
        return (int) (hash >>> 32) & ~USES;
    }
}
