package io.kvasir.storage;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.object.SlotStatus;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/**
 * How much of DRAM the size that is wanted now can use, after other sizes were stored. The clock stands while an engine
 * stores and goes on by a millisecond with each turn of the store, so that "within" is a number of turns.
 */
class SpaceTest {
    private static final int MIB = 1 << 20;
    private static final int CAPACITY = 64 * MIB;
    private static final int WANTED = 256 << 10;

    private Path directory;
    private long nowNs = 1;
    private StoreFixture fixture;

    @BeforeEach
    void open() throws IOException {
        directory = StoreFixture.arenaDirectory();
        fixture = new StoreFixture(context());
    }

    @AfterEach
    void close() throws IOException {
        fixture.close();
        StoreFixture.deleteAll(directory);
    }

    private StoreContext context() {
        return new StoreContext()
                .dramDirectory(directory.resolve("arena"))
                .dramCapacity(CAPACITY)
                .reserveQuotaBytes(CAPACITY)
                .random(new Random(1))
                .nanoClock(() -> nowNs)
                .clock(() -> TimeUnit.NANOSECONDS.toMillis(nowNs));
    }

    /** Stores an object, and lets the store work between the tries. */
    private void store(final long number, final int length) throws IOException {
        assertEquals(SlotStatus.COMMITTED, fixture.store(number, length));
        turns(4);
    }

    private void turns(final int count) {
        for (int i = 0; i < count; i++) {
            nowNs += 1_000_000;
            fixture.store.doWork();
        }
    }

    /** Stores objects of the wanted size, four times what fits; bytes of them that are there at the end. */
    private long wantedBytes() throws IOException {
        final int count = 4 * CAPACITY / WANTED;
        for (int i = 0; i < count; i++) {
            store(1_000_000 + i, WANTED);
        }
        long bytes = 0;
        for (int i = 0; i < count; i++) {
            bytes += fixture.store
                            .engines()
                            .lookup(fixture.holder, fixture.query(true, 1_000_000 + i))
                            .hitChunks()
                    * (long) WANTED;
        }
        return bytes;
    }

    @Test
    void shouldGiveAlmostAllOfDramToTheSizeThatIsWantedAfterAFewObjectsOfManySizes() throws IOException {
        for (int i = 0; i < 20; i++) {
            store(i, 4096 * (i + 1));
        }
        final long bytes = wantedBytes();
        assertTrue(bytes >= CAPACITY / 16, "only " + bytes + " of " + CAPACITY + " bytes hold the wanted size");
    }

    @Test
    void shouldKeepWhatIsInUseWhileAnotherSizeTakesTheRest() throws IOException {
        final List<Integer> hot = new ArrayList<>();
        final Random random = new Random(2);
        for (int i = 0; i < 1200; i++) {
            final int length = 4096 * (1 + random.nextInt(16));
            store(i, length);
            if (i % 100 == 0) {
                hot.add(i);
            }
        }
        for (final int number : hot) {
            assertTrue(fixture.load(number) != null, "object " + number + " before");
        }
        wantedBytes();
        assertArrayEquals(
                StoreFixture.content(1_000_000 + 4 * CAPACITY / WANTED - 1, WANTED),
                fixture.load(1_000_000 + 4 * CAPACITY / WANTED - 1));
    }
}
