package io.kvasir.storage.lease;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/**
 * What a process says in its lock file of the copies that it runs. Copies are numbered from 1; {@code next} is the number
 * of the next one, stored before that begins, and no copy below {@code oldest} runs any more.
 *
 * @param next 0 in the file of a process that says nothing, which proves nothing
 */
record CopyMarks(long next, long oldest) {
    static final CopyMarks NONE = new CopyMarks(0, 0);

    private static final byte[] MAGIC = "KVASIRL1".getBytes(StandardCharsets.US_ASCII);
    private static final int LAYOUT_VERSION = 1;
    private static final int VERSION = 8;
    private static final int NEXT = 64;
    private static final int OLDEST = 72;
    private static final int FILE_BYTES = 128;

    /** True when no copy runs that had begun when {@code next} was this number. */
    boolean provesEndOf(final long before) {
        return before > 0 && oldest - before >= 0;
    }

    /** What the node writes into a new lock file. */
    static byte[] emptyFile() {
        final ByteBuffer bytes = ByteBuffer.allocate(FILE_BYTES).order(ByteOrder.LITTLE_ENDIAN);
        bytes.put(MAGIC).putInt(VERSION, LAYOUT_VERSION);
        return bytes.array();
    }

    /** Reads them by system calls, since a process may truncate its file. {@link #NONE} when that cannot be done. */
    static CopyMarks read(final Path lockFile) {
        final ByteBuffer bytes = ByteBuffer.allocate(OLDEST + Long.BYTES - NEXT).order(ByteOrder.LITTLE_ENDIAN);
        try (FileChannel channel = FileChannel.open(lockFile, StandardOpenOption.READ)) {
            if (channel.read(bytes, NEXT) < bytes.capacity()) {
                return NONE;
            }
            return new CopyMarks(bytes.getLong(0), bytes.getLong(OLDEST - NEXT));
        } catch (final IOException gone) {
            return NONE;
        }
    }
}
