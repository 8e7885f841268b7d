package io.kvasir.ops;

import io.kvasir.node.NodeException;
import io.kvasir.node.TemporaryDirectory;
import io.kvasir.node.config.ByteSize;
import io.kvasir.node.config.MemoryLimit;
import io.kvasir.node.config.MemoryNeed;
import io.kvasir.node.config.NodeConfig;
import io.kvasir.storage.posix.Posix;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileStore;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/** The doctor's checks. Each looks at one thing, changes nothing that stays, and never throws. */
final class Checkup {
    private static final int JDK_FEATURE = 25;
    private static final long MIN_OPEN_FILES = 8192;
    private static final int MAX_SOCKET_PATH_BYTES = 103;
    /** A chunk of a usual model; smaller ones are common too. */
    private static final long USUAL_OBJECT_BYTES = 32L << 20;

    private static final int DIRECT_BLOCK = 4096;
    private static final Path LIMITS = Path.of("/proc/self/limits");
    private static final Path MEMINFO = Path.of("/proc/meminfo");

    private final NodeConfig config;

    private Checkup(final NodeConfig config) {
        this.config = config;
    }

    static List<Finding> of(final NodeConfig config) {
        final Checkup checkup = new Checkup(config);
        return List.of(
                checkup.jdk(),
                checkup.sharedMemory(),
                checkup.memoryLimit(),
                checkup.largestObject(),
                checkup.lockedMemory(),
                checkup.directIo(),
                checkup.diskSpace(),
                checkup.temporaryDirectory(),
                checkup.hugePages(),
                checkup.openFiles(),
                checkup.gpu(),
                checkup.socketPath(),
                checkup.otherNode());
    }

    private Finding jdk() {
        final String value = System.getProperty("java.vendor") + " " + Runtime.version();
        return Runtime.version().feature() == JDK_FEATURE
                ? Finding.ok("jdk", value)
                : Finding.fail("jdk", value, "install a JDK " + JDK_FEATURE + ", or set JAVA_HOME to one");
    }

    private Finding sharedMemory() {
        final Path directory = config.dram().directory();
        final long needed = config.dram().capacityBytes();
        try {
            final FileStore store = Files.getFileStore(existing(directory));
            final long mine = bytesIn(directory);
            final long free = store.getUsableSpace() + mine;
            final String value = "%s: %s of %s free (%s of it used by this node's regions), dram.capacity %s"
                    .formatted(
                            directory,
                            ByteSize.human(free),
                            ByteSize.human(store.getTotalSpace()),
                            ByteSize.human(mine),
                            ByteSize.human(needed));
            if (free < needed) {
                return Finding.fail(
                        "shared memory",
                        value,
                        "lower dram.capacity, or make the file system larger: mount -o remount,size=<bytes> /dev/shm"
                                + " (in Kubernetes: an emptyDir of medium Memory with a larger sizeLimit)");
            }
            return "tmpfs".equals(store.type()) || "hugetlbfs".equals(store.type())
                    ? Finding.ok("shared memory", value)
                    : Finding.warn(
                            "shared memory",
                            value + ", on " + store.type(),
                            "set dram.directory to a directory on a tmpfs; elsewhere the kernel writes regions to disk");
        } catch (final IOException e) {
            return Finding.fail("shared memory", directory + ": " + e, "set dram.directory to a directory on a tmpfs");
        }
    }

    /** The start refuses what does not fit. */
    private Finding memoryLimit() {
        final MemoryNeed need = MemoryNeed.of(config.cluster(), config.ssd());
        final String process = ByteSize.human(need.total()) + " for the process, "
                + ByteSize.human(config.dram().capacityBytes()) + " for DRAM";
        return MemoryLimit.current()
                .map(limit -> Finding.ok(
                        "memory limit",
                        ByteSize.human(limit.bytes()) + " (" + limit.file() + "), " + process + ", at most "
                                + ByteSize.human(need.leaves(limit))))
                .orElseGet(() -> Finding.ok("memory limit", "none; " + process));
    }

    private Finding largestObject() {
        final long most = config.largestObjectBytes();
        final String value = ByteSize.human(most) + " (dram.capacity "
                + ByteSize.human(config.dram().capacityBytes()) + ", reserve.quota "
                + ByteSize.human(config.reserveBytes()) + ")";
        return most >= USUAL_OBJECT_BYTES
                ? Finding.ok("largest object", value)
                : Finding.warn(
                        "largest object",
                        value,
                        "larger ones are refused, and chunks of usual models have 2 MiB to 32 MiB: raise dram.capacity (on"
                                + " a larger file system: mount -o remount,size=<bytes> /dev/shm, docker run --shm-size,"
                                + " in Kubernetes an emptyDir of medium Memory), or reserve.quota");
    }

    private Finding temporaryDirectory() {
        if (!TemporaryDirectory.isNeeded(config)) {
            return Finding.ok("native libraries", "none are unpacked (no SSD tier, no cluster)");
        }
        try {
            return Finding.ok("native libraries", "are unpacked in " + TemporaryDirectory.place(config));
        } catch (final NodeException e) {
            return Finding.fail(
                    "native libraries",
                    e.getMessage(),
                    "set node.temporary_directory to a directory that this user may write, not mounted noexec");
        }
    }

    private Finding lockedMemory() {
        final Optional<Long> limit = limit("Max locked memory");
        final String value = limit.map(bytes -> bytes == Long.MAX_VALUE ? "unlimited" : ByteSize.human(bytes))
                .orElse("unknown");
        return limit.isPresent() && limit.get() < config.dram().capacityBytes()
                ? Finding.warn(
                        "locked memory",
                        value,
                        "engines that register regions with a GPU pin them: ulimit -l unlimited, or LimitMEMLOCK=infinity")
                : Finding.ok("locked memory", value);
    }

    private Finding directIo() {
        if (config.ssd().capacityBytes() == 0) {
            return Finding.ok("direct I/O", "no SSD tier (ssd.capacity is 0)");
        }
        final Path directory = existing(config.ssd().directory());
        Path file = null;
        try {
            file = Files.createTempFile(directory, ".kvasir-doctor-", ".tmp");
            final int fd = Posix.open(file, Posix.O_WRONLY | Posix.O_DIRECT | Posix.O_CLOEXEC, 0);
            try (Arena arena = Arena.ofConfined()) {
                Posix.write(fd, arena.allocate(DIRECT_BLOCK, DIRECT_BLOCK), 0);
            } finally {
                Posix.close(fd);
            }
            return Finding.ok("direct I/O", directory + ": O_DIRECT works");
        } catch (final IOException e) {
            return Files.isWritable(directory)
                    ? Finding.warn(
                            "direct I/O",
                            directory + ": " + e.getMessage(),
                            "it works without, slower; ext4 and xfs have O_DIRECT: set ssd.directory to one of them")
                    : Finding.fail(
                            "direct I/O",
                            directory + " cannot be written: " + e.getMessage(),
                            "set ssd.directory to a directory that this user may write, or ssd.capacity to 0");
        } finally {
            delete(file);
        }
    }

    private Finding diskSpace() {
        final long needed = config.ssd().capacityBytes();
        if (needed == 0) {
            return Finding.ok("disk space", "no SSD tier (ssd.capacity is 0)");
        }
        final Path directory = config.ssd().directory();
        try {
            final long mine = bytesIn(directory);
            final long free = Files.getFileStore(existing(directory)).getUsableSpace() + mine;
            final String value =
                    directory + ": " + ByteSize.human(free) + " free, ssd.capacity " + ByteSize.human(needed);
            return free < needed + needed / 20
                    ? Finding.fail("disk space", value, "lower ssd.capacity, or set ssd.directory to a larger disk")
                    : Finding.ok("disk space", value);
        } catch (final IOException e) {
            return Finding.fail("disk space", directory + ": " + e, "set ssd.directory to a directory that exists");
        }
    }

    private Finding hugePages() {
        final Path setting = Path.of("/sys/kernel/mm/transparent_hugepage/shmem_enabled");
        final String shmem = read(setting)
                .map(text -> text.replaceAll("(?s).*\\[(.*)].*", "$1"))
                .orElse("unknown");
        final String reserved = read(MEMINFO)
                .map(text -> Pattern.compile("HugePages_Total:\\s+(\\d+)").matcher(text))
                .filter(Matcher::find)
                .map(matcher -> matcher.group(1))
                .orElse("unknown");
        return Finding.ok("huge pages", "transparent in shared memory: " + shmem + "; reserved: " + reserved);
    }

    private Finding openFiles() {
        final long limit = limit("Max open files").orElse(Long.MAX_VALUE);
        final long wanted = Math.max(MIN_OPEN_FILES, 2L * config.engine().maxConnections());
        return limit >= wanted
                ? Finding.ok("open files", limit == Long.MAX_VALUE ? "unlimited" : Long.toString(limit))
                : Finding.warn(
                        "open files",
                        Long.toString(limit),
                        "engine.max_connections is " + config.engine().maxConnections() + ": ulimit -n " + wanted
                                + ", or LimitNOFILE=" + wanted);
    }

    private Finding gpu() {
        try (Arena arena = Arena.ofConfined()) {
            final SymbolLookup library = SymbolLookup.libraryLookup("libcuda.so.1", arena);
            final Linker linker = Linker.nativeLinker();
            final FunctionDescriptor oneInt = FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.JAVA_INT);
            final FunctionDescriptor onePointer = FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.ADDRESS);
            final int started = (int)
                    linker.downcallHandle(library.findOrThrow("cuInit"), oneInt).invokeExact(0);
            if (started != 0) {
                return Finding.warn(
                        "gpu", "libcuda is here, cuInit answers " + started, "check the driver with nvidia-smi");
            }
            final MemorySegment count = arena.allocate(ValueLayout.JAVA_INT);
            final int asked = (int) linker.downcallHandle(library.findOrThrow("cuDeviceGetCount"), onePointer)
                    .invokeExact(count);
            return asked == 0
                    ? Finding.ok("gpu", count.get(ValueLayout.JAVA_INT, 0) + " CUDA device(s)")
                    : Finding.warn("gpu", "cuDeviceGetCount answers " + asked, "check the driver with nvidia-smi");
        } catch (final IllegalArgumentException e) {
            return Finding.ok("gpu", "none (no libcuda.so.1)");
        } catch (final Throwable e) {
            return Finding.warn("gpu", "libcuda cannot be asked: " + e, "check the driver with nvidia-smi");
        }
    }

    private Finding socketPath() {
        final Path socket = config.engine().socket();
        final int bytes = socket.toString().getBytes(StandardCharsets.UTF_8).length;
        final String value = socket + " (" + bytes + " of at most " + MAX_SOCKET_PATH_BYTES + " bytes)";
        final Path directory = existing(socket.toAbsolutePath().getParent());
        return Files.isWritable(directory)
                ? Finding.ok("socket path", value)
                : Finding.fail(
                        "socket path", value, "set engine.socket to a path below a directory that this user may write");
    }

    private Finding otherNode() {
        final Path socket = config.engine().socket();
        if (!Files.exists(socket)) {
            return Finding.ok("other node", "none on " + socket);
        }
        try (SocketChannel channel = SocketChannel.open(UnixDomainSocketAddress.of(socket))) {
            return channel.isConnected()
                    ? Finding.warn(
                            "other node",
                            "one answers on " + socket,
                            "stop it first, or give the next one another node.name")
                    : Finding.ok("other node", "none on " + socket);
        } catch (final IOException e) {
            return Finding.ok("other node", "none; a dead one left " + socket + ", which the next start replaces");
        }
    }

    private static Optional<Long> limit(final String name) {
        return read(LIMITS)
                .map(text -> Pattern.compile(Pattern.quote(name) + "\\s+(\\S+)").matcher(text))
                .filter(Matcher::find)
                .map(matcher ->
                        "unlimited".equals(matcher.group(1)) ? Long.MAX_VALUE : Long.parseLong(matcher.group(1)));
    }

    private static Optional<String> read(final Path file) {
        try {
            return Optional.of(Files.readString(file));
        } catch (final IOException e) {
            return Optional.empty();
        }
    }

    /** The directory itself, or the nearest one above it that is there. */
    private static Path existing(final Path directory) {
        Path at = directory.toAbsolutePath();
        while (!Files.exists(at)) {
            at = at.getParent();
        }
        return at;
    }

    private static long bytesIn(final Path directory) throws IOException {
        if (!Files.isDirectory(directory)) {
            return 0;
        }
        try (Stream<Path> files = Files.walk(directory)) {
            return files.filter(Files::isRegularFile)
                    .mapToLong(file -> file.toFile().length())
                    .sum();
        }
    }

    private static void delete(final Path file) {
        if (file != null) {
            try {
                Files.deleteIfExists(file);
            } catch (final IOException e) {
                throw new java.io.UncheckedIOException("the doctor's own file cannot be deleted: " + file, e);
            }
        }
    }
}
