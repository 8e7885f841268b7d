package io.kvasir.storage.tier.ssd;

import static io.kvasir.storage.tier.ssd.SlotHeader.INT;
import static io.kvasir.storage.tier.ssd.SlotHeader.LONG;

import io.kvasir.storage.index.OffHeap;
import io.kvasir.storage.object.Hash256;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;

/**
 * What is known of entries that recovery found, and needed only until the listener has heard of all: when it was written, its
 * number in its chain, and its parent. 48 bytes an entry off the heap, given back at the end.
 */
final class FoundObjects implements AutoCloseable {
    private static final int SEQUENCE = 0;
    private static final int CHUNK_INDEX = 8;
    private static final int PARENT = 16;
    static final int BYTES = PARENT + Hash256.BYTES;
    private static final int PIECE_BITS = 16;
    private static final int PIECE_MASK = (1 << PIECE_BITS) - 1;

    private final Arena arena = Arena.ofShared();
    private final List<MemorySegment> pieces = new ArrayList<>();

    /** @param body of a header, see {@link SlotHeader} */
    void put(final int entry, final MemorySegment body, final long at) {
        while (entry >>> PIECE_BITS >= pieces.size()) {
            // Pages of its own, which the system has again at the end.
            pieces.add(OffHeap.zeroes((long) BYTES << PIECE_BITS, arena));
        }
        final MemorySegment piece = piece(entry);
        piece.set(LONG, offset(entry) + SEQUENCE, body.get(LONG, at + SlotHeader.SEQUENCE));
        piece.set(INT, offset(entry) + CHUNK_INDEX, body.get(INT, at + SlotHeader.CHUNK_INDEX));
        MemorySegment.copy(body, at + SlotHeader.PARENT, piece, offset(entry) + PARENT, Hash256.BYTES);
    }

    /** Larger for what was written later. */
    long sequence(final int entry) {
        return piece(entry).get(LONG, offset(entry) + SEQUENCE);
    }

    int chunkIndex(final int entry) {
        return piece(entry).get(INT, offset(entry) + CHUNK_INDEX);
    }

    Hash256 parent(final int entry) {
        return Hash256.read(piece(entry), offset(entry) + PARENT);
    }

    private MemorySegment piece(final int entry) {
        return pieces.get(entry >>> PIECE_BITS);
    }

    private static long offset(final int entry) {
        return (long) (entry & PIECE_MASK) * BYTES;
    }

    @Override
    public void close() {
        arena.close();
    }
}
