package io.kvasir.storage.tier.dram;

import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;

class MemoryLockTest {
    private static final long BYTES = 1 << 20;

    private static long lockedBytes() throws IOException {
        return Files.readAllLines(Path.of("/proc/self/status")).stream()
                .filter(line -> line.startsWith("VmLck:"))
                .mapToLong(line -> 1024 * Long.parseLong(line.replaceAll("[^0-9]", "")))
                .sum();
    }

    @Test
    void locksWhatTheProcessMayLock() throws IOException {
        try (Arena arena = Arena.ofConfined()) {
            final long before = lockedBytes();
            assumeTrue(new MemoryLock().lock(arena.allocate(BYTES, 4096)), "RLIMIT_MEMLOCK is too small here");
            assertTrue(lockedBytes() - before >= BYTES, "locked " + (lockedBytes() - before));
        }
    }
}
