package io.kvasir.storage.dram;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvasir.storage.Posix;
import io.kvasir.storage.PosixException;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
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
