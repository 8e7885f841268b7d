package io.kvasir.storage.catalogue;

import io.kvasir.storage.DirectoryLock;
import io.kvasir.storage.Hash256;
import io.kvasir.storage.ObjectId;
import io.kvasir.storage.Shard;
import io.kvasir.storage.StorageException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.BiConsumer;
import net.openhft.chronicle.hash.ChronicleHashClosedException;
import net.openhft.chronicle.map.ChronicleMap;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Namespaces by their readable fields, pins, and the past of objects that are gone: off-heap, kept over restarts and
 * {@code kill -9}. Reads and writes take about a microsecond; any thread may call. Losing it costs hit rate and
 * readability, never bytes, so that a damaged file is begun anew.
 */
public final class Catalogue implements AutoCloseable {
    /** Settings; checked once when the catalogue opens. */
    public static final class Context {
        private Path directory;
        private long namespaces = 16_384;
        private long pins = 262_144;
        private long history = 1_000_000;

        public Context directory(final Path value) {
            directory = value;
            return this;
        }

        /** How many namespaces are remembered at most. */
        public Context namespaces(final long value) {
            namespaces = value;
            return this;
        }

        /** How many pins are remembered at most. */
        public Context pins(final long value) {
            pins = value;
            return this;
        }

        /** How many objects that are gone are remembered at most; the older half is forgotten at once. */
        public Context history(final long value) {
            history = value;
            return this;
        }

        private void conclude() {
            require(directory != null, "directory is not set");
            require(namespaces >= 16, "namespaces is " + namespaces + "; it must be at least 16");
            require(pins >= 16, "pins is " + pins + "; it must be at least 16");
            require(history >= 16, "history is " + history + "; it must be at least 16");
        }

        private static void require(final boolean holds, final String message) {
            if (!holds) {
                throw new StorageException("catalogue: " + message);
            }
        }
    }

    private static final Logger LOG = LoggerFactory.getLogger(Catalogue.class);
    private static final int MOST_FIELD_BYTES = 64 << 10;
    private static final int PIN_BYTES = 12;
    private static final int GONE_BYTES = 12;

    private final DirectoryLock lock;
    private final LongAdder damaged = new LongAdder();
    private final LongAdder refused = new LongAdder();
    private final long mostNamespaces;
    private final long mostPins;
    private final long mostInHalf;
    private final ChronicleMap<byte[], byte[]> namespaces;
    private final ChronicleMap<byte[], byte[]> pins;
    /** Two halves: one fills, and then the other is emptied and fills. */
    private ChronicleMap<Long, byte[]> filling;

    private ChronicleMap<Long, byte[]> filled;

    /** Takes up to seconds after a kill; see {@link #openAsync}. */
    public static Catalogue open(final Context context) {
        context.conclude();
        return new Catalogue(context);
    }

    /** Opens on a thread of its own. */
    public static CompletableFuture<Catalogue> openAsync(final Context context) {
        context.conclude();
        final CompletableFuture<Catalogue> opened = new CompletableFuture<>();
        final Thread thread = new Thread(
                () -> {
                    try {
                        opened.complete(open(context));
                    } catch (final RuntimeException | Error e) {
                        opened.completeExceptionally(e);
                    }
                },
                "kvasir-catalogue-open");
        thread.setDaemon(true);
        thread.start();
        return opened;
    }

    private Catalogue(final Context context) {
        lock = DirectoryLock.take(context.directory, "catalogue");
        mostNamespaces = context.namespaces;
        mostPins = context.pins;
        mostInHalf = Math.max(8, context.history / 2);
        ChronicleMap<byte[], byte[]> openNamespaces = null;
        ChronicleMap<byte[], byte[]> openPins = null;
        ChronicleMap<Long, byte[]> first = null;
        try {
            openNamespaces = MapFile.open(
                    ChronicleMap.of(byte[].class, byte[].class)
                            .name("namespaces")
                            .constantKeySizeBySample(new byte[Hash256.BYTES])
                            .averageValueSize(512)
                            .entries(mostNamespaces)
                            .maxBloatFactor(4),
                    context.directory.resolve("namespaces.map"),
                    damaged);
            openPins = MapFile.open(
                    ChronicleMap.of(byte[].class, byte[].class)
                            .name("pins")
                            .constantKeySizeBySample(new byte[2 * Hash256.BYTES + 16])
                            .constantValueSizeBySample(new byte[PIN_BYTES])
                            .entries(mostPins)
                            .maxBloatFactor(2),
                    context.directory.resolve("pins.map"),
                    damaged);
            first = history(context.directory.resolve("history-0.map"));
            final ChronicleMap<Long, byte[]> second = history(context.directory.resolve("history-1.map"));
            // The half that is not full is the one that was filling.
            final boolean firstFills = first.size() < mostInHalf && (second.isEmpty() || second.size() >= mostInHalf);
            filling = firstFills ? first : second;
            filled = firstFills ? second : first;
        } catch (final IOException | RuntimeException e) {
            closeAll(openNamespaces, openPins, first);
            lock.close();
            throw new StorageException(
                    "catalogue: " + context.directory + " cannot be used: " + e
                            + "; check that it is writable and has room",
                    e);
        }
        namespaces = openNamespaces;
        pins = openPins;
    }

    private ChronicleMap<Long, byte[]> history(final Path file) throws IOException {
        return MapFile.open(
                ChronicleMap.of(Long.class, byte[].class)
                        .name("history")
                        .constantValueSizeBySample(new byte[GONE_BYTES])
                        .entries(mostInHalf)
                        .maxBloatFactor(2),
                file,
                damaged);
    }

    // ---- namespaces

    /** False when there is no room for another one, or the fields are too long. */
    public boolean rememberNamespace(final Hash256 namespace, final NamespaceInfo info) {
        final byte[] tenant = info.tenant().getBytes(StandardCharsets.UTF_8);
        if (info.fields().length + tenant.length > MOST_FIELD_BYTES) {
            return refuse("namespace " + namespace + " has " + info.fields().length + " bytes of fields");
        }
        final byte[] key = namespace.toBytes();
        final byte[] value = ByteBuffer.allocate(4 + tenant.length + info.fields().length)
                .putInt(tenant.length)
                .put(tenant)
                .put(info.fields())
                .array();
        return put(namespaces, key, value, mostNamespaces);
    }

    public Optional<NamespaceInfo> namespace(final Hash256 namespace) {
        return Optional.ofNullable(namespaces.get(namespace.toBytes())).map(Catalogue::info);
    }

    public boolean forgetNamespace(final Hash256 namespace) {
        return namespaces.remove(namespace.toBytes()) != null;
    }

    public void forEachNamespace(final BiConsumer<Hash256, NamespaceInfo> consumer) {
        namespaces.forEach((key, value) -> consumer.accept(Hash256.read(key, 0), info(value)));
    }

    private static NamespaceInfo info(final byte[] value) {
        final ByteBuffer buffer = ByteBuffer.wrap(value);
        final byte[] tenant = new byte[buffer.getInt()];
        buffer.get(tenant);
        final byte[] fields = new byte[buffer.remaining()];
        buffer.get(fields);
        return new NamespaceInfo(new String(tenant, StandardCharsets.UTF_8), fields);
    }

    // ---- pins

    /** False when there is no room for another one. */
    public boolean pin(final ObjectId id, final Pin pin) {
        final byte[] value = ByteBuffer.allocate(PIN_BYTES)
                .putLong(pin.expiryUnixMs())
                .putInt(pin.priority())
                .array();
        return put(pins, key(id), value, mostPins);
    }

    public Optional<Pin> pinOf(final ObjectId id) {
        return Optional.ofNullable(pins.get(key(id))).map(Catalogue::pin);
    }

    public boolean unpin(final ObjectId id) {
        return pins.remove(key(id)) != null;
    }

    /** Forgets the pins that ended before {@code nowUnixMs}; looks at all of them. Returns how many. */
    public int expirePins(final long nowUnixMs) {
        final int before = pins.size();
        pins.entrySet().removeIf(entry -> pin(entry.getValue()).expiryUnixMs() <= nowUnixMs);
        return before - pins.size();
    }

    public void forEachPin(final BiConsumer<ObjectId, Pin> consumer) {
        pins.forEach((key, value) -> consumer.accept(id(key), pin(value)));
    }

    private static ObjectId id(final byte[] key) {
        final ByteBuffer buffer = ByteBuffer.wrap(key).order(ByteOrder.LITTLE_ENDIAN);
        return new ObjectId(
                Hash256.read(key, 0),
                Hash256.read(key, Hash256.BYTES),
                Shard.of(buffer.getLong(2 * Hash256.BYTES), buffer.getLong(2 * Hash256.BYTES + Long.BYTES)));
    }

    private static Pin pin(final byte[] value) {
        final ByteBuffer buffer = ByteBuffer.wrap(value);
        return new Pin(buffer.getLong(), buffer.getInt());
    }

    private static byte[] key(final ObjectId id) {
        return ByteBuffer.allocate(2 * Hash256.BYTES + 16)
                .order(ByteOrder.LITTLE_ENDIAN)
                .put(id.namespace().toBytes())
                .put(id.key().toBytes())
                .putLong(id.shard().first())
                .putLong(id.shard().second())
                .array();
    }

    // ---- history

    /** Remembers an object that leaves, under {@link ObjectId#hash64()}. */
    public synchronized void gone(final long hash, final GoneObject object) {
        if (filling.size() >= mostInHalf && !filling.containsKey(hash)) {
            final ChronicleMap<Long, byte[]> oldest = filled;
            oldest.clear();
            filled = filling;
            filling = oldest;
        }
        final byte[] value = ByteBuffer.allocate(GONE_BYTES)
                .putLong(object.lastUseUnixMs())
                .putInt(object.frequency())
                .array();
        filled.remove(hash);
        filling.put(hash, value);
    }

    public synchronized Optional<GoneObject> past(final long hash) {
        byte[] value = filling.get(hash);
        if (value == null) {
            value = filled.get(hash);
        }
        if (value == null) {
            return Optional.empty();
        }
        final ByteBuffer buffer = ByteBuffer.wrap(value);
        return Optional.of(new GoneObject(buffer.getLong(), buffer.getInt()));
    }

    public synchronized long remembered() {
        return filling.longSize() + filled.longSize();
    }

    // ---- life

    /** Files that could not be used when the catalogue opened. */
    public long damagedFiles() {
        return damaged.sum();
    }

    /** Namespaces and pins that found no room. */
    public long refused() {
        return refused.sum();
    }

    private boolean put(final ChronicleMap<byte[], byte[]> map, final byte[] key, final byte[] value, final long most) {
        if (map.longSize() >= most && !map.containsKey(key)) {
            return refuse(map.name() + " holds its " + most + " entries");
        }
        try {
            map.put(key, value);
            return true;
        } catch (final IllegalStateException | IllegalArgumentException e) {
            if (e instanceof ChronicleHashClosedException) {
                throw e;
            }
            return refuse(map.name() + " has no room: " + e.getMessage());
        }
    }

    private boolean refuse(final String reason) {
        refused.increment();
        LOG.warn("catalogue: {}", reason);
        return false;
    }

    @Override
    public synchronized void close() {
        closeAll(namespaces, pins, filling, filled);
        lock.close();
    }

    private static void closeAll(final AutoCloseable... maps) {
        for (final AutoCloseable map : maps) {
            try {
                if (map != null) {
                    map.close();
                }
            } catch (final Exception e) {
                LOG.warn("catalogue: a map did not close", e);
            }
        }
    }
}
