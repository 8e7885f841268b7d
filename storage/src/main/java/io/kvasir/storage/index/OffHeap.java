package io.kvasir.storage.index;

import io.kvasir.storage.object.StorageException;
import io.kvasir.storage.posix.Posix;
import io.kvasir.storage.posix.PosixException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** Memory outside the heap of which the system gives pages as they are used. */
public final class OffHeap {
    private OffHeap() {}

    /** @throws StorageException when there is none */
    public static MemorySegment zeroes(final long bytes, final Arena arena) {
        try {
            return Posix.zeroes(bytes, arena);
        } catch (final PosixException failure) {
            throw new StorageException(
                    "an index needs " + bytes + " bytes of memory: " + failure.getMessage(), failure);
        }
    }
}
