package io.kvasir.node;

import io.kvasir.storage.posix.OwnDirectory;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.channels.ServerSocketChannel;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;

/**
 * The bound Unix domain socket of one node and the lock beside it ({@code <socket>.lock}), which shows that the node
 * lives: a socket file whose lock is free was left by a dead node and is replaced.
 */
final class EngineSocket implements AutoCloseable {
    /** Any user may connect; what the kernel says of it decides the tenant. */
    private static final String SOCKET_MODE = "rw-rw-rw-";

    private static final String LOCK_MODE = "rw-------";
    /** Connections that the kernel keeps until they are accepted. */
    private static final int BACKLOG = 4096;

    private final Path path;
    private final FileChannel lockFile;
    private final ServerSocketChannel channel;

    private EngineSocket(final Path path, final FileChannel lockFile, final ServerSocketChannel channel) {
        this.path = path;
        this.lockFile = lockFile;
        this.channel = channel;
    }

    /** Throws {@link NodeException} when a live node has it, or the path cannot be used. */
    static EngineSocket bind(final Path path) {
        FileChannel lockFile = null;
        try {
            final Path directory = path.toAbsolutePath().getParent();
            if (!Files.exists(directory)) {
                OwnDirectory.create(directory);
            }
            OwnDirectory.checkShared(directory, "engine.socket");
            final Path lockPath = path.resolveSibling(path.getFileName() + ".lock");
            lockFile = FileChannel.open(
                    lockPath, StandardOpenOption.CREATE, StandardOpenOption.WRITE, LinkOption.NOFOLLOW_LINKS);
            // Who may read a file may hold a shared lock on it, and so keep its owner out.
            Files.setPosixFilePermissions(lockPath, PosixFilePermissions.fromString(LOCK_MODE));
            final FileLock lock = tryLock(lockFile);
            if (lock == null) {
                throw new NodeException("another node runs on " + path + " (it holds the lock on " + lockPath
                        + "); stop it, or give this one another engine.socket");
            }
            Files.deleteIfExists(path);
            final ServerSocketChannel channel = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
            channel.bind(UnixDomainSocketAddress.of(path), BACKLOG);
            Files.setPosixFilePermissions(path, PosixFilePermissions.fromString(SOCKET_MODE));
            return new EngineSocket(path, lockFile, channel);
        } catch (final IOException e) {
            closeQuietly(lockFile);
            throw new NodeException("the engine API's socket cannot be opened at " + path + ": " + e, e);
        } catch (final NodeException e) {
            closeQuietly(lockFile);
            throw e;
        }
    }

    ServerSocketChannel channel() {
        return channel;
    }

    /** Removes the socket; the lock file stays, since another node may be about to take it. */
    @Override
    public void close() {
        try {
            channel.close();
            Files.deleteIfExists(path);
        } catch (final IOException e) {
            throw new NodeException("the engine API's socket cannot be removed: " + path, e);
        } finally {
            closeQuietly(lockFile);
        }
    }

    private static FileLock tryLock(final FileChannel file) throws IOException {
        try {
            return file.tryLock();
        } catch (final OverlappingFileLockException e) {
            return null;
        }
    }

    private static void closeQuietly(final FileChannel file) {
        try {
            if (file != null) {
                file.close();
            }
        } catch (final IOException e) {
            throw new NodeException("the lock beside the engine API's socket did not close", e);
        }
    }
}
