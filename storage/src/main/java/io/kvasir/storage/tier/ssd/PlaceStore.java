package io.kvasir.storage.tier.ssd;

import static io.kvasir.storage.tier.ssd.SlotHeader.INT;
import static io.kvasir.storage.tier.ssd.SlotHeader.LONG;

import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.SizeClass;
import io.kvasir.storage.object.StorageException;
import io.kvasir.storage.posix.Posix;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.rocksdb.BlockBasedTableConfig;
import org.rocksdb.CompressionType;
import org.rocksdb.InfoLogLevel;
import org.rocksdb.LRUCache;
import org.rocksdb.LiveFileMetaData;
import org.rocksdb.NativeLibraryLoader;
import org.rocksdb.Options;
import org.rocksdb.ReadOptions;
import org.rocksdb.RocksDB;
import org.rocksdb.RocksDBException;
import org.rocksdb.RocksIterator;
import org.rocksdb.Slice;
import org.rocksdb.WALRecoveryMode;
import org.rocksdb.WriteBatch;
import org.rocksdb.WriteOptions;

/**
 * The places in RocksDB: an object's id to its extent, slot and description, and the accounting, which changes in the
 * same batch. The committer alone writes; recovery reads all of it once.
 */
final class PlaceStore implements AutoCloseable {
    /** Extent, slot, cut, slot pages; then the body behind the id. */
    static final int PLACE_BYTES = 16;

    static final int VALUE_BYTES = PLACE_BYTES + SlotHeader.BODY_BYTES - SlotHeader.ID_BYTES;
    private static final byte[] FORMAT_KEY = "format".getBytes(StandardCharsets.US_ASCII);
    private static final byte[] FORMAT = "kvasir-ssd 1".getBytes(StandardCharsets.US_ASCII);
    private static final byte[] ACCOUNTING_KEY = "accounting".getBytes(StandardCharsets.US_ASCII);

    @FunctionalInterface
    interface Visitor {
        /**
         * @param id {@link SlotHeader#ID_BYTES}, valid during the call
         * @param value valid during the call; its first {@code bytes} bytes
         */
        void place(MemorySegment id, MemorySegment value, int bytes);
    }

    /**
     * A part of all places, in the order of their ids.
     *
     * @param from the first id; null: from the beginning
     * @param to the first id that is no longer part of it; null: to the end
     */
    record Range(byte[] from, byte[] to) {}

    /** What changes in one step. */
    final class Batch implements AutoCloseable {
        private final WriteBatch changes = new WriteBatch();
        private long objectsAfter = objects;
        private long bytesAfter = bytes;

        void put(final byte[] id, final byte[] value, final long payload) throws RocksDBException {
            changes.put(id, value);
            objectsAfter++;
            bytesAfter += payload;
        }

        void delete(final byte[] id, final long payload) throws RocksDBException {
            changes.delete(id);
            objectsAfter--;
            bytesAfter -= payload;
        }

        /** Durable when it returns. */
        void commit() throws RocksDBException {
            final byte[] accounting = new byte[16];
            MemorySegment.ofArray(accounting).set(LONG, 0, objectsAfter);
            MemorySegment.ofArray(accounting).set(LONG, 8, bytesAfter);
            changes.put(ACCOUNTING_KEY, accounting);
            db.write(synced, changes);
            objects = objectsAfter;
            bytes = bytesAfter;
        }

        @Override
        public void close() {
            changes.close();
        }
    }

    private final LRUCache cache;
    private final Options options;
    private final WriteOptions synced;
    private final Path directory;
    private RocksDB db;
    private long objects;
    private long bytes;

    /** Unpacks it where this process may run code, under a name of its own there, once. */
    private static void loadLibrary() {
        final String own = System.getProperty(Posix.LIBRARIES);
        if (own != null) {
            try {
                NativeLibraryLoader.getInstance().loadLibrary(own);
            } catch (final IOException e) {
                throw new StorageException("SSD tier: RocksDB's library cannot be unpacked in " + own + ": " + e, e);
            }
        }
        RocksDB.loadLibrary();
    }

    PlaceStore(final Path directory) throws RocksDBException {
        loadLibrary();
        this.directory = directory;
        this.cache = new LRUCache(1 << 20);
        this.synced = new WriteOptions().setSync(true);
        this.options = new Options()
                .setCreateIfMissing(true)
                .setParanoidChecks(true)
                // A torn end is what a kill leaves; anything else wrong in the log must be seen, to rebuild.
                .setWalRecoveryMode(WALRecoveryMode.TolerateCorruptedTailRecords)
                .setWriteBufferSize(4 << 20)
                .setMaxWriteBufferNumber(2)
                .setMaxTotalWalSize(16 << 20)
                .setMaxOpenFiles(64)
                .setMaxBackgroundJobs(2)
                .setCompressionType(CompressionType.NO_COMPRESSION)
                .setInfoLogLevel(InfoLogLevel.ERROR_LEVEL)
                .setKeepLogFileNum(2)
                .setMaxLogFileSize(1 << 20)
                .setStatsDumpPeriodSec(0)
                .setTableFormatConfig(new BlockBasedTableConfig()
                        .setBlockCache(cache)
                        .setBlockSize(16 << 10)
                        .setCacheIndexAndFilterBlocks(true));
        try {
            this.db = RocksDB.open(options, directory.toString());
        } catch (final RocksDBException e) {
            closeOptions();
            throw e;
        }
    }

    /** False for a new store, and for one whose filling was cut short. */
    boolean isComplete() throws RocksDBException {
        return Arrays.equals(db.get(FORMAT_KEY), FORMAT);
    }

    void markComplete() throws RocksDBException {
        db.put(synced, FORMAT_KEY, FORMAT);
    }

    /** Ranges of about equal size that together are all places; fewer where there are few. */
    List<Range> ranges(final int most) {
        final List<LiveFileMetaData> files = new ArrayList<>(db.getLiveFilesMetaData());
        files.sort((a, b) -> Arrays.compareUnsigned(a.smallestKey(), b.smallestKey()));
        final long bytes = files.stream().mapToLong(LiveFileMetaData::size).sum();
        final List<Range> ranges = new ArrayList<>();
        byte[] from = null;
        long before = 0;
        for (final LiveFileMetaData file : files) {
            if (before > bytes * (ranges.size() + 1) / most && !Arrays.equals(from, file.smallestKey())) {
                ranges.add(new Range(from, file.smallestKey()));
                from = file.smallestKey();
            }
            before += file.size();
        }
        ranges.add(new Range(from, null));
        return ranges;
    }

    /** Every place of a range, checksums verified. Several threads may visit a range each. */
    void visit(final Range range, final Visitor visitor) throws RocksDBException {
        try (ReadOptions read = new ReadOptions().setFillCache(false).setReadaheadSize(1 << 20);
                Slice end = range.to() == null ? null : new Slice(range.to())) {
            if (end != null) {
                read.setIterateUpperBound(end);
            }
            visit(read, range.from(), visitor);
        }
    }

    private void visit(final ReadOptions read, final byte[] from, final Visitor visitor) throws RocksDBException {
        final ByteBuffer id = ByteBuffer.allocateDirect(SlotHeader.ID_BYTES);
        final ByteBuffer value = ByteBuffer.allocateDirect(VALUE_BYTES);
        final MemorySegment idBytes = MemorySegment.ofBuffer(id);
        final MemorySegment valueBytes = MemorySegment.ofBuffer(value);
        try (RocksIterator each = db.newIterator(read)) {
            if (from == null) {
                each.seekToFirst();
            } else {
                each.seek(from);
            }
            for (; each.isValid(); each.next()) {
                if (each.key(id.clear()) == SlotHeader.ID_BYTES) {
                    visitor.place(idBytes, valueBytes, each.value(value.clear()));
                }
            }
            each.status();
        }
    }

    /** True when the stored accounting says the same as what was counted; it is set to that. */
    boolean reconcile(final long countedObjects, final long countedBytes) throws RocksDBException {
        final byte[] stored = db.get(ACCOUNTING_KEY);
        objects = countedObjects;
        bytes = countedBytes;
        if (stored == null || stored.length != 16) {
            return countedObjects == 0;
        }
        return MemorySegment.ofArray(stored).get(LONG, 0) == countedObjects
                && MemorySegment.ofArray(stored).get(LONG, 8) == countedBytes;
    }

    Batch batch() {
        return new Batch();
    }

    /** After a failed write RocksDB refuses all others until it is opened again. */
    void reopen() throws RocksDBException {
        db.close();
        db = RocksDB.open(options, directory.toString());
    }

    static byte[] value(final Extent extent, final int slot, final StoredObject object, final long sequence) {
        final byte[] value = new byte[VALUE_BYTES];
        final MemorySegment segment = place(value, extent, slot);
        SlotHeader.writeObject(segment, PLACE_BYTES - SlotHeader.ID_BYTES, object, sequence);
        return value;
    }

    /** @param body of a header, see {@link SlotHeader} */
    static byte[] value(final Extent extent, final int slot, final MemorySegment body) {
        final byte[] value = new byte[VALUE_BYTES];
        final MemorySegment segment = place(value, extent, slot);
        MemorySegment.copy(body, SlotHeader.ID_BYTES, segment, PLACE_BYTES, VALUE_BYTES - PLACE_BYTES);
        return value;
    }

    private static MemorySegment place(final byte[] value, final Extent extent, final int slot) {
        final MemorySegment segment = MemorySegment.ofArray(value);
        segment.set(INT, 0, extent.id);
        segment.set(INT, 4, slot);
        segment.set(INT, 8, extent.cut);
        segment.set(INT, 12, (int) (extent.slotBytes / SizeClass.PAGE));
        return segment;
    }

    static byte[] key(final ObjectId id) {
        final byte[] key = new byte[SlotHeader.ID_BYTES];
        SlotHeader.writeId(MemorySegment.ofArray(key), 0, id);
        return key;
    }

    @Override
    public void close() {
        try {
            db.closeE();
        } catch (final RocksDBException e) {
            throw new StorageException("ssd: RocksDB in " + directory + " did not close", e);
        } finally {
            closeOptions();
        }
    }

    private void closeOptions() {
        synced.close();
        options.close();
        cache.close();
    }
}
