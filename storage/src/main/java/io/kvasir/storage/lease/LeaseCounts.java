package io.kvasir.storage.lease;

import io.kvasir.storage.posix.Posix;
import io.kvasir.storage.posix.PosixException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * How many cells of leases name an entry, for each session and for all together: what several leases have counts once.
 * An open-addressing map off the heap, sized for the most cells; a removal moves back what had been displaced, so that a
 * history of removals costs nothing. Part of {@link LeaseTable}.
 */
final class LeaseCounts {
    /** The number under which all sessions together count; sessions have numbers from 1 on. */
    static final int ALL = 0;

    /** Places for each 3 keys. */
    private static final long PLACES_FOR_THREE = 4;

    private static final int NEIGHBORS = 8;
    private static final int PLACE_BYTES = Long.BYTES + Integer.BYTES;

    private final long places;
    private final MemorySegment keys;
    private final MemorySegment counts;
    private final long multiplier;

    /** @param cells that leases have at once, at most: each has a key of its session and one of all */
    LeaseCounts(final int cells, final long seed, final Arena arena) throws PosixException {
        places = places(cells);
        keys = Posix.zeroes(places * Long.BYTES, arena);
        counts = Posix.zeroes(places * Integer.BYTES, arena);
        multiplier = seed | 1;
    }

    static long bytes(final int cells) {
        return places(cells) * PLACE_BYTES;
    }

    private static long places(final int cells) {
        return 2L * cells * PLACES_FOR_THREE / 3 / NEIGHBORS * NEIGHBORS + NEIGHBORS;
    }

    int get(final int session, final int entry) {
        final long key = key(session, entry);
        long at = home(key);
        for (long found = keyAt(at); found != 0; found = keyAt(at)) {
            if (found == key) {
                return countAt(at);
            }
            at = next(at);
        }
        return 0;
    }

    /** One more; true when it is the first. */
    boolean increment(final int session, final int entry) {
        final long key = key(session, entry);
        long at = home(key);
        for (long found = keyAt(at); found != 0; found = keyAt(at)) {
            if (found == key) {
                counts.setAtIndex(ValueLayout.JAVA_INT, at, countAt(at) + 1);
                return false;
            }
            at = next(at);
        }
        set(at, key, 1);
        return true;
    }

    /** One less; true when it was the last. */
    boolean decrement(final int session, final int entry) {
        final long key = key(session, entry);
        long at = home(key);
        for (long found = keyAt(at); found != key; found = keyAt(at)) {
            assert found != 0 : "what is given back was counted";
            at = next(at);
        }
        final int count = countAt(at);
        if (count > 1) {
            counts.setAtIndex(ValueLayout.JAVA_INT, at, count - 1);
            return false;
        }
        remove(at);
        return true;
    }

    private void remove(final long place) {
        long hole = place;
        long at = next(hole);
        for (long key = keyAt(at); key != 0; key = keyAt(at)) {
            if (!isBetween(hole, home(key), at)) {
                set(hole, key, countAt(at));
                hole = at;
            }
            at = next(at);
        }
        set(hole, 0, 0);
    }

    /** Whether {@code home} lies behind {@code hole} and not behind {@code at}, going round. */
    private static boolean isBetween(final long hole, final long home, final long at) {
        return hole <= at ? (hole < home && home <= at) : (hole < home || home <= at);
    }

    /** Never 0. */
    private static long key(final int session, final int entry) {
        return (long) session << Integer.SIZE | (entry + 1L);
    }

    /** Neighbors share cache lines: what is stored together has entries in a row, and is leased together. */
    private long home(final long key) {
        final long neighbors = key / NEIGHBORS;
        final long mixed = (neighbors ^ neighbors >>> Integer.SIZE) * multiplier;
        final long group = Math.unsignedMultiplyHigh((mixed ^ mixed >>> Integer.SIZE) * multiplier, places / NEIGHBORS);
        return group * NEIGHBORS + key % NEIGHBORS;
    }

    private long next(final long at) {
        return at + 1 == places ? 0 : at + 1;
    }

    private long keyAt(final long at) {
        return keys.getAtIndex(ValueLayout.JAVA_LONG, at);
    }

    private int countAt(final long at) {
        return counts.getAtIndex(ValueLayout.JAVA_INT, at);
    }

    private void set(final long at, final long key, final int count) {
        keys.setAtIndex(ValueLayout.JAVA_LONG, at, key);
        counts.setAtIndex(ValueLayout.JAVA_INT, at, count);
    }
}
