package io.kvasir.storage.policy;

import java.util.Arrays;

/**
 * Remembers for a bounded number of objects that left how often they had been used. Sets of eight places, the oldest of a
 * set gives way; no allocation but when it grows.
 *
 * <p>An object comes here when it leaves and again when it returns, at a place that nothing else has read lately, so what
 * it costs is cache misses: a place is 32 bits, and a set with its order lies together. The hash is kept as a tag of 28
 * bits.
 */
final class PastUses {
    private static final int WAYS = 8;
    private static final int USES_BITS = 4;
    private static final int USES = (1 << USES_BITS) - 1;
    /** What a use count is cut to. */
    private static final int MOST = USES - 1;

    /** By set, from the newest to the oldest: a tag above a use count plus 1; 0 when nothing is remembered there. */
    private int[] places;
    /** Makes the loads of {@link #expect} count as used. */
    private final int[] read = new int[1];

    /** @param count of objects; rounded up to a power of two */
    PastUses(final int count) {
        places = new int[size(count)];
    }

    int places() {
        return places.length;
    }

    void put(final long hash, final int used) {
        final int set = set(hash);
        System.arraycopy(places, set, places, set + 1, WAYS - 1);
        places[set] = tag(hash) | (Math.min(used, MOST) + 1);
    }

    /** The uses that were put, and forgets them; -1 when the object is not remembered. */
    int take(final long hash) {
        final int tag = tag(hash);
        final int set = set(hash);
        for (int i = set; i < set + WAYS; i++) {
            final int used = places[i] & USES;
            if (used != 0 && (places[i] & ~USES) == tag) {
                places[i] = 0;
                return used - 1;
            }
        }
        return -1;
    }

    /** See {@link EvictionPolicy#expect}. */
    void expect(final long[] hashes, final int count) {
        int sum = 0;
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
