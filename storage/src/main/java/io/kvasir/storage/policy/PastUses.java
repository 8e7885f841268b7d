package io.kvasir.storage.policy;

/**
 * Remembers for a bounded number of objects that left how often they had been used. Sets of eight places, the oldest of a
 * set gives way; no allocation but when it grows.
 */
final class PastUses {
    private static final int WAYS = 8;

    private long[] hashes;
    private byte[] uses;
    private byte[] turn;

    /** @param places for objects; rounded up to a power of two */
    PastUses(final int places) {
        allocate(places);
    }

    int places() {
        return hashes.length;
    }

    void put(final long hash, final int used) {
        final int set = set(hash);
        int at = set + turn[set / WAYS];
        for (int i = set; i < set + WAYS; i++) {
            if (hashes[i] == hash) {
                at = i;
            }
        }
        if (at == set + turn[set / WAYS]) {
            turn[set / WAYS] = (byte) ((turn[set / WAYS] + 1) % WAYS);
        }
        hashes[at] = hash;
        uses[at] = (byte) Math.min(used + 1, Byte.MAX_VALUE);
    }

    /** The uses that were put, and forgets them; -1 when the object is not remembered. */
    int take(final long hash) {
        final int set = set(hash);
        for (int i = set; i < set + WAYS; i++) {
            if (hashes[i] == hash && uses[i] != 0) {
                final int found = uses[i] - 1;
                uses[i] = 0;
                hashes[i] = 0;
                return found;
            }
        }
        return -1;
    }

    /** Makes room for more objects; keeps what is remembered. */
    void grow(final int places) {
        final long[] oldHashes = hashes;
        final byte[] oldUses = uses;
        allocate(places);
        for (int i = 0; i < oldHashes.length; i++) {
            if (oldUses[i] != 0) {
                put(oldHashes[i], oldUses[i] - 1);
            }
        }
    }

    private void allocate(final int places) {
        final int size = Math.max(WAYS, Integer.highestOneBit(Math.max(places - 1, 1)) << 1);
        hashes = new long[size];
        uses = new byte[size];
        turn = new byte[size / WAYS];
    }

    private int set(final long hash) {
        return (int) (hash ^ hash >>> 32) & (hashes.length - 1) & -WAYS;
    }
}
