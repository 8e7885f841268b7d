package io.kvasir.storage.tier.dram;

import io.kvasir.storage.posix.PosixException;
import io.kvasir.storage.tier.SlotBytes;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.zip.CRC32C;

/**
 * The bytes of one slot. Engines may take them away at any time, by truncating the file or by punching holes in it: then
 * every method throws, and {@link DramTier#inspect} finds out. Valid while the entry is held; any thread.
 */
public final class Payload implements SlotBytes {
    /** Small enough to stay in a processor's own cache between the copy and the sum. */
    private static final int PIECE = 64 << 10;

    private static final ThreadLocal<MemorySegment> BUFFER =
            ThreadLocal.withInitial(() -> Arena.ofAuto().allocate(PIECE, 64));

    private final RegionFile file;
    private final long offset;
    private final long bytes;

    Payload(final RegionFile file, final long offset, final long bytes) {
        this.file = file;
        this.offset = offset;
        this.bytes = bytes;
    }

    /** All of a file, read and written as a region is; for benchmarks, whose process closes it by ending. */
    public static Payload ofFile(final Path file, final long bytes, final Arena memory) throws IOException {
        return new Payload(RegionFile.open(file, bytes, PIECE, memory), 0, bytes);
    }

    public Payload slice(final long position, final long length) {
        check(position, length);
        return new Payload(file, offset + position, length);
    }

    @Override
    public long byteSize() {
        return bytes;
    }

    @Override
    public void read(final long position, final MemorySegment into) throws PosixException {
        check(position, into.byteSize());
        file.read(offset + position, into);
    }

    @Override
    public void write(final long position, final MemorySegment from) throws PosixException {
        check(position, from.byteSize());
        file.write(offset + position, from);
    }

    @Override
    public int crc32c(final long length) throws PosixException {
        check(0, length);
        final CRC32C crc = new CRC32C();
        final MemorySegment buffer = BUFFER.get();
        for (long at = 0; at < length; at += PIECE) {
            final MemorySegment piece = buffer.asSlice(0, Math.min(PIECE, length - at));
            file.read(offset + at, piece);
            crc.update(piece.asByteBuffer());
        }
        return (int) crc.getValue();
    }

    /** Copies the first {@code length} bytes into another slot; CRC32C of what was copied. */
    int copy(final Payload into, final long length) throws PosixException {
        check(0, length);
        final CRC32C crc = new CRC32C();
        final MemorySegment buffer = BUFFER.get();
        for (long at = 0; at < length; at += PIECE) {
            final MemorySegment piece = buffer.asSlice(0, Math.min(PIECE, length - at));
            file.read(offset + at, piece);
            crc.update(piece.asByteBuffer());
            into.write(at, piece);
        }
        return (int) crc.getValue();
    }

    /** For system calls, which answer EFAULT where the bytes are gone. A touch by this process may end it. */
    public MemorySegment forSystemCalls() {
        return file.mapped(offset, bytes);
    }

    private void check(final long position, final long length) {
        if (position < 0 || length < 0 || length > bytes - position) {
            throw new IndexOutOfBoundsException(length + " bytes at " + position + " of " + bytes);
        }
    }
}
