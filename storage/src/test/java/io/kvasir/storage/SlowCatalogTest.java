package io.kvasir.storage;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.catalog.Remembered;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.SlotStatus;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The catalog's disk does nothing for as long as a test likes, and the store's owner goes on. */
class SlowCatalogTest {
    private static final int LENGTH = 4096;
    private static final long HOUR_NS = 3_600_000_000_000L;

    private final CountDownLatch disk = new CountDownLatch(1);
    private Path arena;
    private Path directory;
    private StoreFixture fixture;

    @BeforeEach
    void open() throws IOException {
        arena = StoreFixture.arenaDirectory();
        directory = Files.createTempDirectory("kvasir-test-catalog-");
        fixture = new StoreFixture(context().workers(this::worker));
    }

    private ExecutorService worker(final String name) {
        final ExecutorService worker = StoreContext.thread(name);
        if (name.equals("kvasir-catalog")) {
            worker.execute(() -> {
                try {
                    disk.await();
                } catch (final InterruptedException stopped) {
                    Thread.currentThread().interrupt();
                }
            });
        }
        return worker;
    }

    @AfterEach
    void close() throws IOException {
        disk.countDown();
        fixture.close();
        StoreFixture.deleteAll(arena);
        StoreFixture.deleteAll(directory);
    }

    private StoreContext context() {
        return new StoreContext()
                .dramDirectory(arena.resolve("arena"))
                .dramCapacity(1 << 20)
                .regionBytes(1 << 16)
                .catalogDirectory(directory.resolve("catalog"));
    }

    private int pin(final long number) {
        return fixture.store
                .engines()
                .pin(fixture.holder, StoreFixture.NAMESPACE, StoreFixture.key(number), HOUR_NS, 0);
    }

    @Test
    void shouldNotTouchTheDiskOnTheOwnersThread() throws IOException {
        assertTrue(fixture.store.engines().rememberNamespace(StoreFixture.NAMESPACE, "tests", new byte[100]));
        assertEquals(fixture.tenant, fixture.store.peers().tenantOf(StoreFixture.NAMESPACE));
        for (long number = 0; number < 1000; number++) {
            assertEquals(SlotStatus.COMMITTED, fixture.store(number, LENGTH));
        }
        assertTrue(fixture.store.admin().counters().evictedUndemoted.sum() > 0);
        assertEquals(1, pin(999));
        assertFalse(Files.exists(directory.resolve("catalog")));
    }

    @Test
    void shouldSayWhenAPinIsKept() throws IOException {
        fixture.store(1, LENGTH);
        assertEquals(1, pin(1));
        final boolean[] kept = {false};
        assertTrue(fixture.store.engines().whenPinsAreKept(() -> kept[0] = true));
        fixture.store.doWork();
        assertFalse(kept[0]);
        disk.countDown();
        fixture.until("kept", () -> kept[0]);
        assertFalse(fixture.store.engines().whenPinsAreKept(() -> {}));
        fixture.killNode();
        fixture.killEngine();
        fixture = new StoreFixture(context());
        fixture.until(
                "the pin is back",
                () -> fixture.store.engines().unpin(fixture.holder, StoreFixture.NAMESPACE, StoreFixture.key(1)) == 1);
    }

    @Test
    void shouldPinNoMoreThanItsQueueHolds() throws IOException {
        fixture.store(1, LENGTH);
        for (int i = 0; i < Remembered.MOST_CHANGES; i++) {
            assertEquals(1, pin(1));
        }
        assertEquals(0, pin(1));
        disk.countDown();
        fixture.until("space", () -> pin(1) == 1);
    }

    @Test
    void shouldRefuseNamespacesBeyondItsQueue() {
        int taken = 0;
        while (fixture.store.engines().rememberNamespace(new Hash256(taken, 5, 5, 5), "tests", new byte[64 << 10])) {
            taken++;
        }
        assertEquals(Remembered.MOST_FIELD_BYTES / (64 << 10), taken);
        assertTrue(fixture.store.engines().rememberNamespace(new Hash256(0, 5, 5, 5), "tests", new byte[64 << 10]));
    }

    @Test
    void shouldDropTheOldestOfItsHistory() throws IOException {
        for (long number = 0; number < Remembered.MOST_GONE + 2000; number++) {
            assertEquals(SlotStatus.COMMITTED, fixture.store(number, LENGTH));
        }
        final long evicted = fixture.store.admin().counters().evictedUndemoted.sum();
        assertEquals(
                evicted - Remembered.MOST_GONE,
                fixture.store.admin().counters().historyDropped.sum());
    }
}
