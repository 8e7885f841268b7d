package io.kvasir.storage.tier;

import io.kvasir.storage.posix.PosixException;
import java.lang.foreign.MemorySegment;

/** The bytes of one slot, as the node reads and writes them. Valid while the entry is held or being written; any thread. */
public interface SlotBytes {
    long byteSize();

    /** Fills {@code into} from {@code position} on. */
    void read(long position, MemorySegment into) throws PosixException;

    void write(long position, MemorySegment from) throws PosixException;

    /** CRC32C of the first {@code length} bytes. */
    int crc32c(long length) throws PosixException;
}
