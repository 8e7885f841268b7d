package io.kvasir.storage.catalog;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.TreeMap;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import java.util.zip.CRC32C;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The catalog's file: changes, one behind the other, each with its length and checksum. Written and read by system calls
 * and never mapped: a Java thread that waits for a page of a mapped file keeps the whole JVM waiting at its next safepoint,
 * one that waits in a system call does not. Not synced: what is written survives the process, and most of it the machine.
 */
final class CatalogLog implements AutoCloseable {
    /** Takes one change that the file has. */
    @FunctionalInterface
    interface Reader {
        void change(byte kind, ByteBuffer payload);
    }

    /** Appends all that is to be in a file that is written anew. */
    @FunctionalInterface
    interface Writer {
        void appendAll(CatalogLog log) throws IOException;
    }

    private static final Logger LOG = LoggerFactory.getLogger(CatalogLog.class);
    private static final byte[] MAGIC = "kvasir catalog 1".getBytes(StandardCharsets.US_ASCII);
    static final int MOST_PAYLOAD = 128 << 10;
    /** Length and kind before the payload, checksum behind it. */
    private static final int FRAME = Integer.BYTES + 1 + Integer.BYTES;
    /** Damaged files that are kept to be looked at: the newest. */
    private static final int KEPT_DAMAGED = 2;

    private final Path file;
    private final ByteBuffer buffer =
            ByteBuffer.allocateDirect(2 * (MOST_PAYLOAD + FRAME)).order(ByteOrder.LITTLE_ENDIAN);
    private final CRC32C crc = new CRC32C();
    private FileChannel channel;
    /** Of what is written; what a failed write left behind it is written over. */
    private long end;

    private boolean damaged;

    /** Reads what the file has; begins a new one where it is none of ours. */
    CatalogLog(final Path file, final Reader reader) throws IOException {
        this.file = file;
        Files.deleteIfExists(unfinished());
        channel = FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE);
        try {
            read(reader);
        } catch (final IOException | RuntimeException failure) {
            channel.close();
            throw failure;
        }
    }

    /** Of a file that is being written anew. */
    private CatalogLog(final Path file) throws IOException {
        this.file = file;
        channel = FileChannel.open(
                file, StandardOpenOption.CREATE, StandardOpenOption.TRUNCATE_EXISTING, StandardOpenOption.WRITE);
        buffer.put(MAGIC);
    }

    private Path unfinished() {
        return file.resolveSibling(file.getFileName() + ".new");
    }

    /** True when the file had something that was never written there. Its owner writes anew what could be read. */
    boolean isDamaged() {
        return damaged;
    }

    long bytes() {
        return end + buffer.position();
    }

    private void read(final Reader reader) throws IOException {
        final long size = channel.size();
        buffer.limit(0);
        if (size < MAGIC.length) {
            damaged = size > 0;
        } else {
            fill(MAGIC.length);
            final byte[] magic = new byte[MAGIC.length];
            buffer.get(magic);
            damaged = !Arrays.equals(magic, MAGIC);
            end = MAGIC.length;
        }
        boolean more = !damaged;
        while (more) {
            more = readOne(reader, size - end);
        }
        buffer.clear();
        if (damaged) {
            moveAside();
        } else if (end == 0) {
            buffer.put(MAGIC);
        } else {
            // A kill in the middle of a write leaves a part of the last change.
            channel.truncate(end);
        }
    }

    /** False at the end of what is whole. */
    private boolean readOne(final Reader reader, final long left) throws IOException {
        if (left < FRAME) {
            return false;
        }
        fill(Integer.BYTES);
        final int length = buffer.getInt(buffer.position());
        if (length < 0 || length > MOST_PAYLOAD) {
            damaged = true;
            return false;
        }
        if (left < FRAME + length) {
            return false;
        }
        fill(FRAME + length);
        final int at = buffer.position() + Integer.BYTES;
        if (buffer.getInt(at + 1 + length) != sum(at, 1 + length)) {
            damaged = true;
            return false;
        }
        reader.change(buffer.get(at), buffer.slice(at + 1, length));
        buffer.position(buffer.position() + FRAME + length);
        end += FRAME + length;
        return true;
    }

    private int sum(final int at, final int length) {
        crc.reset();
        crc.update(buffer.slice(at, length));
        return (int) crc.getValue();
    }

    /** So many bytes that can be read from the buffer. */
    private void fill(final int bytes) throws IOException {
        if (buffer.remaining() < bytes) {
            buffer.compact();
            while (buffer.position() < bytes) {
                if (channel.read(buffer) < 0) {
                    throw new IOException(file + " became shorter while it was read");
                }
            }
            buffer.flip();
        }
    }

    void append(final byte kind, final byte[]... payload) throws IOException {
        int length = 0;
        for (final byte[] part : payload) {
            length += part.length;
        }
        if (buffer.remaining() < FRAME + length) {
            flush();
        }
        buffer.putInt(length);
        final int at = buffer.position();
        buffer.put(kind);
        for (final byte[] part : payload) {
            buffer.put(part);
        }
        buffer.putInt(sum(at, 1 + length));
    }

    /** What was appended is in the file afterwards, or, when this throws, nowhere. */
    void flush() throws IOException {
        buffer.flip();
        try {
            long at = end;
            while (buffer.hasRemaining()) {
                at += channel.write(buffer, at);
            }
            end = at;
        } finally {
            buffer.clear();
        }
    }

    /** Writes a new file and takes it in the place of this one. */
    void rewrite(final Writer writer) throws IOException {
        final Path next = unfinished();
        final CatalogLog log = new CatalogLog(next);
        boolean done = false;
        try {
            writer.appendAll(log);
            log.flush();
            Files.move(next, file, StandardCopyOption.ATOMIC_MOVE);
            done = true;
        } finally {
            if (!done) {
                log.channel.close();
                Files.deleteIfExists(next);
            }
        }
        channel.close();
        channel = log.channel;
        end = log.end;
        buffer.clear();
        damaged = false;
    }

    private void moveAside() throws IOException {
        final String prefix = file.getFileName() + ".damaged-";
        final TreeMap<Integer, Path> before = new TreeMap<>();
        try (Stream<Path> siblings = Files.list(file.toAbsolutePath().getParent())) {
            siblings.filter(sibling -> sibling.getFileName().toString().matches(Pattern.quote(prefix) + "[0-9]{1,9}"))
                    .forEach(sibling -> before.put(
                            Integer.valueOf(sibling.getFileName().toString().substring(prefix.length())), sibling));
        }
        final int number = before.isEmpty() ? 1 : before.lastKey() + 1;
        while (before.size() >= KEPT_DAMAGED) {
            Files.delete(before.pollFirstEntry().getValue());
        }
        final Path aside = file.resolveSibling(prefix + number);
        Files.move(file, aside);
        LOG.error(
                "catalog: {} is damaged at byte {}; it is kept as {}, and what is before that is used",
                file,
                end,
                aside);
    }

    @Override
    public void close() throws IOException {
        channel.close();
    }
}
