package io.kvasir.bench.suite;

import io.kvasir.storage.posix.Posix;
import io.kvasir.storage.tier.dram.Payload;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.SplittableRandom;

/** Memory as the payload of a node is: a file in shared memory, mapped, all touched; the file has no name any more. */
record SharedBytes(MemorySegment mapped, Payload payload) {
    /** Of random bytes. */
    static SharedBytes random(final Arena arena, final long bytes, final long seed) throws IOException {
        final Path file = Files.createTempFile(Path.of("/dev/shm"), "kvasir-bench", ".tmp");
        try {
            final int fd = Posix.open(file, Posix.O_RDWR, 0);
            Posix.allocate(fd, 0, bytes);
            Posix.close(fd);
            final Payload payload = Payload.ofFile(file, bytes, arena);
            final MemorySegment all = payload.forSystemCalls();
            final SplittableRandom random = new SplittableRandom(seed);
            for (long at = 0; at < bytes; at += 8) {
                all.set(ValueLayout.JAVA_LONG, at, random.nextLong());
            }
            return new SharedBytes(all, payload);
        } finally {
            Files.delete(file);
        }
    }
}
