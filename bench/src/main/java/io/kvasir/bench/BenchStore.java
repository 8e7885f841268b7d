package io.kvasir.bench;

import io.kvasir.storage.StoreAgent;
import io.kvasir.storage.StoreContext;
import io.kvasir.storage.lease.LeaseHolder;
import io.kvasir.storage.lookup.LookupQuery;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.Shard;
import io.kvasir.storage.object.ShardSet;
import io.kvasir.storage.object.SlotStatus;
import io.kvasir.storage.tenant.Tenant;
import io.kvasir.storage.tier.Attachment;
import io.kvasir.storage.tier.ReservedSlots;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/**
 * A store in DRAM with one engine's attachment, for benchmarks. Objects are described and never written: what is measured
 * reads no payload. Objects are numbered; their keys form chains of {@link #CHAIN}.
 */
final class BenchStore implements AutoCloseable {
    static final int CHAIN = 512;
    /** The shortest slot, so that many objects take little memory. */
    static final int OBJECT_BYTES = 4096;

    private static final Hash256 NAMESPACE = new Hash256(1, 2, 3, 4);
    private static final int[] ALL_SHARDS = {};
    private static final long BOUND_NS = 30_000_000_000L;

    final StoreAgent store;
    final LeaseHolder holder;
    private final Path directory;
    private final Attachment attachment;
    private final FileChannel lock;
    private final List<Shard> shards = new ArrayList<>();

    BenchStore(final int shardCount, final long capacity) {
        try {
            directory = Files.createTempDirectory(Path.of("/dev/shm"), "kvasir-micro-");
            store = new StoreAgent(new StoreContext()
                    .dramDirectory(directory)
                    .dramCapacity(capacity)
                    .leaseQuota(1)
                    .reserveQuotaBytes(capacity));
            final Tenant tenant = store.engines().openTenant("bench", -1);
            attachment = store.engines().openAttachment(tenant);
            lock = FileChannel.open(Path.of(tenant.directory(), attachment.lockFile()), StandardOpenOption.WRITE);
            lock.lock();
            for (int shard = 0; shard < shardCount; shard++) {
                shards.add(new Shard(0, 1, shard, shard + 1, 0, 0, 1, 0, 1));
            }
            holder = store.engines().openHolder(tenant, new ShardSet(shards, Map.of()));
            store.engines().joinHolder(holder, attachment);
        } catch (final IOException e) {
            throw new UncheckedIOException("no store in /dev/shm", e);
        }
    }

    static Hash256 key(final long object) {
        return new Hash256(object * 0x9e3779b97f4a7c15L, ~object, object, 7);
    }

    static ObjectId id(final long object) {
        return new ObjectId(NAMESPACE, key(object), new Shard(0, 1, 0, 1, 0, 0, 1, 0, 1));
    }

    /** Packed keys of {@code count} objects from {@code first} on. */
    static byte[] keys(final long first, final int count) {
        final byte[] packed = new byte[count * Hash256.BYTES];
        for (int i = 0; i < count; i++) {
            System.arraycopy(key(first + i).toBytes(), 0, packed, i * Hash256.BYTES, Hash256.BYTES);
        }
        return packed;
    }

    static LookupQuery query(final byte[] keys, final boolean peek) {
        return new LookupQuery(NAMESPACE, keys, ALL_SHARDS, 0, peek, false, 0, 0);
    }

    /** Reserves and commits one object for each key in one shard, as summed; throws when one is refused. */
    void store(final int shard, final byte[] keys, final byte[] parents) {
        final int count = keys.length / Hash256.BYTES;
        final long[] length = {OBJECT_BYTES};
        ReservedSlots reserved = store.engines().reserve(attachment, NAMESPACE, shards.get(shard), keys, length, 0);
        if (reserved.noRoom() > 0) {
            // Regions are allocated by another thread.
            final long end = System.nanoTime() + BOUND_NS;
            while (reserved.noRoom() > 0) {
                store.doWork();
                reserved = store.engines()
                        .retryReserve(attachment, NAMESPACE, shards.get(shard), keys, length, 0, reserved);
                if (System.nanoTime() - end > 0) {
                    throw new IllegalStateException(
                            "no space for objects: " + store.admin().describe());
                }
            }
        }
        final byte[] statuses =
                store.engines().commit(attachment, reserved.slots(), parents, new byte[4 * count], new int[0], 0, 0);
        for (final byte status : statuses) {
            if (status != SlotStatus.COMMITTED) {
                throw new IllegalStateException("commit answered status " + status);
            }
        }
    }

    /** Reserves slots and gives them back. */
    void reserveAndAbort(final byte[] keys) {
        final ReservedSlots reserved =
                store.engines().reserve(attachment, NAMESPACE, shards.getFirst(), keys, new long[] {OBJECT_BYTES}, 0);
        store.engines().abort(attachment, reserved.slots());
    }

    /** Stores the chains that make up objects 0 to {@code objects} - 1, in every shard. */
    void fill(final int objects) {
        for (int first = 0; first < objects; first += CHAIN) {
            final byte[] keys = keys(first, CHAIN);
            for (int shard = 0; shard < shards.size(); shard++) {
                store(shard, keys, parents(keys));
                store.doWork();
            }
        }
    }

    /** Of a chain: each key's parent is the one before it. */
    static byte[] parents(final byte[] keys) {
        final byte[] parents = new byte[keys.length];
        System.arraycopy(keys, 0, parents, Hash256.BYTES, keys.length - Hash256.BYTES);
        return parents;
    }

    @Override
    public void close() {
        try (Stream<Path> paths = Files.walk(directory)) {
            store.close();
            lock.close();
            for (final Path path : paths.sorted(Comparator.reverseOrder()).toList()) {
                Files.deleteIfExists(path);
            }
        } catch (final IOException e) {
            throw new UncheckedIOException(directory + " cannot be removed", e);
        }
    }
}
