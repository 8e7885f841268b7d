package io.kvasir.node.hostile;

import com.google.protobuf.ByteString;
import io.kvasir.node.engine.v1.Commit;
import io.kvasir.node.engine.v1.Region;
import io.kvasir.node.engine.v1.Request;
import io.kvasir.node.engine.v1.ReserveResult;
import io.kvasir.node.engine.v1.SlotStatus;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Map;

/** Packed slot records, and the region files that they name, by ordinary reads and writes. */
final class Slots {
    static final int RECORD_BYTES = 32;
    private static final int PREAMBLE_BYTES = 4_096;
    private static final int HEADER_BYTES = 256;
    private static final int REGION_STAMP = 64;

    private Slots() {}

    static int count(final ByteString records) {
        return records.size() / RECORD_BYTES;
    }

    static ByteBuffer record(final ByteString records, final int index) {
        return records.substring(index * RECORD_BYTES, (index + 1) * RECORD_BYTES)
                .asReadOnlyByteBuffer()
                .slice()
                .order(ByteOrder.LITTLE_ENDIAN);
    }

    static int status(final ByteString records, final int index) {
        return records.byteAt(index * RECORD_BYTES) & 0xff;
    }

    /** The records of granted slots. */
    static ByteString granted(final ReserveResult reserved) {
        ByteString granted = ByteString.EMPTY;
        for (int i = 0; reserved != null && i < count(reserved.getSlots()); i++) {
            if (status(reserved.getSlots(), i) == SlotStatus.SLOT_GRANTED_VALUE) {
                granted = granted.concat(reserved.getSlots().substring(i * RECORD_BYTES, (i + 1) * RECORD_BYTES));
            }
        }
        return granted;
    }

    /** Commits what was granted, with whatever bytes lie there. */
    static void commit(final Guest guest, final ReserveResult reserved, final long untilNs) throws IOException {
        final ByteString granted = granted(reserved);
        if (!granted.isEmpty()) {
            guest.wire.call(Request.newBuilder().setCommit(Commit.newBuilder().setSlots(granted)), untilNs);
        }
    }

    static Path dataFile(final String directory, final Region region) {
        return Path.of(directory, region.getDataFile());
    }

    static void write(
            final String directory, final Map<Integer, Region> regions, final ByteBuffer record, final byte[] bytes)
            throws IOException {
        final Region region = regions.get(record.getInt(4));
        try (FileChannel file = FileChannel.open(dataFile(directory, region), StandardOpenOption.WRITE)) {
            final ByteBuffer source = ByteBuffer.wrap(bytes);
            long at = record.getInt(8) * region.getSlotBytes();
            while (source.hasRemaining()) {
                at += file.write(source, at);
            }
        }
    }

    /** The object's bytes; null when a stamp says that they are not, or no longer, those of the record. */
    static byte[] read(final String directory, final Map<Integer, Region> regions, final ByteBuffer record)
            throws IOException {
        final Region region = regions.get(record.getInt(4));
        try (FileChannel headers =
                        FileChannel.open(Path.of(directory, region.getHeaderFile()), StandardOpenOption.READ);
                FileChannel file = FileChannel.open(dataFile(directory, region), StandardOpenOption.READ)) {
            if (isStale(headers, record)) {
                return null;
            }
            final ByteBuffer bytes = ByteBuffer.allocate((int) record.getLong(24));
            readFully(file, bytes, record.getInt(8) * region.getSlotBytes());
            return isStale(headers, record) ? null : bytes.array();
        }
    }

    private static boolean isStale(final FileChannel headers, final ByteBuffer record) throws IOException {
        final long slotStamp = readLong(headers, PREAMBLE_BYTES + (long) HEADER_BYTES * record.getInt(8));
        return (readLong(headers, REGION_STAMP) & 1) != 0 || slotStamp != record.getLong(16);
    }

    private static long readLong(final FileChannel file, final long at) throws IOException {
        final ByteBuffer bytes = ByteBuffer.allocate(Long.BYTES).order(ByteOrder.LITTLE_ENDIAN);
        readFully(file, bytes, at);
        return bytes.getLong(0);
    }

    private static void readFully(final FileChannel file, final ByteBuffer bytes, final long from) throws IOException {
        while (bytes.hasRemaining()) {
            if (file.read(bytes, from + bytes.position()) < 0) {
                throw new EOFException("a region's file ends at " + (from + bytes.position()));
            }
        }
    }
}
