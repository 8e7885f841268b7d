package io.kvasir.storage.tier.dram;

import io.kvasir.storage.posix.Posix;
import io.kvasir.storage.posix.PosixException;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A payload file, open and mapped. Engines may write it, so one of them may truncate it or punch holes in it, and then a
 * touch of its mapping is a SIGBUS, which ends a JVM inside CRC32C. So this process never touches the mapping: it reads
 * and writes through system calls, for which a missing page is an error. Any thread, as long as the region lives.
 */
final class RegionFile implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(RegionFile.class);
    /** From here on a copy into the mapping by the kernel is faster than a write to the file. */
    private static final long WRITES_MEMORY_FROM = 16 << 10;

    /** False once the kernel refused it: some containers filter that call. */
    private static volatile boolean writesMemory = true;

    private final int fd;
    private final MemorySegment mapped;
    /** Bytes that had memory when the file was opened. */
    private final long allocated;

    private RegionFile(final int fd, final MemorySegment mapped, final long allocated) {
        this.fd = fd;
        this.mapped = mapped;
        this.allocated = allocated;
    }

    /** Refuses what is not a file of this user with {@code bytes} bytes, all of them allocated. */
    static RegionFile open(final Path file, final long bytes, final long alignment, final Arena memory)
            throws IOException {
        final int fd = Posix.open(file, Posix.O_RDWR | Posix.O_NOFOLLOW | Posix.O_NONBLOCK, 0);
        RegionFile opened = null;
        try {
            Posix.FileState state = Posix.state(fd);
            if (!state.regular() || state.uid() != Posix.user() || state.size() != bytes) {
                throw new IOException(file + " is no file of this user with " + bytes + " bytes: " + state);
            }
            if (state.allocated() < bytes) {
                // Holes become zeros, which fit no checksum; a file system that is full refuses here.
                Posix.allocate(fd, 0, bytes);
                state = Posix.state(fd);
            }
            opened = new RegionFile(fd, Posix.map(fd, bytes, alignment, memory), state.allocated());
            return opened;
        } finally {
            if (opened == null) {
                Posix.close(fd);
            }
        }
    }

    long bytes() {
        return mapped.byteSize();
    }

    /** Only to be handed to system calls. */
    MemorySegment mapped(final long offset, final long length) {
        return mapped.asSlice(offset, length);
    }

    void read(final long offset, final MemorySegment into) throws PosixException {
        requireOpen();
        try {
            Posix.read(fd, into, offset);
        } catch (final PosixException failure) {
            throw new PosixException(failure, PosixException.Errno.EFAULT);
        }
    }

    void write(final long offset, final MemorySegment from) throws PosixException {
        requireOpen();
        if (writesMemory && from.byteSize() >= WRITES_MEMORY_FROM) {
            try {
                Posix.writeMemory(mapped.asSlice(offset, from.byteSize()), from);
                return;
            } catch (final PosixException failure) {
                if (failure.error() == PosixException.Errno.EFAULT) {
                    throw failure;
                }
                LOG.info("payload is written through files: {}", failure.getMessage());
                writesMemory = false;
            }
        }
        Posix.write(fd, from, offset);
    }

    /** What an engine did to the file: empty when nothing. */
    String damage() {
        try {
            final Posix.FileState state = Posix.state(fd);
            if (state.size() != bytes()) {
                return "has " + state.size() + " of " + bytes() + " bytes";
            }
            return state.allocated() < allocated
                    ? "has holes: " + state.allocated() + " of " + allocated + " bytes have memory"
                    : "";
        } catch (final PosixException failure) {
            return "cannot be looked at: " + failure.getMessage();
        }
    }

    /** What was added behind the end goes; nobody has that mapped by the rules. */
    void trim() {
        try {
            if (Posix.state(fd).size() > bytes()) {
                Posix.truncate(fd, bytes());
            }
        } catch (final PosixException failure) {
            LOG.warn("a region's file cannot be trimmed: {}", failure.getMessage());
        }
    }

    /** Nobody needs the bytes any more: the memory goes back even while somebody has the file mapped. */
    void punch() {
        try {
            Posix.punch(fd, bytes());
        } catch (final PosixException failure) {
            LOG.warn("the memory of a retired region is kept as long as an engine maps it: {}", failure.getMessage());
        }
    }

    /** A number of a closed file may already be another one's. */
    private void requireOpen() {
        if (!mapped.scope().isAlive()) {
            throw new IllegalStateException("the region is closed");
        }
    }

    /** The mapping ends with its arena. */
    @Override
    public void close() {
        try {
            Posix.close(fd);
        } catch (final PosixException failure) {
            LOG.warn("a region's file did not close: {}", failure.getMessage());
        }
    }
}
