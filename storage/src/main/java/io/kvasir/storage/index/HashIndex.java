package io.kvasir.storage.index;

import java.lang.foreign.Arena;
import java.util.function.IntPredicate;

/**
 * Small numbers by 64-bit hash, off the heap: 14 bytes for each that is expected, of which the system gives pages as they
 * are used. Whoever owns it confirms what has equal hash bits. Beyond what was expected it grows by doubling. Its memory is
 * given back with the object. Not thread-safe.
 */
public final class HashIndex {
    /** Whether a number with these hash bits is the one that is looked for. */
    @FunctionalInterface
    public interface Confirms {
        boolean is(int number, long hash);
    }

    /** No number. */
    public static final int NONE = ProbeArray.NONE;

    private final Confirms confirms;
    private ProbeArray probes;
    private int capacity;
    private int size;

    /** @param expected numbers that are in it at once, as a rule */
    public HashIndex(final int expected, final Confirms confirms) {
        this.confirms = confirms;
        capacity = expected;
        probes = new ProbeArray(expected, Arena.ofAuto());
    }

    /** Bytes of memory for so many. */
    public static long bytes(final int expected) {
        return ProbeArray.bytes(expected);
    }

    public int size() {
        return size;
    }

    /** The first number under this hash that is confirmed, or {@link #NONE}. */
    public int find(final long hash) {
        final int tag = ProbeArray.tag(hash);
        int at = probes.home(tag);
        for (long word = probes.word(at); word != 0; word = probes.word(at)) {
            final int number = ProbeArray.number(word, tag);
            if (number != NONE && confirms.is(number, hash)) {
                return number;
            }
            at = probes.next(at);
        }
        return NONE;
    }

    /** The first number under this hash that the caller confirms, or {@link #NONE}. */
    public int find(final long hash, final IntPredicate is) {
        final int tag = ProbeArray.tag(hash);
        int at = probes.home(tag);
        for (long word = probes.word(at); word != 0; word = probes.word(at)) {
            final int number = ProbeArray.number(word, tag);
            if (number != NONE && is.test(number)) {
                return number;
            }
            at = probes.next(at);
        }
        return NONE;
    }

    /** @param number 0 or more, and not under this hash yet */
    public void put(final long hash, final int number) {
        if (size == capacity) {
            grow();
        }
        probes.add(ProbeArray.tag(hash), number);
        size++;
    }

    /** @param number is there under this hash */
    public void remove(final long hash, final int number) {
        probes.remove(ProbeArray.tag(hash), number);
        size--;
    }

    private void grow() {
        final ProbeArray old = probes;
        capacity = Math.min(ObjectTable.MAX_CAPACITY, Math.max(1024, capacity * 2));
        probes = new ProbeArray(capacity, Arena.ofAuto());
        for (int at = 0; at < old.words(); at++) {
            final long word = old.word(at);
            if (word != 0) {
                probes.add(ProbeArray.tag(word), (int) word - 1);
            }
        }
    }
}
