package io.kvasir.storage;

import io.kvasir.storage.lease.LeaseHolder;
import io.kvasir.storage.lookup.LookupAnswer;
import io.kvasir.storage.lookup.LookupQuery;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.ShardSet;
import io.kvasir.storage.object.SlotRecord;
import io.kvasir.storage.object.SlotStatus;
import io.kvasir.storage.tier.ReservedSlots;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;

/** The DRAM tier of a whole store, with an engine that copies through the files. */
public class StoreUnderTest implements TierUnderTest {
    private static final long ROOM_NS = TimeUnit.SECONDS.toNanos(2);
    protected final long capacity;
    protected StoreFixture fixture;
    protected LeaseHolder holder;
    private final Path directory;
    private final UnaryOperator<StoreContext> settings;

    public StoreUnderTest(final long capacity, final UnaryOperator<StoreContext> settings) {
        this.capacity = capacity;
        this.settings = settings;
        try {
            directory = StoreFixture.arenaDirectory();
        } catch (final IOException failure) {
            throw new UncheckedIOException(failure);
        }
        openStore();
    }

    private void openStore() {
        try {
            fixture = new StoreFixture(settings.apply(new StoreContext()
                    .dramDirectory(directory.resolve("arena"))
                    .dramCapacity(capacity)
                    .reserveQuotaBytes(capacity)));
        } catch (final IOException failure) {
            throw new UncheckedIOException(failure);
        }
        holder = fixture.store.engines().openHolder(fixture.tenant, new ShardSet(List.of(TestObjects.SHARD), Map.of()));
    }

    @Override
    public boolean put(final ObjectId id, final MemorySegment bytes) {
        final byte[] keys = id.key().toBytes();
        final long[] lengths = {bytes.byteSize()};
        final long end = System.nanoTime() + ROOM_NS;
        while (true) {
            final ReservedSlots reserved =
                    fixture.store.engines().reserve(fixture.attachment, id.namespace(), id.shard(), keys, lengths, 0);
            switch (reserved.slots()[SlotRecord.STATUS]) {
                case SlotStatus.GRANTED -> {
                    write(reserved.slots(), bytes.toArray(ValueLayout.JAVA_BYTE));
                    return fixture.commit(reserved.slots())[0] == SlotStatus.COMMITTED;
                }
                case SlotStatus.EXISTS -> {
                    return true;
                }
                default -> {
                    if (System.nanoTime() - end > 0) {
                        return false;
                    }
                    if (fixture.store.doWork() == 0) {
                        LockSupport.parkNanos(100_000);
                    }
                }
            }
        }
    }

    private void write(final byte[] slots, final byte[] bytes) {
        try {
            fixture.write(slots, 0, bytes);
        } catch (final IOException failure) {
            throw new UncheckedIOException(failure);
        }
    }

    protected LookupAnswer lookup(final Hash256 key) {
        final LookupQuery query =
                new LookupQuery(TestObjects.NAMESPACE, key.toBytes(), new int[0], 0, false, false, 0, 0);
        final LookupAnswer[] found = {fixture.store.engines().lookup(holder, query)};
        fixture.until("settled", () -> {
            if (found[0].pendingChunks() > 0) {
                found[0] = fixture.store.engines().lookup(holder, query);
            }
            return found[0].pendingChunks() == 0;
        });
        return found[0];
    }

    @Override
    public Optional<byte[]> get(final ObjectId id) {
        final LookupAnswer found = lookup(id.key());
        if (found.hitChunks() == 0) {
            return Optional.empty();
        }
        try {
            return Optional.ofNullable(fixture.read(found.slots(), 0));
        } catch (final IOException failure) {
            throw new UncheckedIOException(failure);
        } finally {
            fixture.store.engines().release(holder, found.lease(), new int[0]);
        }
    }

    @Override
    public boolean remove(final ObjectId id) {
        return fixture.store.admin().remove(id);
    }

    @Override
    public boolean contains(final ObjectId id) {
        final LookupAnswer found = lookup(id.key());
        fixture.store.engines().release(holder, found.lease(), new int[0]);
        return found.hitChunks() == 1;
    }

    @Override
    public long objects() {
        // What is being summed and was removed meanwhile goes when the sum is done.
        fixture.until(
                "idle",
                () -> fixture.store.doWork() == 0 && fixture.store.admin().heldObjects() == 0);
        return fixture.store.admin().dramObjects();
    }

    @Override
    public long allocatedBytes() {
        try (Stream<Path> files = Files.walk(directory)) {
            return files.filter(file -> file.toString().endsWith(".data"))
                    .mapToLong(file -> file.toFile().length())
                    .sum();
        } catch (final IOException failure) {
            throw new UncheckedIOException(failure);
        }
    }

    @Override
    public long capacityBytes() {
        return capacity;
    }

    @Override
    public void reopen() {
        fixture.killNode();
        try {
            fixture.killEngine();
        } catch (final IOException failure) {
            throw new UncheckedIOException(failure);
        }
        openStore();
    }

    /** Bytes in DRAM are verified when they change hands: here, at the next start. */
    @Override
    public void damage(final ObjectId id) {
        final LookupAnswer found = lookup(id.key());
        fixture.until("summed", () -> fixture.store.admin().counters().summed.sum() > 0 && fixture.store.doWork() == 0);
        final byte[] bytes = get(id).orElseThrow();
        bytes[bytes.length / 2] ^= 1;
        write(found.slots(), bytes);
        fixture.store.engines().release(holder, found.lease(), new int[0]);
        reopen();
    }

    @Override
    public void close() {
        try {
            fixture.close();
            StoreFixture.deleteAll(directory);
        } catch (final IOException failure) {
            throw new UncheckedIOException(failure);
        }
    }
}
