package io.kvasir.storage.tier.ssd;

import static io.kvasir.storage.tier.ssd.SlotHeader.INT;

import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.Shard;
import io.kvasir.storage.object.SizeClass;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import org.rocksdb.RocksDBException;

/**
 * Makes the directory of an SSD tier with as many objects as are asked for, without their bytes: places in RocksDB that
 * name slots of sparse extents. A node that starts on it finds all of them; a load of one finds a wrong checksum.
 *
 * <p>An object's key is its number, 8 bytes big-endian, and 24 zeros; every {@link #CHAIN} of them form a chain.
 */
public final class SparseDirectory {
    static final int CHAIN = 512;
    private static final long OBJECT_BYTES = SizeClass.PAGE;
    private static final int CUT = 1;
    private static final Shard SHARD = new Shard(0, 1, 0, 1, 0, 0, 1, 0, 1);
    private static final int BATCH = 100_000;
    private static final long SMALL_EXTENT = 64L << 20;
    private static final long LARGE_EXTENT = 1L << 30;
    /** From so many objects on the extents are large, so that there are few files. */
    private static final long MANY = 1_000_000;

    private SparseDirectory() {}

    /** Arguments: the directory, which must be empty or absent, how many objects, and the namespace in hexadecimal. */
    public static void main(final String[] args) throws IOException, RocksDBException {
        if (args.length != 3) {
            throw new IllegalArgumentException("arguments are DIRECTORY OBJECTS NAMESPACE; seen: " + args.length);
        }
        final long begin = System.nanoTime();
        final long objects = Long.parseLong(args[1]);
        final long extentBytes = objects < MANY ? SMALL_EXTENT : LARGE_EXTENT;
        final Hash256 namespace = Hash256.read(HexFormat.of().parseHex(args[2]), 0);
        final long bytes = make(Path.of(args[0]), objects, extentBytes, namespace);
        System.out.printf(
                "{\"capacity\": %d, \"extent\": %d, \"seconds\": %.1f}%n",
                bytes, extentBytes, (System.nanoTime() - begin) / 1e9);
    }

    /** Returns the bytes of all extents, which the tier's capacity must allow. */
    static long make(final Path directory, final long objects, final long extentBytes, final Hash256 namespace)
            throws IOException, RocksDBException {
        final Path extents = Files.createDirectories(directory.resolve("extents"));
        final long fileBytes = Extent.fileBytes(OBJECT_BYTES, extentBytes);
        final int slots = Extent.slotCount(fileBytes, OBJECT_BYTES);
        final int files = Math.toIntExact((objects + slots - 1) / slots);
        for (int id = 1; id <= files; id++) {
            makeExtent(extents, id, fileBytes);
        }
        try (PlaceStore places = new PlaceStore(directory.resolve("places"))) {
            for (long first = 0; first < objects; first += BATCH) {
                try (PlaceStore.Batch batch = places.batch()) {
                    for (long object = first; object < Math.min(objects, first + BATCH); object++) {
                        put(batch, namespace, object, (int) (object / slots) + 1, (int) (object % slots));
                    }
                    batch.commit();
                }
            }
            places.markComplete();
        }
        return files * fileBytes;
    }

    private static void makeExtent(final Path extents, final int id, final long fileBytes) throws IOException {
        final Path path = extents.resolve("%08d.extent".formatted(id));
        if (Files.exists(path)) {
            throw new IOException(path + " is there already; name a directory that is empty");
        }
        try (RandomAccessFile file = new RandomAccessFile(path.toFile(), "rw")) {
            file.setLength(fileBytes);
        }
        final Extent extent = Extent.open(path, false);
        try {
            extent.shape(OBJECT_BYTES, CUT);
            extent.writeSuperblock();
        } finally {
            extent.close();
        }
    }

    private static void put(
            final PlaceStore.Batch batch, final Hash256 namespace, final long object, final int extent, final int slot)
            throws RocksDBException {
        final int inChain = (int) (object % CHAIN);
        final byte[] body = new byte[SlotHeader.BODY_BYTES];
        final MemorySegment segment = MemorySegment.ofArray(body);
        SlotHeader.writeId(segment, 0, new ObjectId(namespace, key(object), SHARD));
        SlotHeader.writeObject(
                segment,
                0,
                new StoredObject(OBJECT_BYTES, 0, 0, inChain == 0 ? Hash256.ZERO : key(object - 1), inChain, 0, 0),
                object + 1);
        final byte[] id = new byte[SlotHeader.ID_BYTES];
        System.arraycopy(body, 0, id, 0, id.length);
        final byte[] value = new byte[PlaceStore.VALUE_BYTES];
        final MemorySegment place = MemorySegment.ofArray(value);
        place.set(INT, 0, extent);
        place.set(INT, 4, slot);
        place.set(INT, 8, CUT);
        place.set(INT, 12, (int) (OBJECT_BYTES / SizeClass.PAGE));
        System.arraycopy(body, id.length, value, PlaceStore.PLACE_BYTES, body.length - id.length);
        batch.put(id, value, OBJECT_BYTES);
    }

    private static Hash256 key(final long object) {
        return new Hash256(Long.reverseBytes(object), 0, 0, 0);
    }
}
