package io.kvasir.storage.lease;

import io.kvasir.storage.posix.Posix;
import io.kvasir.storage.posix.PosixException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Lists of numbers of any length, in chains of blocks of 64 bytes off the heap: what a lease has, in order. Part of
 * {@link LeaseTable}, which bounds how many there are.
 */
final class LeaseBlocks {
    static final int NONE = -1;
    /** Numbers in a block; its last place names the next block. */
    static final int NUMBERS = 15;

    private static final int NEXT = NUMBERS;
    private static final int INTS = 16;

    private final MemorySegment memory;
    private int free = NONE;
    private int used;

    LeaseBlocks(final int blocks, final Arena arena) throws PosixException {
        memory = Posix.zeroes(bytes(blocks), arena);
    }

    static long bytes(final int blocks) {
        return (long) blocks * INTS * Integer.BYTES;
    }

    /** A block that is the last of its chain. */
    int take() {
        final int block;
        if (free == NONE) {
            block = used++;
        } else {
            block = free;
            free = next(block);
        }
        next(block, NONE);
        return block;
    }

    /** Gives the whole chain back. */
    void give(final int first, final int last) {
        next(last, free);
        free = first;
    }

    int next(final int block) {
        return get(block, NEXT);
    }

    void next(final int block, final int next) {
        set(block, NEXT, next);
    }

    int get(final int block, final int place) {
        return memory.getAtIndex(ValueLayout.JAVA_INT, (long) block * INTS + place);
    }

    void set(final int block, final int place, final int number) {
        memory.setAtIndex(ValueLayout.JAVA_INT, (long) block * INTS + place, number);
    }
}
