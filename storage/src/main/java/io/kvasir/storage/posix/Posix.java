package io.kvasir.storage.posix;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.VarHandle;
import java.nio.file.Path;
import java.util.List;

/**
 * The system calls that tiers need and Java does not offer, for 64-bit Linux. Transfers move everything that was asked
 * or throw. Segments are native or mapped; the callers keep them alive for the length of a call.
 */
public final class Posix {
    /** System property: the process's own directory for native libraries that come in jars; without it the JVM's. */
    public static final String LIBRARIES = "kvasir.native.directory";

    public static final int O_RDONLY = 0;
    public static final int O_WRONLY = 1;
    public static final int O_RDWR = 2;
    public static final int O_CREAT = 0x40;
    public static final int O_EXCL = 0x80;
    public static final int O_TRUNC = 0x200;
    public static final int O_CLOEXEC = 0x80000;
    public static final int O_NONBLOCK = 0x800;
    private static final boolean AARCH64 = "aarch64".equals(System.getProperty("os.arch"));
    /** This flag and the next differ between processors. */
    public static final int O_DIRECT = AARCH64 ? 0x10000 : 0x4000;

    public static final int O_NOFOLLOW = AARCH64 ? 0x8000 : 0x20000;

    /** Puts a range on huge pages now, whatever the machine's setting for shared memory says short of "deny" (Linux 6.1). */
    public static final int MADV_COLLAPSE = 25;

    private static final long PAGE = 4096;

    /** One call takes at most this many segments (the kernel's UIO_MAXIOV). */
    public static final int MAX_SEGMENTS = 1024;

    private static final int EINTR = 4;
    /** FALLOC_FL_PUNCH_HOLE with FALLOC_FL_KEEP_SIZE. */
    private static final int PUNCH_HOLE = 3;

    private static final int PROT_NONE = 0;
    private static final int PROT_READ_WRITE = 3;
    private static final int PROT_READ_EXECUTE = 5;
    private static final int MAP_SHARED = 0x01;
    private static final int MAP_PRIVATE = 0x02;
    private static final int MAP_FIXED = 0x10;
    private static final int MAP_ANONYMOUS = 0x20;
    private static final int MAP_NORESERVE = 0x4000;
    private static final int PRIO_PROCESS = 0;
    private static final int AT_EMPTY_PATH = 0x1000;
    private static final int STATX_BASIC = 0x7ff;
    private static final int STATX_BYTES = 256;
    private static final int FILE_TYPE = 0xf000;
    private static final int REGULAR_FILE = 0x8000;
    private static final Linker LINKER = Linker.nativeLinker();
    private static final Linker.Option ERRNO = Linker.Option.captureCallState("errno");
    private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT;
    private static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG;
    private static final ValueLayout PTR = ValueLayout.ADDRESS;
    private static final VarHandle ERRNO_VALUE =
            Linker.Option.captureStateLayout().varHandle(MemoryLayout.PathElement.groupElement("errno"));

    // open() is variadic: without firstVariadicArg the mode is lost on some processors.
    private static final MethodHandle OPEN = LINKER.downcallHandle(
            LINKER.defaultLookup().findOrThrow("open"),
            FunctionDescriptor.of(INT, PTR, INT, INT),
            ERRNO,
            Linker.Option.firstVariadicArg(2));
    private static final MethodHandle CLOSE = bind("close", FunctionDescriptor.of(INT, INT));
    private static final MethodHandle FALLOCATE = bind("posix_fallocate", FunctionDescriptor.of(INT, INT, LONG, LONG));
    private static final MethodHandle FALLOCATE_MODE =
            bind("fallocate", FunctionDescriptor.of(INT, INT, INT, LONG, LONG));
    private static final MethodHandle PREAD = bind("pread", FunctionDescriptor.of(LONG, INT, PTR, LONG, LONG));
    private static final MethodHandle PWRITE = bind("pwrite", FunctionDescriptor.of(LONG, INT, PTR, LONG, LONG));
    private static final MethodHandle PWRITEV = bind("pwritev", FunctionDescriptor.of(LONG, INT, PTR, INT, LONG));
    private static final MethodHandle FDATASYNC = bind("fdatasync", FunctionDescriptor.of(INT, INT));
    private static final MethodHandle FSYNC = bind("fsync", FunctionDescriptor.of(INT, INT));
    private static final MethodHandle MMAP = bind("mmap", FunctionDescriptor.of(PTR, PTR, LONG, INT, INT, INT, LONG));
    private static final MethodHandle MUNMAP = bind("munmap", FunctionDescriptor.of(INT, PTR, LONG));
    private static final MethodHandle MADVISE = bind("madvise", FunctionDescriptor.of(INT, PTR, LONG, INT));
    private static final MethodHandle FTRUNCATE = bind("ftruncate", FunctionDescriptor.of(INT, INT, LONG));
    private static final MethodHandle GETEUID = bind("geteuid", FunctionDescriptor.of(INT));
    private static final MethodHandle GETEGID = bind("getegid", FunctionDescriptor.of(INT));
    private static final MethodHandle SETPRIORITY = bind("setpriority", FunctionDescriptor.of(INT, INT, INT, INT));
    /** Unlike fstat() the same structure on every processor, and a symbol of every C library. */
    private static final MethodHandle STATX = bind("statx", FunctionDescriptor.of(INT, INT, PTR, INT, INT, PTR));

    private static final MethodHandle WRITE_MEMORY =
            bind("process_vm_writev", FunctionDescriptor.of(LONG, INT, PTR, LONG, PTR, LONG, LONG));
    private static final int OWN_PID = (int) ProcessHandle.current().pid();

    /** Where errno of this thread's last call is kept, and the iovec array of its pwritev. */
    private static final ThreadLocal<Scratch> SCRATCH = ThreadLocal.withInitial(Scratch::new);

    private static final class Scratch {
        final MemorySegment errno = Arena.ofAuto().allocate(Linker.Option.captureStateLayout());
        MemorySegment vectors = MemorySegment.NULL;

        int code() {
            return (int) ERRNO_VALUE.get(errno, 0L);
        }

        MemorySegment vectors(final int count) {
            if (vectors.byteSize() < 16L * count) {
                vectors = Arena.ofAuto().allocate(16L * Math.max(64, count), 8);
            }
            return vectors;
        }
    }

    private Posix() {}

    private static MethodHandle bind(final String name, final FunctionDescriptor descriptor) {
        return LINKER.downcallHandle(LINKER.defaultLookup().findOrThrow(name), descriptor, ERRNO);
    }

    /** A new descriptor, always close-on-exec. */
    public static int open(final Path path, final int flags, final int mode) throws PosixException {
        try (Arena arena = Arena.ofConfined()) {
            final Scratch scratch = SCRATCH.get();
            final MemorySegment name = arena.allocateFrom(path.toString());
            int fd;
            do {
                fd = (int) OPEN.invokeExact(scratch.errno, name, flags | O_CLOEXEC, mode);
            } while (fd < 0 && scratch.code() == EINTR);
            if (fd < 0) {
                throw new PosixException("open " + path, scratch.code());
            }
            return fd;
        } catch (final PosixException e) {
            throw e;
        } catch (final Throwable e) {
            throw unexpected(e);
        }
    }

    /** Not repeated on EINTR: Linux has released the descriptor by then. */
    public static void close(final int fd) throws PosixException {
        check("close", () -> (int) CLOSE.invokeExact(SCRATCH.get().errno, fd));
    }

    /** Gives the range real blocks, so that a later write or a touch of a mapping cannot meet a full file system. */
    public static void allocate(final int fd, final long offset, final long bytes) throws PosixException {
        try {
            int code;
            do {
                // This one returns the error instead of setting errno.
                code = (int) FALLOCATE.invokeExact(SCRATCH.get().errno, fd, offset, bytes);
            } while (code == EINTR);
            if (code != 0) {
                throw new PosixException("posix_fallocate of " + bytes + " bytes", code);
            }
        } catch (final PosixException e) {
            throw e;
        } catch (final Throwable e) {
            throw unexpected(e);
        }
    }

    /** Takes the blocks of the first {@code bytes} away; they read as zeros, and the file's size stays. */
    public static void punch(final int fd, final long bytes) throws PosixException {
        check("fallocate", () -> (int) FALLOCATE_MODE.invokeExact(SCRATCH.get().errno, fd, PUNCH_HOLE, 0L, bytes));
    }

    /** Fills {@code destination} from the file, or throws; an end of file before that is EIO. */
    public static void read(final int fd, final MemorySegment destination, final long offset) throws PosixException {
        transfer(PREAD, "pread", fd, destination, offset);
    }

    /** Writes all of {@code source}, or throws. */
    public static void write(final int fd, final MemorySegment source, final long offset) throws PosixException {
        transfer(PWRITE, "pwrite", fd, source, offset);
    }

    /** Writes the segments one behind the other from {@code offset}, in as few calls as the kernel allows. */
    public static void write(final int fd, final List<MemorySegment> sources, final long offset) throws PosixException {
        long position = offset;
        int first = 0;
        long done = 0;
        final Scratch scratch = SCRATCH.get();
        while (first < sources.size()) {
            final int count = Math.min(MAX_SEGMENTS, sources.size() - first);
            final MemorySegment vectors = scratch.vectors(count);
            for (int i = 0; i < count; i++) {
                final MemorySegment source = sources.get(first + i);
                final long skip = i == 0 ? done : 0;
                vectors.setAtIndex(LONG, 2L * i, source.address() + skip);
                vectors.setAtIndex(LONG, 2L * i + 1, source.byteSize() - skip);
            }
            long moved = pwritev(scratch, fd, vectors, count, position);
            position += moved;
            moved += done;
            while (first < sources.size() && moved >= sources.get(first).byteSize()) {
                moved -= sources.get(first++).byteSize();
            }
            done = moved;
        }
    }

    private static long pwritev(
            final Scratch scratch, final int fd, final MemorySegment vectors, final int count, final long position)
            throws PosixException {
        try {
            long moved;
            do {
                moved = (long) PWRITEV.invokeExact(scratch.errno, fd, vectors, count, position);
            } while (moved < 0 && scratch.code() == EINTR);
            if (moved <= 0) {
                throw new PosixException("pwritev at " + position, moved == 0 ? 5 : scratch.code());
            }
            return moved;
        } catch (final PosixException e) {
            throw e;
        } catch (final Throwable e) {
            throw unexpected(e);
        }
    }

    private static void transfer(
            final MethodHandle call, final String name, final int fd, final MemorySegment segment, final long offset)
            throws PosixException {
        final Scratch scratch = SCRATCH.get();
        final long bytes = segment.byteSize();
        long done = 0;
        try {
            while (done < bytes) {
                final MemorySegment rest = done == 0 ? segment : segment.asSlice(done);
                final long moved = (long) call.invokeExact(scratch.errno, fd, rest, bytes - done, offset + done);
                if (moved > 0) {
                    done += moved;
                } else if (moved == 0) {
                    throw new PosixException(name + " at " + (offset + done) + ", end of file", 5);
                } else if (scratch.code() != EINTR) {
                    throw new PosixException(name + " at " + (offset + done), scratch.code());
                }
            }
        } catch (final PosixException e) {
            throw e;
        } catch (final Throwable e) {
            throw unexpected(e);
        }
    }

    /** The file's data, and what is needed to find it, is on the device when this returns. */
    public static void dataSync(final int fd) throws PosixException {
        check("fdatasync", () -> (int) FDATASYNC.invokeExact(SCRATCH.get().errno, fd));
    }

    public static void sync(final int fd) throws PosixException {
        check("fsync", () -> (int) FSYNC.invokeExact(SCRATCH.get().errno, fd));
    }

    /** Makes created, renamed and removed names in a directory durable. */
    public static void syncDirectory(final Path directory) throws PosixException {
        final int fd = open(directory, O_RDONLY, 0);
        try {
            sync(fd);
        } finally {
            close(fd);
        }
    }

    /**
     * What an open file is.
     *
     * @param allocated bytes of the file that have memory or blocks; fewer than {@code size} where it has holes
     */
    public record FileState(boolean regular, int uid, long size, long allocated) {}

    /** Of an open file. */
    public static FileState state(final int fd) throws PosixException {
        try (Arena arena = Arena.ofConfined()) {
            final MemorySegment stat = arena.allocate(STATX_BYTES, 8);
            check("statx", () -> (int)
                    STATX.invokeExact(SCRATCH.get().errno, fd, arena.allocate(1), AT_EMPTY_PATH, STATX_BASIC, stat));
            return new FileState(
                    (stat.get(ValueLayout.JAVA_SHORT, 28) & FILE_TYPE) == REGULAR_FILE,
                    stat.get(INT, 20),
                    stat.get(LONG, 40),
                    stat.get(LONG, 48) * 512);
        }
    }

    public static void truncate(final int fd, final long bytes) throws PosixException {
        check("ftruncate", () -> (int) FTRUNCATE.invokeExact(SCRATCH.get().errno, fd, bytes));
    }

    /** The user that this process acts as. */
    public static int user() {
        try {
            return (int) GETEUID.invokeExact(SCRATCH.get().errno);
        } catch (final Throwable e) {
            throw unexpected(e);
        }
    }

    /** The group that this process acts as. */
    public static int group() {
        try {
            return (int) GETEGID.invokeExact(SCRATCH.get().errno);
        } catch (final Throwable e) {
            throw unexpected(e);
        }
    }

    /**
     * Sets the scheduling priority of one thread of this process.
     *
     * @param thread its number in {@code /proc/self/task}
     * @param nice 0 is usual, 19 the lowest; lowering it again may need a privilege
     */
    public static void nice(final int thread, final int nice) throws PosixException {
        check("setpriority", () -> (int) SETPRIORITY.invokeExact(SCRATCH.get().errno, PRIO_PROCESS, thread, nice));
    }

    /**
     * Copies into memory of this process by way of the kernel, so that a page which is not there any more (of a file that
     * somebody truncated, say) is the error EFAULT instead of a signal.
     */
    public static void writeMemory(final MemorySegment destination, final MemorySegment source) throws PosixException {
        final Scratch scratch = SCRATCH.get();
        final MemorySegment vectors = scratch.vectors(2);
        final long bytes = source.byteSize();
        long done = 0;
        try {
            while (done < bytes) {
                vectors.setAtIndex(LONG, 0, source.address() + done);
                vectors.setAtIndex(LONG, 1, bytes - done);
                vectors.setAtIndex(LONG, 2, destination.address() + done);
                vectors.setAtIndex(LONG, 3, bytes - done);
                final long moved = (long)
                        WRITE_MEMORY.invokeExact(scratch.errno, OWN_PID, vectors, 1L, vectors.asSlice(16), 1L, 0L);
                if (moved <= 0) {
                    throw new PosixException("process_vm_writev", moved == 0 ? 14 : scratch.code());
                }
                done += moved;
            }
        } catch (final PosixException e) {
            throw e;
        } catch (final Throwable e) {
            throw unexpected(e);
        }
    }

    /** One of the MADV constants, for a mapped segment whose address is a multiple of the page size. */
    public static void advise(final MemorySegment segment, final int advice) throws PosixException {
        check("madvise", () -> (int) MADVISE.invokeExact(SCRATCH.get().errno, segment, segment.byteSize(), advice));
    }

    /**
     * Maps a file from its begin, shared, to be read and written; unmapped with the arena.
     *
     * @param alignment what the address is a multiple of, a power of two: a mapping only uses huge pages where its
     *     addresses and the file's offsets begin them at the same places
     */
    public static MemorySegment map(final int fd, final long bytes, final long alignment, final Arena arena)
            throws PosixException {
        // Room for any address, and what is not needed of it goes back.
        final long room = bytes + alignment;
        final long from = map(MemorySegment.NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
        final long begin = from + alignment - 1 & -alignment;
        final long end = begin + (bytes + PAGE - 1 & -PAGE);
        boolean mapped = false;
        try {
            map(MemorySegment.ofAddress(begin), bytes, PROT_READ_WRITE, MAP_SHARED | MAP_FIXED, fd);
            unmap(from, begin - from);
            unmap(end, from + room - end);
            mapped = true;
        } finally {
            if (!mapped) {
                unmap(from, room);
            }
        }
        return MemorySegment.ofAddress(begin).reinterpret(bytes, arena, segment -> unmap(segment.address(), bytes));
    }

    /** Memory of zeros, which takes physical pages as they are touched; unmapped with the arena. */
    public static MemorySegment zeroes(final long bytes, final Arena arena) throws PosixException {
        final long at =
                map(MemorySegment.NULL, bytes, PROT_READ_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
        return MemorySegment.ofAddress(at).reinterpret(bytes, arena, segment -> unmap(segment.address(), bytes));
    }

    private static long map(
            final MemorySegment where, final long bytes, final int protection, final int flags, final int fd)
            throws PosixException {
        try {
            final Scratch scratch = SCRATCH.get();
            final MemorySegment at =
                    (MemorySegment) MMAP.invokeExact(scratch.errno, where, bytes, protection, flags, fd, 0L);
            if (at.address() == -1) {
                throw new PosixException("mmap of " + bytes + " bytes", scratch.code());
            }
            return at.address();
        } catch (final PosixException e) {
            throw e;
        } catch (final Throwable e) {
            throw unexpected(e);
        }
    }

    /** Whether code of this file may run, as a library's has to: not on a file system that is mounted noexec. */
    public static boolean isExecutable(final int fd) throws PosixException {
        try {
            unmap(map(MemorySegment.NULL, PAGE, PROT_READ_EXECUTE, MAP_PRIVATE, fd), PAGE);
            return true;
        } catch (final PosixException e) {
            if (e.error() == PosixException.Errno.EPERM) {
                return false;
            }
            throw e;
        }
    }

    private static void unmap(final long address, final long bytes) {
        if (bytes > 0) {
            try {
                final int code = (int) MUNMAP.invokeExact(SCRATCH.get().errno, MemorySegment.ofAddress(address), bytes);
                assert code == 0 : "munmap of what was mapped";
            } catch (final Throwable e) {
                throw unexpected(e);
            }
        }
    }

    @FunctionalInterface
    private interface Call {
        int run() throws Throwable;
    }

    private static void check(final String name, final Call call) throws PosixException {
        try {
            if (call.run() != 0) {
                throw new PosixException(name, SCRATCH.get().code());
            }
        } catch (final PosixException e) {
            throw e;
        } catch (final Throwable e) {
            throw unexpected(e);
        }
    }

    private static AssertionError unexpected(final Throwable e) {
        if (e instanceof Error error) {
            throw error;
        }
        if (e instanceof RuntimeException runtime) {
            throw runtime;
        }
        return new AssertionError("a downcall threw", e);
    }
}
