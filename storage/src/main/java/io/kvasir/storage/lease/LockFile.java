package io.kvasir.storage.lease;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.concurrent.atomic.AtomicLong;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** A process's lock file, where it says which of its copies run ({@link CopyMarks}); on a full file system it is locked alone. */
public final class LockFile {
    private static final Logger LOG = LoggerFactory.getLogger(LockFile.class);
    /** An engine may attach as often as it likes; that there is no space is logged once in this time. */
    private static final long TOLD_AGAIN_NS = 60_000_000_000L;

    private static final AtomicLong TOLD_NS = new AtomicLong(System.nanoTime() - TOLD_AGAIN_NS);

    private LockFile() {}

    public static void make(final Path file) throws IOException {
        Files.createFile(file);
        try {
            Files.write(file, CopyMarks.emptyFile(), StandardOpenOption.WRITE);
        } catch (final IOException full) {
            final long nowNs = System.nanoTime();
            final long toldNs = TOLD_NS.get();
            if (nowNs - toldNs >= TOLD_AGAIN_NS && TOLD_NS.compareAndSet(toldNs, nowNs)) {
                LOG.warn(
                        "{} has no space for copy marks, perhaps like others: leases that expire last as long as their"
                                + " process. {}",
                        file,
                        full.getMessage());
            }
        }
    }
}
