package io.kvasir.storage.posix;

import io.kvasir.storage.object.StorageException;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/** Keeps a second node out of a directory, for as long as this one's process lives. */
public final class DirectoryLock implements AutoCloseable {
    private final FileChannel channel;

    private DirectoryLock(final FileChannel channel) {
        this.channel = channel;
    }

    /** @param owner what the messages name: the kind of tier */
    public static DirectoryLock take(final Path directory, final String owner) {
        final Path file = directory.resolve("LOCK");
        FileChannel channel = null;
        try {
            Files.createDirectories(directory);
            channel = FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
            final FileLock held = channel.tryLock();
            if (held == null) {
                channel.close();
                throw busy(directory, owner);
            }
            return new DirectoryLock(channel);
        } catch (final OverlappingFileLockException e) {
            closeQuietly(channel);
            throw busy(directory, owner);
        } catch (final IOException e) {
            closeQuietly(channel);
            throw new StorageException(
                    owner + ": " + directory + " cannot be used: " + e
                            + "; check that it exists, is writable, and its file system is not read-only",
                    e);
        }
    }

    private static StorageException busy(final Path directory, final String owner) {
        return new StorageException(
                owner + ": another node has " + directory + "; stop it, or give this node a directory of its own");
    }

    private static void closeQuietly(final FileChannel channel) {
        try {
            if (channel != null) {
                channel.close();
            }
        } catch (final IOException e) {
            throw new StorageException("a lock file cannot be closed", e);
        }
    }

    @Override
    public void close() {
        closeQuietly(channel);
    }
}
