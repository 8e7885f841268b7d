package io.kvasir.storage.tier.dram;

import io.kvasir.storage.object.StorageException;
import io.kvasir.storage.posix.OwnDirectory;
import io.kvasir.storage.posix.Posix;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The arena's files: {@code arena.lock} keeps a second node out; {@code spare/} holds payload files that are allocated
 * and not yet cut; {@code tenants/NAME/} holds a tenant's regions and lock files. Every payload file is allocated in full
 * before it is mapped and never truncated. Owned by {@link DramTier}; {@link RegionMaker} makes and removes
 * files elsewhere.
 */
final class ArenaFiles implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(ArenaFiles.class);
    private static final String DATA = ".data";
    private static final String HEAD = ".head";
    /** Of x86-64, and of AArch64 with small pages of 4 KiB. */
    private static final long HUGE_PAGE = 2 << 20;
    /** Between two huge pages: long enough to leave the processor, and short beside the time that a page takes. */
    private static final long PAUSE_NS = 50_000;

    private final Path root;
    private final FileChannel lockChannel;
    private final MemoryLock memoryLock = new MemoryLock();

    /** A payload file that no region uses. */
    record Spare(Path file, long bytes) {}

    ArenaFiles(final Path root) {
        this.root = root;
        try {
            OwnDirectory.make(root, "dram.directory");
            permissions(root, "rwx--x--x");
            OwnDirectory.make(root.resolve("tenants"), "dram.directory");
            permissions(root.resolve("tenants"), "rwx--x--x");
            lockChannel = lock(root.resolve("arena.lock"));
            final Path spare = root.resolve("spare");
            OwnDirectory.make(spare, "dram.directory");
            permissions(spare, "rwx------");
            for (final Path left : list(spare)) {
                Files.delete(left);
            }
        } catch (final IOException failure) {
            throw new StorageException(
                    "dram.directory " + root + " cannot be used: " + failure.getMessage()
                            + "; it must be a writable directory on a tmpfs such as /dev/shm",
                    failure);
        }
    }

    private static FileChannel lock(final Path file) throws IOException {
        final FileChannel channel =
                FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.WRITE, LinkOption.NOFOLLOW_LINKS);
        FileLock lock = null;
        try {
            // Who may read a file may hold a shared lock on it, and so keep its owner out.
            permissions(file, "rw-------");
            lock = channel.tryLock();
        } catch (final OverlappingFileLockException sameProcess) {
            LOG.debug("arena is open in this process", sameProcess);
        }
        if (lock == null) {
            channel.close();
            throw new StorageException("another node uses the arena " + file.getParent()
                    + "; stop it, or give this node a dram.directory of its own");
        }
        return channel;
    }

    long usableBytes() {
        try {
            return Files.getFileStore(root).getUsableSpace();
        } catch (final IOException failure) {
            throw new StorageException("cannot read the free space of " + root, failure);
        }
    }

    Path tenantDirectory(final String tenant) {
        return root.resolve("tenants").resolve(tenant);
    }

    void createTenant(final TenantArena tenant) throws IOException {
        OwnDirectory.make(tenant.path, "dram.directory");
        share(tenant.path, tenant.gid);
        permissions(tenant.path, "rwxr-x---");
    }

    /** Gives everything that the tenant has here to another group: an earlier node left it, or did not know the group. */
    void shareAnew(final TenantArena tenant, final int gid) throws IOException {
        for (final Path file : list(tenant.path)) {
            share(file, gid);
        }
        // Last: while it is the old group's, nobody meets a file of the old group in it.
        share(tenant.path, gid);
    }

    /** The group that an earlier node gave the tenant's directory to; -1 when there is none yet. */
    int group(final String tenant) {
        try {
            final Path directory = tenantDirectory(tenant);
            return Files.exists(directory)
                    ? (Integer) Files.getAttribute(directory, "unix:gid", LinkOption.NOFOLLOW_LINKS)
                    : -1;
        } catch (final IOException failure) {
            throw new StorageException("cannot read the group of tenant " + tenant + ": " + failure, failure);
        }
    }

    List<String> tenants() {
        return list(root.resolve("tenants")).stream()
                .filter(path -> Files.isDirectory(path, LinkOption.NOFOLLOW_LINKS))
                .map(path -> path.getFileName().toString())
                .toList();
    }

    /** Lock files of attachments that a tenant's directory still has. */
    List<Path> lockFiles(final TenantArena tenant) {
        return list(tenant.path).stream()
                .filter(path -> AttachmentLock.parse(path.getFileName().toString()) != 0)
                .toList();
    }

    void createLock(final TenantArena tenant, final long attachment) throws IOException {
        final Path file = tenant.path.resolve(AttachmentLock.fileName(attachment));
        AttachmentLock.create(file);
        share(file, tenant.gid);
        permissions(file, "rw-rw----");
    }

    /** Allocates a payload file in full; slow, so it runs on a thread of its own. */
    Spare allocateSpare(final long number, final long bytes) throws IOException {
        final Path file = root.resolve("spare").resolve(String.format("%016x", number) + DATA);
        try {
            allocatePayload(file, bytes);
        } catch (final IOException failure) {
            Files.deleteIfExists(file);
            throw failure;
        }
        return new Spare(file, bytes);
    }

    /**
     * On huge pages where the kernel gives them: every process that maps such a file does so at once, instead of page by
     * page. The kernel does not leave a processor while it clears a huge page, which takes milliseconds where a virtual
     * machine touches memory for the first time: so each page is a call of its own, with a pause in which other threads run.
     */
    private static void allocatePayload(final Path file, final long bytes) throws IOException {
        final int fd = Posix.open(file, Posix.O_RDWR | Posix.O_CREAT | Posix.O_EXCL, 0600);
        try (Arena memory = Arena.ofConfined()) {
            Posix.truncate(fd, bytes);
            final MemorySegment zero = memory.allocate(1);
            MemorySegment mapped = bytes < HUGE_PAGE ? null : mapped(fd, bytes, memory);
            for (long offset = 0; offset < bytes; offset += HUGE_PAGE) {
                final long length = Math.min(HUGE_PAGE, bytes - offset);
                if (mapped != null && length == HUGE_PAGE && !makeHuge(fd, mapped, offset, zero)) {
                    mapped = null;
                }
                // What did not become huge is there in small pages after this.
                Posix.allocate(fd, offset, length);
                LockSupport.parkNanos(PAUSE_NS);
            }
        } finally {
            Posix.close(fd);
        }
    }

    /** Null where it cannot be mapped. */
    private static MemorySegment mapped(final int fd, final long bytes, final Arena memory) {
        try {
            return Posix.map(fd, bytes, HUGE_PAGE, memory);
        } catch (final IOException none) {
            LOG.debug("no huge pages: {}", none.toString());
            return null;
        }
    }

    /** One byte lets the kernel fill the rest as it makes the page huge. False when it does not. */
    private static boolean makeHuge(
            final int fd, final MemorySegment mapped, final long offset, final MemorySegment zero) throws IOException {
        Posix.write(fd, zero, offset);
        try {
            Posix.advise(mapped.asSlice(offset, HUGE_PAGE), Posix.MADV_COLLAPSE);
            return true;
        } catch (final IOException none) {
            LOG.debug("no huge pages: {}", none.toString());
            return false;
        }
    }

    /** Cuts a payload file into slots: moves it into the tenant's directory and writes a header table of free slots. */
    Region cut(final Spare spare, final TenantArena tenant, final int id, final long slotBytes) throws IOException {
        final int slots = (int) Math.min(spare.bytes / slotBytes, Integer.MAX_VALUE);
        final Path dataFile = tenant.path.resolve(name(id) + DATA);
        final Path headerFile = tenant.path.resolve(name(id) + HEAD);
        final Path unfinished = tenant.path.resolve(name(id) + ".new");
        Files.deleteIfExists(unfinished);
        final Arena memory = sharedArena();
        RegionFile data = null;
        Region region = null;
        try {
            allocate(unfinished, HeaderTable.fileBytes(slots));
            share(unfinished, tenant.gid);
            permissions(unfinished, "rw-r-----");
            final HeaderTable headers = new HeaderTable(map(unfinished, memory));
            headers.writePreamble(new HeaderTable.Preamble(id, slots, slotBytes, spare.bytes));
            Files.move(spare.file, dataFile);
            share(dataFile, tenant.gid);
            permissions(dataFile, "rw-rw----");
            data = RegionFile.open(dataFile, spare.bytes, HUGE_PAGE, memory);
            Files.move(unfinished, headerFile);
            region = new Region(id, tenant, slotBytes, slots, dataFile, headerFile, memory, data, headers);
            for (int slot = slots - 1; slot >= 0; slot--) {
                region.putFree(slot);
            }
            return region;
        } finally {
            if (region == null) {
                if (data != null) {
                    data.close();
                }
                memory.close();
                delete(unfinished);
                delete(dataFile);
            }
        }
    }

    /** Regions that an earlier node left; what does not fit its own preamble is removed and reported as lost. */
    List<Region> adopt(final TenantArena tenant, final Runnable lost) {
        final List<Region> regions = new ArrayList<>();
        final List<Path> files = list(tenant.path);
        for (final Path headerFile : files) {
            final String fileName = headerFile.getFileName().toString();
            if (!fileName.endsWith(HEAD)) {
                continue;
            }
            final Path dataFile = tenant.path.resolve(fileName.substring(0, fileName.length() - HEAD.length()) + DATA);
            if (wasRetired(headerFile)) {
                // The node ended before it had removed the files.
                delete(headerFile);
                delete(dataFile);
                continue;
            }
            try {
                final Region region = adopt(tenant, headerFile, dataFile);
                if (region != null) {
                    regions.add(region);
                    continue;
                }
            } catch (final IOException failure) {
                LOG.warn("region {} cannot be read: {}", headerFile, failure.toString());
            }
            LOG.warn("region {} is damaged, of another layout or shorter than it says; dropped", headerFile);
            lost.run();
            delete(headerFile);
            delete(dataFile);
        }
        for (final Path file : files) {
            final String fileName = file.getFileName().toString();
            final boolean orphan = fileName.endsWith(DATA)
                    && !Files.exists(
                            tenant.path.resolve(fileName.substring(0, fileName.length() - DATA.length()) + HEAD));
            if (orphan || fileName.endsWith(".new")) {
                delete(file);
            }
        }
        return regions;
    }

    private Region adopt(final TenantArena tenant, final Path headerFile, final Path dataFile) throws IOException {
        if (!isOwnFile(headerFile)
                || !Files.exists(dataFile, LinkOption.NOFOLLOW_LINKS)
                || Files.size(headerFile) < HeaderTable.PREAMBLE) {
            return null;
        }
        final Arena memory = sharedArena();
        Region region = null;
        try {
            final HeaderTable headers = new HeaderTable(map(headerFile, memory));
            final HeaderTable.Preamble preamble = headers.readPreamble();
            if (preamble == null
                    || preamble.slots() < 1
                    || preamble.slotBytes() < 1
                    || preamble.slotBytes() > preamble.dataBytes() / preamble.slots()
                    || Files.size(headerFile) != HeaderTable.fileBytes(preamble.slots())
                    || !headerFile.getFileName().toString().equals(name(preamble.region()) + HEAD)) {
                return null;
            }
            region = new Region(
                    preamble.region(),
                    tenant,
                    preamble.slotBytes(),
                    preamble.slots(),
                    dataFile,
                    headerFile,
                    memory,
                    RegionFile.open(dataFile, preamble.dataBytes(), HUGE_PAGE, memory),
                    headers);
            return region;
        } finally {
            if (region == null) {
                memory.close();
            }
        }
    }

    private static boolean wasRetired(final Path headerFile) {
        try {
            return isOwnFile(headerFile) && isOdd(headerFile, HeaderTable.REGION_STAMP);
        } catch (final IOException unreadable) {
            LOG.debug("header file cannot be read", unreadable);
            return false;
        }
    }

    private static boolean isOdd(final Path file, final long at) throws IOException {
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ, LinkOption.NOFOLLOW_LINKS)) {
            final ByteBuffer word = ByteBuffer.allocate(Long.BYTES).order(ByteOrder.LITTLE_ENDIAN);
            return channel.read(word, at) == Long.BYTES && (word.getLong(0) & 1) != 0;
        }
    }

    private static boolean isOwnFile(final Path file) throws IOException {
        return Files.isRegularFile(file, LinkOption.NOFOLLOW_LINKS)
                && Posix.user() == (Integer) Files.getAttribute(file, "unix:uid", LinkOption.NOFOLLOW_LINKS);
    }

    /** Removes the files of a region whose header says that it is retired. */
    void remove(final Region region) {
        // In this order: a payload file without a header is nobody's at the next start.
        delete(region.headerFile);
        delete(region.dataFile);
    }

    void delete(final Path file) {
        try {
            Files.deleteIfExists(file);
        } catch (final IOException failure) {
            LOG.warn("cannot remove {}: {}", file, failure.toString());
        }
    }

    /** Releases the lock; the files stay for the next start. */
    @Override
    public void close() {
        try {
            lockChannel.close();
        } catch (final IOException failure) {
            LOG.warn("cannot release the lock of {}", root, failure);
        }
    }

    private static void allocate(final Path file, final long bytes) throws IOException {
        final int fd = Posix.open(file, Posix.O_RDWR | Posix.O_CREAT | Posix.O_EXCL, 0600);
        try {
            Posix.allocate(fd, 0, bytes);
        } finally {
            Posix.close(fd);
        }
    }

    /** Closed with the region. */
    @SuppressWarnings("MustBeClosedChecker")
    private static Arena sharedArena() {
        return Arena.ofShared();
    }

    private static String name(final int id) {
        return "region-" + String.format("%08x", id);
    }

    private MemorySegment map(final Path file, final Arena memory) throws IOException {
        try (FileChannel channel =
                FileChannel.open(file, StandardOpenOption.READ, StandardOpenOption.WRITE, LinkOption.NOFOLLOW_LINKS)) {
            final MemorySegment headers = channel.map(FileChannel.MapMode.READ_WRITE, 0, channel.size(), memory);
            memoryLock.lock(headers);
            return headers;
        }
    }

    private static void permissions(final Path path, final String mode) throws IOException {
        Files.setPosixFilePermissions(path, PosixFilePermissions.fromString(mode));
    }

    private static void share(final Path path, final int gid) throws IOException {
        if (gid >= 0) {
            Files.setAttribute(path, "unix:gid", gid);
        }
    }

    private static List<Path> list(final Path directory) {
        try (Stream<Path> paths = Files.list(directory)) {
            return paths.sorted().toList();
        } catch (final IOException failure) {
            throw new StorageException("cannot list " + directory + ": " + failure.getMessage(), failure);
        }
    }
}
