package io.kvasir.storage.index;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.function.IntUnaryOperator;

/**
 * An open-addressing hash index from hashes to small numbers: linear probing over words of 4 bytes, of which at most 4 in 7
 * are taken. A word has a number in as many bits as the capacity needs, and in the others a tag of the hash: 8 bits for ten
 * million, so that a search seldom looks at what it does not mean. A removal moves back what had been displaced, so there are
 * no tombstones and a history of removals costs nothing. The caller confirms, and knows where the search for a number begins.
 * Part of {@link ObjectTable}, {@link ScopeTable} and {@link HashIndex}.
 */
final class ProbeArray {
    /** Words for each 4 numbers. */
    private static final long WORDS_FOR_FOUR = 7;

    static final int NONE = -1;

    private final MemorySegment words;
    private final int count;
    private final int numberBits;
    private final int numberMask;

    /** @param capacity numbers that are in it at once, at most; each is less */
    ProbeArray(final int capacity, final Arena arena) {
        count = words(capacity);
        numberBits = Integer.SIZE - Integer.numberOfLeadingZeros(capacity);
        numberMask = (1 << numberBits) - 1;
        words = OffHeap.zeroes((long) count * Integer.BYTES, arena);
    }

    static long bytes(final int capacity) {
        return (long) words(capacity) * Integer.BYTES;
    }

    private static int words(final int capacity) {
        return Math.toIntExact(capacity * WORDS_FOR_FOUR / 4 + 1);
    }

    int words() {
        return count;
    }

    /** The bits of a hash that say where its search begins. */
    static int high(final long hash) {
        return (int) (hash >>> Integer.SIZE);
    }

    /** Where the search for a hash of these high bits begins. */
    int home(final int high) {
        return (int) ((Integer.toUnsignedLong(high) * count) >>> Integer.SIZE);
    }

    int next(final int at) {
        return at + 1 == count ? 0 : at + 1;
    }

    /** The word at this place; 0 when the search ends here. */
    int word(final int at) {
        return words.getAtIndex(ValueLayout.JAVA_INT, at);
    }

    /** The number in this word when it may be this hash's, else {@link #NONE}. */
    int number(final int word, final long hash) {
        return (word & ~numberMask) == tag(hash) ? number(word) : NONE;
    }

    /** The number in a word that is not 0. */
    int number(final int word) {
        return (word & numberMask) - 1;
    }

    private int tag(final long hash) {
        return (int) hash << numberBits;
    }

    /** The first number that may be this hash's, or {@link #NONE}. */
    int first(final long hash) {
        int at = home(high(hash));
        for (int word = word(at); word != 0; word = word(at)) {
            final int number = number(word, hash);
            if (number != NONE) {
                return number;
            }
            at = next(at);
        }
        return NONE;
    }

    void add(final long hash, final int number) {
        int at = home(high(hash));
        while (word(at) != 0) {
            at = next(at);
        }
        set(at, tag(hash) | number + 1);
    }

    /**
     * @param high of the number's hash
     * @param highOf the same of any number that is here
     */
    void remove(final int high, final int number, final IntUnaryOperator highOf) {
        int hole = home(high);
        for (int word = word(hole); number(word) != number; word = word(hole)) {
            assert word != 0 : "what is removed is there";
            hole = next(hole);
        }
        int at = next(hole);
        for (int word = word(at); word != 0; word = word(at)) {
            if (!isBetween(hole, home(highOf.applyAsInt(number(word))), at)) {
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

    private void set(final int at, final int word) {
        words.setAtIndex(ValueLayout.JAVA_INT, at, word);
    }
}
