package io.kvasir.storage.tier.dram;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvasir.storage.object.StorageException;
import io.kvasir.storage.posix.Posix;
import io.kvasir.storage.posix.PosixException;
import io.kvasir.storage.tenant.TenantAccounts;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class ArenaFilesTest {
    private static final long HUGE_PAGE = 2 << 20;

    private Path root;
    private ArenaFiles files;

    @BeforeEach
    void open() throws IOException {
        root = Files.createTempDirectory(Path.of("/dev/shm"), "kvasir-arena-");
        files = new ArenaFiles(root);
    }

    @AfterEach
    void close() throws IOException {
        files.close();
        try (var paths = Files.walk(root)) {
            for (final Path path :
                    paths.sorted(java.util.Comparator.reverseOrder()).toList()) {
                Files.delete(path);
            }
        }
    }

    @Test
    void aDirectoryThatSomebodyElseMadeIsRefused() throws IOException {
        assumeTrue(Files.getAttribute(Path.of("/proc/self"), "unix:uid").equals(0), "only root gives files away");
        final Path theirs = Files.createDirectory(root.resolve("theirs"));
        Files.setAttribute(theirs, "unix:uid", 65_534);
        refused(theirs, "of uid 65534");
    }

    @Test
    void aDirectoryThatOthersMayWriteIsRefused() throws IOException {
        final Path open = Files.createDirectory(root.resolve("open"));
        Files.setPosixFilePermissions(open, PosixFilePermissions.fromString("rwxrwxrwx"));
        refused(open, "mode 777");
    }

    @Test
    void aLinkInTheDirectorysPlaceIsRefused() throws IOException {
        final Path target = Files.createDirectory(root.resolve("target"));
        refused(Files.createSymbolicLink(root.resolve("link"), target), "a symbolic link");
        final Path arena = Files.createDirectory(root.resolve("arena"));
        Files.createSymbolicLink(arena.resolve("tenants"), target);
        refused(arena, "tenants is a symbolic link");
    }

    private static void refused(final Path directory, final String why) {
        final StorageException refused = assertThrows(StorageException.class, () -> new ArenaFiles(directory));
        assertTrue(refused.getMessage().contains(why), refused.getMessage());
        assertTrue(refused.getMessage().contains("dram.directory"), refused.getMessage());
    }

    @Test
    void whoMayNotWriteTheArenasLockMayNotHoldItEither() throws IOException {
        assertEquals(
                "rw-------", PosixFilePermissions.toString(Files.getPosixFilePermissions(root.resolve("arena.lock"))));
    }

    @Test
    void aRegionThatCannotBeFinishedLeavesNoFile() throws IOException {
        final TenantArena tenant = tenant();
        // The header table's name is taken.
        final Path taken = tenant.path.resolve("region-00000007.head");
        Files.createDirectories(taken.resolve("full"));
        final ArenaFiles.Spare spare = files.allocateSpare(1, 1 << 20);
        assertThrows(IOException.class, () -> files.cut(spare, tenant, 7, 4096));
        assertEquals(List.of(taken), list(tenant.path));
        assertEquals(List.of(), list(root.resolve("spare")));
    }

    @Test
    void whatIsNoFileOfThisNodeIsNotTakenOver() throws Exception {
        final TenantArena tenant = tenant();
        for (int id = 1; id <= 3; id++) {
            files.cut(files.allocateSpare(id, 1 << 20), tenant, id, 4096).close();
        }
        final Path file = tenant.path.resolve("region-00000001.data");
        Files.move(file, root.resolve("elsewhere"));
        Files.createSymbolicLink(file, root.resolve("elsewhere"));
        final Path fifo = tenant.path.resolve("region-00000002.data");
        Files.delete(fifo);
        assertEquals(0, new ProcessBuilder("mkfifo", fifo.toString()).start().waitFor());
        final int[] lost = {0};
        final List<Region> regions = files.adopt(tenant, () -> lost[0]++);
        assertEquals(List.of(3), regions.stream().map(region -> region.id).toList());
        assertEquals(2, lost[0]);
        regions.forEach(Region::close);
    }

    private TenantArena tenant() throws IOException {
        final TenantArena tenant = new TenantArena(
                new TenantAccounts(Map.of(), 1 << 20, 1 << 16).of("tests"), files.tenantDirectory("tests"), -1);
        files.createTenant(tenant);
        return tenant;
    }

    private static List<Path> list(final Path directory) throws IOException {
        try (var paths = Files.list(directory)) {
            return paths.sorted().toList();
        }
    }

    @Test
    void aPayloadFileIsAllocatedInFullAndZero() throws IOException {
        final long bytes = 2 * HUGE_PAGE + 3 * 4096;
        final ArenaFiles.Spare spare = files.allocateSpare(1, bytes);
        assertEquals(bytes, Files.size(spare.file()));
        assertEquals(bytes / 512, Long.parseLong(blocksOf(spare.file())));
        mapped(spare, memory -> {
            assertEquals(0, memory.address() % HUGE_PAGE);
            for (long at = 0; at < bytes; at++) {
                if (memory.get(ValueLayout.JAVA_BYTE, at) != 0) {
                    throw new AssertionError("byte " + at + " is not zero");
                }
            }
        });
    }

    @Test
    void aPayloadFileIsOnHugePagesWhereTheKernelGivesThem() throws IOException {
        assumeTrue(givesHugePages(), "this kernel makes no huge pages of shared memory");
        final ArenaFiles.Spare spare = files.allocateSpare(1, 4 * HUGE_PAGE);
        mapped(spare, memory -> {
            memory.fill((byte) 7);
            assertEquals(4 * HUGE_PAGE / 1024, hugeKibOf(memory.address()));
        });
    }

    @FunctionalInterface
    private interface Look {
        void at(MemorySegment memory) throws IOException;
    }

    private static void mapped(final ArenaFiles.Spare spare, final Look look) throws IOException {
        final int fd = Posix.open(spare.file(), Posix.O_RDWR, 0);
        try (Arena arena = Arena.ofConfined()) {
            look.at(Posix.map(fd, spare.bytes(), HUGE_PAGE, arena));
        } finally {
            Posix.close(fd);
        }
    }

    private boolean givesHugePages() throws IOException {
        final ArenaFiles.Spare spare = files.allocateSpare(9, HUGE_PAGE);
        final int fd = Posix.open(spare.file(), Posix.O_RDWR, 0);
        try (Arena arena = Arena.ofConfined()) {
            Posix.advise(Posix.map(fd, HUGE_PAGE, HUGE_PAGE, arena), Posix.MADV_COLLAPSE);
            return true;
        } catch (final PosixException none) {
            return false;
        } finally {
            Posix.close(fd);
        }
    }

    private static String blocksOf(final Path file) throws IOException {
        final Process stat = new ProcessBuilder("stat", "-c", "%b", file.toString()).start();
        return new String(stat.getInputStream().readAllBytes(), java.nio.charset.StandardCharsets.US_ASCII).strip();
    }

    private static long hugeKibOf(final long address) throws IOException {
        boolean inside = false;
        for (final String line : Files.readAllLines(Path.of("/proc/self/smaps"))) {
            if (line.matches("[0-9a-f]+-[0-9a-f]+ .*")) {
                inside = line.startsWith(Long.toHexString(address) + "-");
            } else if (inside && line.startsWith("ShmemPmdMapped:")) {
                return Long.parseLong(line.replaceAll("[^0-9]", ""));
            }
        }
        return 0;
    }
}
