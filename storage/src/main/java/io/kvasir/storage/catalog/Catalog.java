package io.kvasir.storage.catalog;

import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.Shard;
import io.kvasir.storage.object.StorageException;
import io.kvasir.storage.posix.DirectoryLock;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.BiConsumer;
import net.openhft.chronicle.hash.ChronicleHashClosedException;
import net.openhft.chronicle.map.ChronicleMap;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Namespaces by their readable fields, pins, and the past of objects that are gone: off-heap, and kept over restarts and
 * {@code kill -9} by a log of the changes, whose {@link #flush()} may wait for its disk: no thread calls that others wait
 * for, and one at a time. Losing it costs hit rate and readability, never bytes.
 */
public final class Catalog implements AutoCloseable {
    /** Settings; checked once when the catalog opens. */
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
                throw new StorageException("catalog: " + message);
            }
        }
    }

    private static final Logger LOG = LoggerFactory.getLogger(Catalog.class);
    private static final int MOST_FIELD_BYTES = 64 << 10;
    private static final int PIN_KEY_BYTES = 2 * Hash256.BYTES + 16;
    private static final int PIN_BYTES = 12;
    private static final int GONE_BYTES = 12;
    private static final byte NAMESPACE = 1;
    private static final byte NO_NAMESPACE = 2;
    private static final byte PIN = 3;
    private static final byte NO_PIN = 4;
    private static final byte GONE = 5;
    /** A log is written anew when it has grown to this, and to a multiple of what it had the last time. */
    private static final long COMPACT_BYTES = 64L << 20;

    private static final int COMPACT_FACTOR = 4;
    private static final long RETRY_NS = 1_000_000_000;
    /** Files of earlier versions. */
    private static final List<String> EARLIER = List.of("namespaces.map", "pins.map", "history-0.map", "history-1.map");

    private final DirectoryLock lock;
    private boolean damaged;
    private final LongAdder refused = new LongAdder();
    private final long mostNamespaces;
    private final long mostPins;
    private final long mostInHalf;
    private ChronicleMap<byte[], byte[]> namespaces;
    private ChronicleMap<byte[], byte[]> pins;
    private CatalogLog log;
    private long compactedBytes;
    /** The log lacks something that is in memory. */
    private boolean incomplete;

    private long retryNs;
    /** Two halves: one fills, and then the other is emptied and fills. */
    private ChronicleMap<Long, byte[]> filling;

    private ChronicleMap<Long, byte[]> filled;

    /** Reads its log: seconds for one of hundreds of MB. */
    public static Catalog open(final Context context) {
        context.conclude();
        return new Catalog(context);
    }

    private Catalog(final Context context) {
        lock = DirectoryLock.take(context.directory, "catalog");
        mostNamespaces = context.namespaces;
        mostPins = context.pins;
        mostInHalf = Math.max(8, context.history / 2);
        try {
            namespaces = ChronicleMap.of(byte[].class, byte[].class)
                    .name("namespaces")
                    .constantKeySizeBySample(new byte[Hash256.BYTES])
                    .averageValueSize(512)
                    .entries(mostNamespaces)
                    .maxBloatFactor(4)
                    .create();
            pins = ChronicleMap.of(byte[].class, byte[].class)
                    .name("pins")
                    .constantKeySizeBySample(new byte[PIN_KEY_BYTES])
                    .constantValueSizeBySample(new byte[PIN_BYTES])
                    .entries(mostPins)
                    .maxBloatFactor(2)
                    .create();
            filling = history();
            filled = history();
            for (final String earlier : EARLIER) {
                Files.deleteIfExists(context.directory.resolve(earlier));
            }
            log = new CatalogLog(context.directory.resolve("catalog.log"), this::replay);
            damaged = log.isDamaged();
            if (damaged) {
                log.rewrite(this::writeAll);
            }
            compactedBytes = log.bytes();
        } catch (final IOException | RuntimeException | LinkageError e) {
            closeAll(namespaces, pins, filling, filled, log);
            lock.close();
            throw new StorageException(
                    "catalog: " + context.directory + " cannot be used: " + e
                            + "; check that it is writable and has room",
                    e);
        }
    }

    private ChronicleMap<Long, byte[]> history() {
        return ChronicleMap.of(Long.class, byte[].class)
                .name("history")
                .constantValueSizeBySample(new byte[GONE_BYTES])
                .entries(mostInHalf)
                .maxBloatFactor(2)
                .create();
    }

    // ---- the log

    private void replay(final byte kind, final ByteBuffer payload) {
        switch (kind) {
            case NAMESPACE -> put(namespaces, bytes(payload, Hash256.BYTES), rest(payload), mostNamespaces);
            case NO_NAMESPACE -> namespaces.remove(rest(payload));
            case PIN -> put(pins, bytes(payload, PIN_KEY_BYTES), rest(payload), mostPins);
            case NO_PIN -> pins.remove(rest(payload));
            case GONE -> remember(payload.getLong(), rest(payload));
            default -> LOG.warn("catalog: a change of the unknown kind {} is passed over", kind);
        }
    }

    private static byte[] bytes(final ByteBuffer payload, final int count) {
        final byte[] bytes = new byte[count];
        payload.get(bytes);
        return bytes;
    }

    private static byte[] rest(final ByteBuffer payload) {
        return bytes(payload, payload.remaining());
    }

    private void append(final byte kind, final byte[]... payload) {
        try {
            log.append(kind, payload);
        } catch (final IOException failure) {
            incomplete(failure);
        }
    }

    /** Before this a change may be lost with the process. False when the disk does not take it; it is tried again later. */
    public boolean flush() {
        try {
            if (!incomplete) {
                log.flush();
                if (log.bytes() > Math.max(COMPACT_BYTES, COMPACT_FACTOR * compactedBytes)) {
                    rewrite();
                }
            } else if (System.nanoTime() - retryNs >= 0) {
                rewrite();
            }
        } catch (final IOException failure) {
            incomplete(failure);
        }
        return !incomplete;
    }

    private void rewrite() throws IOException {
        log.rewrite(this::writeAll);
        compactedBytes = log.bytes();
        incomplete = false;
    }

    /** What failed to be written is in memory: the whole is written anew when there is space again. */
    private void incomplete(final IOException failure) {
        incomplete = true;
        retryNs = System.nanoTime() + RETRY_NS;
        refuse("its log cannot be written: " + failure);
    }

    private void writeAll(final CatalogLog target) throws IOException {
        for (final Map.Entry<byte[], byte[]> each : namespaces.entrySet()) {
            target.append(NAMESPACE, each.getKey(), each.getValue());
        }
        for (final Map.Entry<byte[], byte[]> each : pins.entrySet()) {
            target.append(PIN, each.getKey(), each.getValue());
        }
        for (final ChronicleMap<Long, byte[]> half : List.of(filled, filling)) {
            for (final Map.Entry<Long, byte[]> each : half.entrySet()) {
                target.append(GONE, hashBytes(each.getKey()), each.getValue());
            }
        }
    }

    private static byte[] hashBytes(final long hash) {
        return ByteBuffer.allocate(Long.BYTES).putLong(hash).array();
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
        final boolean kept = put(namespaces, key, value, mostNamespaces);
        if (kept) {
            append(NAMESPACE, key, value);
        }
        return kept;
    }

    public Optional<NamespaceInfo> namespace(final Hash256 namespace) {
        return Optional.ofNullable(namespaces.get(namespace.toBytes())).map(Catalog::info);
    }

    public boolean forgetNamespace(final Hash256 namespace) {
        append(NO_NAMESPACE, namespace.toBytes());
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
        final boolean kept = put(pins, key(id), value, mostPins);
        if (kept) {
            append(PIN, key(id), value);
        }
        return kept;
    }

    public Optional<Pin> pinOf(final ObjectId id) {
        return Optional.ofNullable(pins.get(key(id))).map(Catalog::pin);
    }

    public boolean unpin(final ObjectId id) {
        append(NO_PIN, key(id));
        return pins.remove(key(id)) != null;
    }

    /** Forgets the pins that ended before {@code nowUnixMs}; looks at all of them. Returns how many. */
    public int expirePins(final long nowUnixMs) {
        final int before = pins.size();
        pins.entrySet().removeIf(entry -> {
            final boolean ended = pin(entry.getValue()).expiryUnixMs() <= nowUnixMs;
            if (ended) {
                append(NO_PIN, entry.getKey());
            }
            return ended;
        });
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
        return ByteBuffer.allocate(PIN_KEY_BYTES)
                .order(ByteOrder.LITTLE_ENDIAN)
                .put(id.namespace().toBytes())
                .put(id.key().toBytes())
                .putLong(id.shard().first())
                .putLong(id.shard().second())
                .array();
    }

    // ---- history

    /** Remembers an object that leaves, under {@link ObjectId#hash64()}. */
    public void gone(final long hash, final GoneObject object) {
        final byte[] value = ByteBuffer.allocate(GONE_BYTES)
                .putLong(object.lastUseUnixMs())
                .putInt(object.frequency())
                .array();
        remember(hash, value);
        append(GONE, hashBytes(hash), value);
    }

    private void remember(final long hash, final byte[] value) {
        if (filling.size() >= mostInHalf && !filling.containsKey(hash)) {
            final ChronicleMap<Long, byte[]> oldest = filled;
            oldest.clear();
            filled = filling;
            filling = oldest;
        }
        filled.remove(hash);
        filling.put(hash, value);
    }

    public Optional<GoneObject> past(final long hash) {
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

    public long remembered() {
        return filling.longSize() + filled.longSize();
    }

    // ---- life

    /** True when something in its file could not be used when it opened. */
    public boolean wasDamaged() {
        return damaged;
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
        LOG.warn("catalog: {}", reason);
        return false;
    }

    @Override
    public void close() {
        flush();
        closeAll(namespaces, pins, filling, filled, log);
        lock.close();
    }

    private static void closeAll(final AutoCloseable... maps) {
        for (final AutoCloseable map : maps) {
            try {
                if (map != null) {
                    map.close();
                }
            } catch (final Exception e) {
                LOG.warn("catalog: a part of it did not close", e);
            }
        }
    }
}
