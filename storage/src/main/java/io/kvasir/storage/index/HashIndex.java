package io.kvasir.storage.index;

import java.lang.foreign.Arena;
import java.util.function.IntPredicate;
import java.util.function.IntToLongFunction;
import java.util.function.IntUnaryOperator;

/**
 * Small numbers by 64-bit hash, off the heap: 7 bytes for each that is expected, of which the system gives pages as they
 * are used. Beyond what was expected it grows by doubling. Its memory is given back with the object. Not thread-safe.
 */
public final class HashIndex {
    /** No number. */
    public static final int NONE = ProbeArray.NONE;

    private final IntToLongFunction hashOf;
    private final IntUnaryOperator highOf;
    private ProbeArray probes;
    private int capacity;
    private int size;

    /**
     * @param expected numbers that are in it at once, as a rule; each is less
     * @param hashOf the hash of a number that is in it
     */
    public HashIndex(final int expected, final IntToLongFunction hashOf) {
        this.hashOf = hashOf;
        highOf = number -> ProbeArray.high(hashOf.applyAsLong(number));
        capacity = Math.max(1, expected);
        probes = new ProbeArray(capacity, Arena.ofAuto());
    }

    /** Bytes of memory for so many. */
    public static long bytes(final int expected) {
        return ProbeArray.bytes(expected);
    }

    public int size() {
        return size;
    }

    /** The first number of this hash, or {@link #NONE}. */
    public int find(final long hash) {
        return find(hash, number -> hashOf.applyAsLong(number) == hash);
    }

    /** The first number under this hash that the caller confirms, or {@link #NONE}. */
    public int find(final long hash, final IntPredicate is) {
        int at = probes.home(ProbeArray.high(hash));
        for (int word = probes.word(at); word != 0; word = probes.word(at)) {
            final int number = probes.number(word, hash);
            if (number != NONE && is.test(number)) {
                return number;
            }
            at = probes.next(at);
        }
        return NONE;
    }

    /** Reads what {@link #find} and {@link #put} of this will need first; its value means nothing. */
    public int expect(final long hash) {
        return probes.word(probes.home(ProbeArray.high(hash)));
    }

    /** @param number 0 or more, and not under this hash yet */
    public void put(final long hash, final int number) {
        if (size == capacity || number >= capacity) {
            grow(number);
        }
        probes.add(hash, number);
        size++;
    }

    /** @param number is there under this hash */
    public void remove(final long hash, final int number) {
        probes.remove(ProbeArray.high(hash), number, highOf);
        size--;
    }

    private void grow(final int number) {
        final ProbeArray old = probes;
        capacity = Math.min(ObjectTable.MAX_CAPACITY, Math.max(1024, Math.max(capacity, number + 1) * 2));
        probes = new ProbeArray(capacity, Arena.ofAuto());
        for (int at = 0; at < old.words(); at++) {
            final int word = old.word(at);
            if (word != 0) {
                probes.add(hashOf.applyAsLong(old.number(word)), old.number(word));
            }
        }
    }
}
