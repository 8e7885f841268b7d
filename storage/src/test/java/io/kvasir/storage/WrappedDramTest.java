package io.kvasir.storage;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.SlotRecord;
import io.kvasir.storage.object.SlotStatus;
import io.kvasir.storage.tier.dram.SlotShadow;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Random;
import java.util.stream.LongStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/**
 * DRAM is stored several times over, as an engine does it, in batches and with real bytes: each hit has the bytes of its
 * own key, and each slot one owner.
 */
class WrappedDramTest {
    private static final int KIB = 1024;
    private static final int MIB = 1 << 20;
    private static final int BATCH = 64;

    private final Map<Long, Integer> lengths = new LinkedHashMap<>();
    private Path directory;
    private StoreFixture fixture;

    @BeforeEach
    void open() throws IOException {
        directory = StoreFixture.arenaDirectory();
    }

    @AfterEach
    void close() throws IOException {
        fixture.close();
        StoreFixture.deleteAll(directory);
    }

    private void start(final long capacity, final long region) throws IOException {
        fixture = new StoreFixture(new StoreContext()
                .dramDirectory(directory.resolve("arena"))
                .dramCapacity(capacity)
                .regionBytes(region)
                .reserveQuotaBytes(capacity));
    }

    /** Bytes that name their object, all along. */
    private static byte[] content(final long number, final int length) {
        final ByteBuffer bytes = ByteBuffer.allocate(length);
        while (bytes.remaining() >= Long.BYTES) {
            bytes.putLong(number);
        }
        return bytes.array();
    }

    private void storeBatch(final long first, final int count, final int length) throws IOException {
        final var reserved =
                fixture.reserve(length, LongStream.range(first, first + count).toArray());
        for (int i = 0; i < count; i++) {
            assertEquals(SlotStatus.GRANTED, reserved.slots()[i * SlotRecord.BYTES], "object " + (first + i));
            fixture.write(reserved.slots(), i, content(first + i, length));
            lengths.put(first + i, length);
        }
        for (final byte status : fixture.commit(reserved.slots())) {
            assertEquals(SlotStatus.COMMITTED, status);
        }
        fixture.store.doWork();
        SlotShadow.compare(fixture.store.dram());
    }

    /** Bytes of all objects that are hits; each of them has to be its own. */
    private long hitBytes() throws IOException {
        long hits = 0;
        for (final Map.Entry<Long, Integer> each : lengths.entrySet()) {
            final byte[] bytes = fixture.load(each.getKey());
            if (bytes != null) {
                assertArrayEquals(content(each.getKey(), each.getValue()), bytes, "object " + each.getKey());
                hits += bytes.length;
            }
        }
        return hits;
    }

    @Test
    void shouldServeEachObjectItsOwnBytesWhenOneSizeHasFilledDram() throws IOException {
        final int capacity = 64 * MIB;
        start(capacity, 16 * MIB);
        for (int store = 0; store < 80; store++) {
            storeBatch((long) store * BATCH, BATCH, 16 * KIB);
            if (store >= 60 && store % 4 == 0) {
                hitBytes();
            }
        }
        final long hits = hitBytes();
        assertTrue(hits >= capacity / 10 * 9, hits + " of " + capacity + " bytes are hits");
    }

    @Test
    void shouldServeEachObjectItsOwnBytesWhileSizesTakeTurns() throws IOException {
        start(16 * MIB, MIB);
        final Random random = new Random(3);
        for (int store = 0; store < 120; store++) {
            final int length = 4 * KIB * (1 + random.nextInt(store % 40 < 20 ? 40 : 4));
            storeBatch((long) store * BATCH, 1 + random.nextInt(Math.min(BATCH, 2 * MIB / length)), length);
            if (store % 3 == 0) {
                final long number = (long) store * BATCH;
                fixture.store
                        .admin()
                        .remove(new ObjectId(
                                StoreFixture.NAMESPACE, Hash256.read(StoreFixture.key(number), 0), StoreFixture.SHARD));
                lengths.remove(number);
            }
            if (store % 20 == 19) {
                assertTrue(hitBytes() > 0);
            }
        }
    }
}
