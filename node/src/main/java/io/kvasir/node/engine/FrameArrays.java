package io.kvasir.node.engine;

import java.util.ArrayList;
import java.util.List;

/**
 * Arrays in which long frames gather, used again for the next one: a connection that sends frames of megabytes would
 * otherwise fill the young generation with each. Owned by the server's thread.
 */
final class FrameArrays {
    /** Kept for the next frame, at most. */
    private static final int SPARE_BYTES = 8 << 20;
    /** Shorter ones are allocated: that costs less than to look for one. */
    private static final int SHORT_BYTES = 64 * 1024;

    private static final int STEP_BYTES = 256 * 1024;

    private final List<byte[]> spare = new ArrayList<>();
    private int spareBytes;

    /** An array that holds at least so many bytes. */
    byte[] take(final int bytes) {
        if (bytes <= SHORT_BYTES) {
            return new byte[bytes];
        }
        for (int i = spare.size() - 1; i >= 0; i--) {
            final byte[] array = spare.get(i);
            if (array.length >= bytes && array.length / 2 <= bytes) {
                spare.remove(i);
                spareBytes -= array.length;
                return array;
            }
        }
        return new byte[(int) Math.min(Integer.MAX_VALUE - 8L, (bytes + STEP_BYTES - 1L) / STEP_BYTES * STEP_BYTES)];
    }

    /** Nobody uses its bytes any more. */
    void give(final byte[] array) {
        if (array.length > SHORT_BYTES && spareBytes + array.length <= SPARE_BYTES) {
            spare.add(array);
            spareBytes += array.length;
        }
    }
}
