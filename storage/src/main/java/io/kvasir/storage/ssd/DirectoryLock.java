package io.kvasir.storage.ssd;

import io.kvasir.storage.StorageException;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/** Keeps a second node out of a directory, for as long as this one's process lives. */
final class DirectoryLock implements AutoCloseable {
    private final FileChannel channel;

    private DirectoryLock(final FileChannel channel) {
        this.channel = channel;
    }

    static DirectoryLock take(final Path directory) {
        final Path file = directory.resolve("LOCK");
        FileChannel channel = null;
        try {
            Files.createDirectories(directory);
            channel = FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
            final FileLock held = channel.tryLock();
            if (held == null) {
                channel.close();
                throw busy(directory);
            }
            return new DirectoryLock(channel);
        } catch (final OverlappingFileLockException e) {
            closeQuietly(channel);
            throw busy(directory);
        } catch (final IOException e) {
            closeQuietly(channel);
            throw new StorageException(
                    "ssd: " + directory + " cannot be used: " + e
                            + "; check that it exists, is writable, and its file system is not read-only",
                    e);
        }
    }

    private static StorageException busy(final Path directory) {
        return new StorageException(
                "ssd: another node has " + directory + "; stop it, or give this node a directory of its own");
    }

    private static void closeQuietly(final FileChannel channel) {
        try {
            if (channel != null) {
                channel.close();
            }
        } catch (final IOException e) {
            throw new StorageException("ssd: a lock file cannot be closed", e);
        }
    }

    @Override
    public void close() {
        closeQuietly(channel);
    }
}
