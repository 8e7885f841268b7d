package io.kvasir.storage.index;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;

/**
 * Records of one size, off the heap, by small numbers that stay theirs while they are taken. Memory is taken piece by
 * piece as numbers are first used, and given back with the object; numbers that were given back are used again. Not
 * thread-safe.
 */
public final class RecordPool {
    private static final int NONE = -1;
    private static final int PIECE_BITS = 12;
    private static final int PIECE_MASK = (1 << PIECE_BITS) - 1;
    /** Of a free record: the next free one. */
    private static final int NEXT_FREE = 0;

    private final int bytes;
    private MemorySegment[] pieces = new MemorySegment[1];
    private int used;
    private int free = NONE;

    /** @param bytes of a record, a multiple of 8 */
    public RecordPool(final int bytes) {
        if (bytes < Long.BYTES || bytes % Long.BYTES != 0) {
            throw new IllegalArgumentException("a record has a multiple of 8 bytes, not " + bytes);
        }
        this.bytes = bytes;
    }

    /** The number of a record whose content is undefined. */
    public int take() {
        if (free != NONE) {
            final int record = free;
            free = getInt(record, NEXT_FREE);
            return record;
        }
        final int piece = used >>> PIECE_BITS;
        if (piece == pieces.length) {
            pieces = Arrays.copyOf(pieces, piece * 2);
        }
        if ((used & PIECE_MASK) == 0) {
            pieces[piece] = Arena.ofAuto().allocate((long) bytes << PIECE_BITS, Long.BYTES);
        }
        return used++;
    }

    /** The first 4 bytes are the pool's from now on. */
    public void give(final int record) {
        setInt(record, NEXT_FREE, free);
        free = record;
    }

    /** Above all numbers that were ever taken. */
    public int used() {
        return used;
    }

    public int getInt(final int record, final int offset) {
        return pieces[record >>> PIECE_BITS].get(ValueLayout.JAVA_INT, at(record) + offset);
    }

    public void setInt(final int record, final int offset, final int value) {
        pieces[record >>> PIECE_BITS].set(ValueLayout.JAVA_INT, at(record) + offset, value);
    }

    public long getLong(final int record, final int offset) {
        return pieces[record >>> PIECE_BITS].get(ValueLayout.JAVA_LONG, at(record) + offset);
    }

    public void setLong(final int record, final int offset, final long value) {
        pieces[record >>> PIECE_BITS].set(ValueLayout.JAVA_LONG, at(record) + offset, value);
    }

    private long at(final int record) {
        return (long) (record & PIECE_MASK) * bytes;
    }
}
