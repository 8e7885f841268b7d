package io.kvasir.storage.policy;

import java.util.Arrays;

/**
 * Remembers for a bounded number of objects that left how often they had been used. Sets of eight places, the oldest of a
 * set gives way; no allocation but when it grows.
 *
 * <p>An object comes here when it leaves and again when it returns, at a place that nothing else has read lately, so what
 * it costs is cache misses. A place is 16 bits, a set two words next to each other in one cache line. The hash is kept as
 * a tag of 12 bits: one new object in 500 is taken for one that left.
 */
final class PastUses {
    /** What a use count is cut to. */
    private static final int MOST = 14;

    private static final int WAYS = 8;
    private static final int WORDS = 2;
    private static final int PLACE_BITS = 16;
    private static final int USES_BITS = 4;
    private static final long USES = (1 << USES_BITS) - 1;
    private static final int TAG_SHIFT = Long.SIZE - PLACE_BITS + USES_BITS;
    private static final long PLACE = (1 << PLACE_BITS) - 1;

    /**
     * By set: the four newer places, then the four older ones, each from the lowest bits on. A place is a tag above a use
     * count plus 1; 0 when nothing is remembered there.
     */
    private long[] words;

    /** @param places for objects; rounded up to a power of two */
    PastUses(final int places) {
        words = new long[size(places)];
    }

    int places() {
        return words.length / WORDS * WAYS;
    }

    void put(final long hash, final int used) {
        final int newer = set(hash);
        final long place = (tag(hash) << USES_BITS) | (Math.min(used, MOST) + 1);
        words[newer + 1] = (words[newer + 1] << PLACE_BITS) | (words[newer] >>> (Long.SIZE - PLACE_BITS));
        words[newer] = (words[newer] << PLACE_BITS) | place;
    }

    /** The uses that were put, and forgets them; -1 when the object is not remembered. */
    int take(final long hash) {
        final long tag = tag(hash);
        final int set = set(hash);
        for (int word = set; word < set + WORDS; word++) {
            final long places = words[word];
            for (int shift = 0; shift < Long.SIZE; shift += PLACE_BITS) {
                final long place = (places >>> shift) & PLACE;
                if (place >>> USES_BITS == tag && (place & USES) != 0) {
                    words[word] = places & ~(PLACE << shift);
                    return (int) (place & USES) - 1;
                }
            }
        }
        return -1;
    }

    /** Makes room for more objects; keeps what is remembered. */
    void grow(final int places) {
        final int size = size(places);
        // Of the larger table, a tag does not say in which of the sets that one becomes it belongs: it is kept in each.
        while (words.length < size) {
            final int from = words.length;
            words = Arrays.copyOf(words, from * 2);
            System.arraycopy(words, 0, words, from, from);
        }
    }

    private static int size(final int places) {
        return Math.max(WAYS, Integer.highestOneBit(Math.max(places - 1, 1)) << 1) / WAYS * WORDS;
    }

    private int set(final long hash) {
        return (int) (hash ^ (hash >>> 32)) & (words.length - 1) & -WORDS;
    }

    private static long tag(final long hash) {
        return hash >>> TAG_SHIFT;
    }
}
