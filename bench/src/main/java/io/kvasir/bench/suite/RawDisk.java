package io.kvasir.bench.suite;

import io.kvasir.storage.posix.Posix;
import io.kvasir.storage.posix.PosixException;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/** The limit: a preallocated file, O_DIRECT, one call for each object, nothing else. */
final class RawDisk implements AutoCloseable {
    private final Path file;
    private final int fd;

    RawDisk(final Path file, final long bytes) throws IOException {
        this.file = file;
        this.fd = Posix.open(file, Posix.O_RDWR | Posix.O_CREAT | Posix.O_TRUNC | Posix.O_DIRECT, 0600);
        Posix.allocate(fd, 0, bytes);
        Posix.sync(fd);
    }

    /** Writes objects one behind the other by one thread, with a data sync after each batch; returns nanoseconds. */
    long write(final List<MemorySegment> payloads, final int count, final long batchBytes) throws PosixException {
        final long start = System.nanoTime();
        long position = 0;
        long unsynced = 0;
        for (int i = 0; i < count; i++) {
            final MemorySegment payload = payloads.get(i % payloads.size());
            Posix.write(fd, payload, position);
            position += payload.byteSize();
            unsynced += payload.byteSize();
            if (unsynced >= batchBytes || i == count - 1) {
                Posix.dataSync(fd);
                unsynced = 0;
            }
        }
        return System.nanoTime() - start;
    }

    /** Reads objects in the given order by so many threads; returns nanoseconds. */
    long read(final List<MemorySegment> destinations, final int[] order, final int threads)
            throws InterruptedException, ExecutionException {
        try (ExecutorService pool = Executors.newFixedThreadPool(threads)) {
            final long start = System.nanoTime();
            final List<Future<?>> parts = new ArrayList<>();
            for (int t = 0; t < threads; t++) {
                final int first = t;
                parts.add(pool.submit(() -> {
                    for (int i = first; i < order.length; i += threads) {
                        final MemorySegment destination = destinations.get(i % destinations.size());
                        Posix.read(fd, destination, order[i] * destination.byteSize());
                    }
                    return null;
                }));
            }
            for (final Future<?> part : parts) {
                part.get();
            }
            return System.nanoTime() - start;
        }
    }

    @Override
    public void close() throws IOException {
        Posix.close(fd);
        Files.deleteIfExists(file);
    }
}
