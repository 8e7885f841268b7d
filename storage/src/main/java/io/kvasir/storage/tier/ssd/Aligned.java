package io.kvasir.storage.tier.ssd;

import io.kvasir.storage.object.SizeClass;
import java.lang.foreign.MemorySegment;

/** What O_DIRECT asks of a caller's memory, refused at the door. */
final class Aligned {
    private Aligned() {}

    static void check(final String what, final MemorySegment segment, final long leastBytes) {
        if (!segment.isNative() || segment.address() % SizeClass.PAGE != 0 || segment.byteSize() < leastBytes) {
            throw new IllegalArgumentException(what + " must be off-heap memory at a multiple of 4096 with at least "
                    + leastBytes + " bytes; it is at " + segment.address() + " with " + segment.byteSize());
        }
    }
}
