package io.kvasir.node;

import io.kvasir.node.config.NodeConfig;
import io.kvasir.storage.posix.Posix;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.DirectoryStream;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.List;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A directory of this process's own for the native libraries that RocksDB and Chronicle Map carry in their jars, and for
 * the cluster's files: code has to be allowed to run there, which {@code /tmp} does not always offer. Removed at the end; what
 * a killed process left is removed by the next one that starts in the same place, which sees by the free lock that its owner
 * is dead. The command makes it before anything of a node is loaded.
 */
public final class TemporaryDirectory implements AutoCloseable {
    /** Libraries look there for a directory, each at its own property. */
    private static final List<String> PROPERTIES =
            List.of("java.io.tmpdir", "jffi.extract.dir", "jna.tmpdir", Posix.LIBRARIES);

    /** RocksDB's library has 16 MiB. */
    private static final long NEEDED_BYTES = 64L << 20;

    private static final String PREFIX = "kvasir-node-";
    private static final String LOCK = "LOCK";
    private static final String OWNER = "unix:uid";
    private static final int TRIES = 10;
    private static final Logger LOG = LoggerFactory.getLogger(TemporaryDirectory.class);

    private final Path path;
    private final FileChannel lock;

    /** Both null: nothing is needed. */
    private TemporaryDirectory(final Path path, final FileChannel lock) {
        this.path = path;
        this.lock = lock;
    }

    /**
     * Makes it in the first configured place that can be used, cleans up there, and tells the libraries.
     *
     * @throws NodeException when there is no such place; names each, and what is wrong with it
     */
    public static TemporaryDirectory open(final NodeConfig config) {
        if (!isNeeded(config)) {
            return new TemporaryDirectory(null, null);
        }
        final Place place = find(config);
        try {
            Files.createDirectories(place.path);
            final TemporaryDirectory made = make(place.path, config.node().name());
            clean(place.path, made.path);
            PROPERTIES.forEach(property -> System.setProperty(property, made.path.toString()));
            return made;
        } catch (final IOException e) {
            throw new NodeException(
                    "no directory for native libraries can be made in " + place.path + ": " + e
                            + "; set node.temporary_directory to another one",
                    e);
        }
    }

    /** A node without SSD and cluster loads no such library. */
    public static boolean isNeeded(final NodeConfig config) {
        return config.ssd().capacityBytes() != 0 || config.cluster().isEnabled();
    }

    /** @param trouble empty when it can be used */
    private record Place(Path path, String trouble) {}

    /**
     * Where it would be made; for the doctor.
     *
     * @throws NodeException when there is no place
     */
    public static Path place(final NodeConfig config) {
        return find(config).path;
    }

    private static Place find(final NodeConfig config) {
        final List<String> troubles = new ArrayList<>();
        for (final Path path : config.node().temporaryDirectories()) {
            final Place place = new Place(path, trouble(path));
            if (place.trouble.isEmpty()) {
                if (!troubles.isEmpty()) {
                    LOG.info("Native libraries are unpacked in {}; {}", path, String.join("; ", troubles));
                }
                return place;
            }
            troubles.add(path + " " + place.trouble);
        }
        throw new NodeException(
                "there is no place to unpack native libraries in: " + String.join("; ", troubles)
                        + ". Set node.temporary_directory to a directory that this user may write and that is not mounted noexec");
    }

    /** Looks at the directory, or the nearest one above it that is there; changes nothing that stays. */
    private static String trouble(final Path wanted) {
        Path directory = wanted.toAbsolutePath();
        while (!Files.exists(directory)) {
            directory = directory.getParent();
        }
        Path file = null;
        try {
            final long free = Files.getFileStore(directory).getUsableSpace();
            if (free < NEEDED_BYTES) {
                return "has " + (free >> 20) + " MiB free, and " + (NEEDED_BYTES >> 20) + " MiB are needed";
            }
            file = Files.createTempFile(directory, PREFIX, ".probe");
            Files.write(file, new byte[1]);
            final int fd = Posix.open(file, Posix.O_RDONLY | Posix.O_CLOEXEC, 0);
            try {
                return Posix.isExecutable(fd) ? "" : "is mounted noexec";
            } finally {
                Posix.close(fd);
            }
        } catch (final IOException | SecurityException e) {
            return "cannot be written (" + e + ")";
        } finally {
            delete(file);
        }
    }

    private static TemporaryDirectory make(final Path parent, final String name) throws IOException {
        for (int tries = 0; tries < TRIES; tries++) {
            final Path path = Files.createTempDirectory(
                    parent, PREFIX + name + "-" + ProcessHandle.current().pid() + "-");
            final FileChannel lock =
                    FileChannel.open(path.resolve(LOCK), StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
            // Another start may take it for a dead one's before the lock is held.
            if (lock.tryLock() != null && Files.exists(path.resolve(LOCK))) {
                return new TemporaryDirectory(path, lock);
            }
            lock.close();
        }
        throw new IOException("other starts removed it " + TRIES + " times");
    }

    /** Removes the directories of dead processes of this user. */
    private static void clean(final Path parent, final Path own) throws IOException {
        final Object me = Files.getAttribute(own, OWNER);
        final String mine = "-" + ProcessHandle.current().pid() + "-";
        try (DirectoryStream<Path> found = Files.newDirectoryStream(parent, PREFIX + "*")) {
            for (final Path other : found) {
                // One of this process must not even be opened: closing it would give its lock up.
                if (!other.getFileName().toString().contains(mine) && isDirectoryOf(me, other)) {
                    removeIfDead(other);
                }
            }
        }
    }

    /** False also for one that its owner, or another start, has removed meanwhile. */
    private static boolean isDirectoryOf(final Object user, final Path directory) throws IOException {
        try {
            return Files.isDirectory(directory, LinkOption.NOFOLLOW_LINKS)
                    && Files.getAttribute(directory, OWNER, LinkOption.NOFOLLOW_LINKS)
                            .equals(user);
        } catch (final NoSuchFileException removed) {
            return false;
        }
    }

    private static void removeIfDead(final Path directory) {
        try (FileChannel channel =
                FileChannel.open(directory.resolve(LOCK), StandardOpenOption.WRITE, LinkOption.NOFOLLOW_LINKS)) {
            if (channel.tryLock() != null) {
                remove(directory);
                LOG.info("Removed {}, which a node that was killed left", directory);
            }
        } catch (final NoSuchFileException beingMade) {
            LOG.debug("{} is being made or removed", directory);
        } catch (final IOException | OverlappingFileLockException e) {
            LOG.warn("{} cannot be removed: {}", directory, e.toString());
        }
    }

    private static void remove(final Path directory) throws IOException {
        Files.walkFileTree(directory, new SimpleFileVisitor<>() {
            @Override
            public FileVisitResult visitFile(final Path file, final BasicFileAttributes attributes) throws IOException {
                Files.deleteIfExists(file);
                return FileVisitResult.CONTINUE;
            }

            @Override
            public FileVisitResult visitFileFailed(final Path file, final IOException e) throws IOException {
                if (e instanceof NoSuchFileException) {
                    return FileVisitResult.CONTINUE;
                }
                throw e;
            }

            @Override
            public FileVisitResult postVisitDirectory(final Path left, final IOException e) throws IOException {
                Files.deleteIfExists(left);
                return FileVisitResult.CONTINUE;
            }
        });
    }

    private static void delete(final Path file) {
        try {
            if (file != null) {
                Files.deleteIfExists(file);
            }
        } catch (final IOException e) {
            LOG.debug("{} cannot be removed", file, e);
        }
    }

    /** Removes it; loaded libraries stay loaded. Any thread, any number of times. */
    @Override
    public synchronized void close() {
        try {
            if (lock != null && lock.isOpen()) {
                remove(path);
                lock.close();
            }
        } catch (final IOException e) {
            LOG.warn("{} cannot be removed: {}", path, e.toString());
        }
    }
}
