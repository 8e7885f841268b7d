package io.kvasir.storage;

import io.kvasir.storage.lease.LeaseHolder;
import io.kvasir.storage.lookup.LookupAnswer;
import io.kvasir.storage.lookup.LookupQuery;
import io.kvasir.storage.lookup.Resolution;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.RegionInfo;
import io.kvasir.storage.object.Shard;
import io.kvasir.storage.object.ShardSet;
import io.kvasir.storage.object.SlotRecord;
import io.kvasir.storage.object.SlotStatus;
import io.kvasir.storage.tenant.Tenant;
import io.kvasir.storage.tier.Attachment;
import io.kvasir.storage.tier.ReservedSlots;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import java.util.stream.Stream;

/** A store in directories of its own, and an engine beside it that copies through the files as a real one does. */
public final class StoreFixture implements AutoCloseable {
    public static final Shard SHARD = new Shard(0, 1, 0, 1, 0, 0, 1, 0, 1);
    public static final Hash256 NAMESPACE = new Hash256(1, 2, 3, 4);
    private static final long BOUND_NS = TimeUnit.SECONDS.toNanos(30);

    public final StoreContext context;
    public final StoreAgent store;
    public final Tenant tenant;
    public final LeaseHolder holder;
    public final Attachment attachment;
    private final FileChannel lock;

    public StoreFixture(final StoreContext context) throws IOException {
        this.context = context;
        store = new StoreAgent(context);
        tenant = store.engines().openTenant("tests", -1);
        attachment = store.engines().openAttachment(tenant);
        lock = lock(attachment);
        holder = store.engines().openHolder(tenant, new ShardSet(List.of(SHARD), Map.of()));
        store.engines().joinHolder(holder, attachment);
    }

    /** A directory on the tmpfs that the tests use. */
    public static Path arenaDirectory() throws IOException {
        final Path shm = Path.of("/dev/shm");
        return Files.isWritable(shm)
                ? Files.createTempDirectory(shm, "kvasir-test-")
                : Files.createTempDirectory("kvasir-test-");
    }

    public static void deleteAll(final Path directory) throws IOException {
        if (Files.exists(directory)) {
            try (Stream<Path> paths = Files.walk(directory)) {
                for (final Path path : paths.sorted(Comparator.reverseOrder()).toList()) {
                    Files.delete(path);
                }
            }
        }
    }

    private static FileChannel lock(final Attachment attachment) throws IOException {
        final FileChannel channel = FileChannel.open(
                Path.of(attachment.tenant().directory(), attachment.lockFile()), StandardOpenOption.WRITE);
        channel.lock();
        return channel;
    }

    public static byte[] key(final long number) {
        return new Hash256(number, ~number, 7, 9).toBytes();
    }

    public static byte[] keys(final long... numbers) {
        final ByteBuffer packed = ByteBuffer.allocate(numbers.length * Hash256.BYTES);
        Arrays.stream(numbers).forEach(number -> packed.put(key(number)));
        return packed.array();
    }

    public static byte[] content(final long number, final int length) {
        final byte[] bytes = new byte[length];
        new Random(number).nextBytes(bytes);
        return bytes;
    }

    /** Does the store's work until the condition holds. */
    public void until(final String what, final BooleanSupplier condition) {
        final long end = System.nanoTime() + BOUND_NS;
        while (!condition.getAsBoolean()) {
            if (store.doWork() == 0) {
                LockSupport.parkNanos(100_000);
            }
            if (System.nanoTime() - end > 0) {
                throw new AssertionError(
                        "not within 30 s: " + what + "; " + store.admin().describe());
            }
        }
    }

    public ReservedSlots reserve(final long length, final long... numbers) {
        return reserve(attachment, length, numbers);
    }

    /** Waits for room as the node does. */
    public ReservedSlots reserve(final Attachment writer, final long length, final long... numbers) {
        final ReservedSlots[] result = {
            store.engines().reserve(writer, NAMESPACE, SHARD, keys(numbers), new long[] {length}, 0)
        };
        until("room", () -> {
            if (result[0].noRoom() > 0) {
                result[0] = store.engines()
                        .retryReserve(writer, NAMESPACE, SHARD, keys(numbers), new long[] {length}, 0, result[0]);
            }
            return result[0].noRoom() == 0;
        });
        return result[0];
    }

    /** The records of a lease, as an engine gets them; null when it has ended. */
    public static LookupAnswer resolve(final StoreAgent store, final LeaseHolder holder, final long lease) {
        final Resolution resolution = store.engines().resolve(holder, lease, new int[0]);
        if (resolution == null) {
            return null;
        }
        while (!resolution.step()) {
            // In as many steps as it takes.
        }
        return resolution.result();
    }

    public byte[] commit(final byte[] records) {
        return store.engines().commit(attachment, records, new byte[0], new byte[0], new int[0], 0, 0);
    }

    /** Stores one object of content that derives from its number; the status of its commit or of its reserve. */
    public byte store(final long number, final int length) throws IOException {
        final ReservedSlots reserved = reserve(length, number);
        final byte status = reserved.slots()[SlotRecord.STATUS];
        if (status != SlotStatus.GRANTED) {
            return status;
        }
        write(reserved.slots(), 0, content(number, length));
        return commit(reserved.slots())[0];
    }

    public LookupQuery query(final boolean peek, final long... numbers) {
        return new LookupQuery(NAMESPACE, keys(numbers), new int[0], 0, peek, false, 0, 0);
    }

    /** Looks up until nothing is pending. */
    public LookupAnswer lookup(final long... numbers) {
        final LookupAnswer[] result = {store.engines().lookup(holder, query(false, numbers))};
        until("settled", () -> {
            if (result[0].pendingChunks() > 0) {
                store.engines().release(holder, result[0].lease(), new int[0]);
                result[0] = store.engines().lookup(holder, query(false, numbers));
            }
            return result[0].pendingChunks() == 0;
        });
        return result[0];
    }

    /** The object's bytes, or null when it is a miss. */
    public byte[] load(final long number) throws IOException {
        final LookupAnswer found = lookup(number);
        if (found.hitChunks() == 0) {
            return null;
        }
        final byte[] bytes = read(found.slots(), 0);
        store.engines().release(holder, found.lease(), new int[0]);
        return bytes;
    }

    public static ByteBuffer record(final byte[] records, final int i) {
        return ByteBuffer.wrap(records, i * SlotRecord.BYTES, SlotRecord.BYTES)
                .slice()
                .order(ByteOrder.LITTLE_ENDIAN);
    }

    public void write(final byte[] records, final int i, final byte[] bytes) throws IOException {
        try (FileChannel channel = dataFile(record(records, i), StandardOpenOption.WRITE)) {
            channel.write(ByteBuffer.wrap(bytes), position(record(records, i)));
        }
    }

    public byte[] read(final byte[] records, final int i) throws IOException {
        final ByteBuffer record = record(records, i);
        final byte[] bytes = new byte[Math.toIntExact(record.getLong(SlotRecord.LENGTH))];
        try (FileChannel channel = dataFile(record, StandardOpenOption.READ)) {
            channel.read(ByteBuffer.wrap(bytes), position(record));
        }
        return stamp(records, i) == record.getLong(SlotRecord.STAMP) ? bytes : null;
    }

    /** The stamp that the header table has now for the slot that a record names. */
    public long stamp(final byte[] records, final int i) throws IOException {
        final ByteBuffer record = record(records, i);
        final RegionInfo region = store.engines().region(record.getInt(SlotRecord.REGION));
        try (FileChannel channel =
                        FileChannel.open(Path.of(tenant.directory(), region.headerFile()), StandardOpenOption.READ);
                Arena arena = Arena.ofConfined()) {
            final MemorySegment headers = channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size(), arena);
            return headers.get(java.lang.foreign.ValueLayout.JAVA_LONG, 4096 + 256L * record.getInt(SlotRecord.SLOT));
        }
    }

    private FileChannel dataFile(final ByteBuffer record, final StandardOpenOption mode) throws IOException {
        final RegionInfo region = store.engines().region(record.getInt(SlotRecord.REGION));
        return FileChannel.open(Path.of(tenant.directory(), region.dataFile()), mode);
    }

    private long position(final ByteBuffer record) {
        return store.engines().region(record.getInt(SlotRecord.REGION)).slotBytes() * record.getInt(SlotRecord.SLOT);
    }

    public List<Path> dataFiles() throws IOException {
        try (Stream<Path> files = Files.list(Path.of(tenant.directory()))) {
            return new ArrayList<>(
                    files.filter(file -> file.toString().endsWith(".data")).toList());
        }
    }

    /** The engine dies: its lock is free. */
    public void killEngine() throws IOException {
        lock.close();
    }

    /** The node dies without a word; the engine lives on. */
    public void killNode() {
        store.shutdown(TimeUnit.SECONDS.toNanos(5));
    }

    @Override
    public void close() throws IOException {
        store.close();
        lock.close();
    }
}
