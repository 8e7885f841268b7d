package io.kvasir.storage;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.object.SlotStatus;
import io.kvasir.storage.policy.LruPolicy;
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
                .policy(LruPolicy::new)
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

    /**
     * Stores objects of the wanted size, four times what fits, while an engine goes on using others; bytes of the wanted
     * size that are there at the end.
     */
    private long wantedBytes(final List<Integer> used) throws IOException {
        final int count = 4 * CAPACITY / WANTED;
        for (int i = 0; i < count; i++) {
            store(1_000_000 + i, WANTED);
            if (i % 64 == 0) {
                for (final int number : used) {
                    assertTrue(fixture.load(number) != null, "object " + number + " is used all the time");
                }
            }
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
        final long bytes = wantedBytes(List.of());
        assertTrue(bytes >= CAPACITY / 10 * 9, "only " + bytes + " of " + CAPACITY + " bytes hold the wanted size");
    }

    @Test
    void shouldKeepWhatIsInUseWhileAnotherSizeTakesTheRest() throws IOException {
        final List<Integer> hot = new ArrayList<>();
        final List<Integer> lengths = new ArrayList<>();
        final Random random = new Random(2);
        for (int i = 0; i < 1200; i++) {
            final int length = 4096 * (1 + random.nextInt(16));
            store(i, length);
            lengths.add(length);
            if (i % 100 == 0) {
                hot.add(i);
            }
        }
        for (final int number : hot) {
            assertTrue(fixture.load(number) != null, "object " + number + " before");
        }
        final long bytes = wantedBytes(hot);
        assertTrue(bytes >= CAPACITY / 20 * 17, "only " + bytes + " of " + CAPACITY + " bytes hold the wanted size");
        for (final int number : hot) {
            assertArrayEquals(StoreFixture.content(number, lengths.get(number)), fixture.load(number));
        }
        assertTrue(fixture.store.admin().counters().moved.sum() > 0, "what is used was moved");
    }
}
