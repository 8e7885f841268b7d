package io.kvasir.storage.tier.ssd;

import io.kvasir.storage.object.SizeClass;
import io.kvasir.storage.posix.Posix;
import io.kvasir.storage.posix.PosixException;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Tries O_DIRECT where the tier will use it. */
final class DirectIo {
    private static final Logger LOG = LoggerFactory.getLogger(DirectIo.class);

    private DirectIo() {}

    static boolean works(final Path directory) throws IOException {
        final Path probe = directory.resolve("probe.tmp");
        try (Arena arena = Arena.ofConfined()) {
            final int fd = Posix.open(probe, Posix.O_RDWR | Posix.O_CREAT | Posix.O_DIRECT, 0600);
            try {
                Posix.write(fd, arena.allocate(SizeClass.PAGE, SizeClass.PAGE), 0);
                return true;
            } finally {
                Posix.close(fd);
            }
        } catch (final PosixException e) {
            if (e.isNoSpace()) {
                return true;
            }
            LOG.warn("ssd {}: no O_DIRECT here ({}); buffered I/O is slower", directory, e.getMessage());
            return false;
        } finally {
            Files.deleteIfExists(probe);
        }
    }
}
