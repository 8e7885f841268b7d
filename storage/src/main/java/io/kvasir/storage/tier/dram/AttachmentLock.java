package io.kvasir.storage.tier.dram;

import io.kvasir.storage.lease.LockFile;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/**
 * The file on which a process of an engine holds a POSIX record lock for as long as it has anything mapped. A free lock
 * proves that the process is dead or has unmapped everything; nothing else does.
 */
final class AttachmentLock {
    private static final String PREFIX = "attachment-";
    private static final String SUFFIX = ".lock";

    private AttachmentLock() {}

    static String fileName(final long attachment) {
        return PREFIX + String.format("%016x", attachment) + SUFFIX;
    }

    /** The attachment that a file name stands for; 0 when it is none. */
    static long parse(final String fileName) {
        if (!fileName.startsWith(PREFIX) || !fileName.endsWith(SUFFIX)) {
            return 0;
        }
        try {
            return Long.parseUnsignedLong(fileName.substring(PREFIX.length(), fileName.length() - SUFFIX.length()), 16);
        } catch (final NumberFormatException notOurs) {
            return 0;
        }
    }

    /** A file that cannot be probed for another reason than its absence counts as held: only proof frees a slot. */
    static boolean isHeld(final Path file) {
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE);
                FileLock lock = channel.tryLock()) {
            return lock == null;
        } catch (final OverlappingFileLockException heldByThisProcess) {
            return true;
        } catch (final NoSuchFileException gone) {
            return false;
        } catch (final IOException unknown) {
            return true;
        }
    }

    static void create(final Path file) throws IOException {
        LockFile.make(file);
    }
}
