package io.kvasir.storage.index;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * An open-addressing hash index from tags (the high 32 bits of a hash) to small numbers: linear probing over words of 8
 * bytes, of which at most 4 in 7 are taken. A removal moves back what had been displaced, so there are no tombstones and
 * a history of removals costs nothing. Equal tags are met one after the other; the caller confirms. Part of {@link
 * ObjectTable} and {@link HashIndex}.
 */
final class ProbeArray {
    /** Words for each 4 numbers. */
    private static final long WORDS_FOR_FOUR = 7;

    static final int NONE = -1;

    private final MemorySegment words;
    private final int count;

    /** @param capacity numbers that are in it at once, at most */
    ProbeArray(final int capacity, final Arena arena) {
        count = words(capacity);
        words = OffHeap.zeroes((long) count * Long.BYTES, arena);
    }

    int words() {
        return count;
    }

    static long bytes(final int capacity) {
        return (long) words(capacity) * Long.BYTES;
    }

    private static int words(final int capacity) {
        return Math.toIntExact(capacity * WORDS_FOR_FOUR / 4 + 1);
    }

    static int tag(final long hash) {
        return (int) (hash >>> Integer.SIZE);
    }

    /** Where a search for this tag begins. */
    int home(final int tag) {
        return (int) ((Integer.toUnsignedLong(tag) * count) >>> Integer.SIZE);
    }

    int next(final int at) {
        return at + 1 == count ? 0 : at + 1;
    }

    /** The word at this place; 0 when the search ends here. */
    long word(final int at) {
        return words.getAtIndex(ValueLayout.JAVA_LONG, at);
    }

    /** The number in this word when its tag is this one, else {@link #NONE}. */
    static int number(final long word, final int tag) {
        return (int) (word >>> Integer.SIZE) == tag ? (int) word - 1 : NONE;
    }

    /** The first number under this tag, or {@link #NONE}. */
    int first(final int tag) {
        int at = home(tag);
        for (long word = word(at); word != 0; word = word(at)) {
            final int number = number(word, tag);
            if (number != NONE) {
                return number;
            }
            at = next(at);
        }
        return NONE;
    }

    void add(final int tag, final int number) {
        int at = home(tag);
        while (word(at) != 0) {
            at = next(at);
        }
        set(at, ((long) tag << Integer.SIZE) | (number + 1));
    }

    void remove(final int tag, final int number) {
        int hole = home(tag);
        for (long word = word(hole); number(word, tag) != number; word = word(hole)) {
            assert word != 0 : "what is removed is there";
            hole = next(hole);
        }
        int at = next(hole);
        for (long word = word(at); word != 0; word = word(at)) {
            if (!isBetween(hole, home((int) (word >>> Integer.SIZE)), at)) {
                set(hole, word);
                hole = at;
            }
            at = next(at);
        }
        set(hole, 0);
    }

    /** Whether {@code home} lies behind {@code hole} and not behind {@code at}, going round. */
    private static boolean isBetween(final int hole, final int home, final int at) {
        return hole <= at ? (hole < home && home <= at) : (hole < home || home <= at);
    }

    private void set(final int at, final long word) {
        words.setAtIndex(ValueLayout.JAVA_LONG, at, word);
    }
}
