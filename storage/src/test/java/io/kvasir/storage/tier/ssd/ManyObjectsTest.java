package io.kvasir.storage.tier.ssd;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.StoreFixture;
import io.kvasir.storage.TestObjects;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** A start that finds more objects than the owner takes in one go. */
class ManyObjectsTest {
    private static final int OBJECTS = 60_000;
    private static final int WAITING = 16;

    private final BlockingQueue<Runnable> completions = new LinkedBlockingQueue<>();
    private final Set<ObjectId> found = new HashSet<>();
    private final CountDownLatch warm = new CountDownLatch(1);
    private Path directory;

    @BeforeEach
    void make() throws Exception {
        directory = Files.createTempDirectory("kvasir-test-ssd-");
        Files.createDirectories(directory.resolve("extents"));
        final Extent extent = Extent.create(directory.resolve("extents"), 1, 512L << 20, false);
        extent.cut(4096);
        extent.close();
        final List<ObjectId> ids = new ArrayList<>();
        for (int i = 0; i < OBJECTS; i++) {
            ids.add(TestObjects.id(i));
        }
        // In the order of the ids, so that RocksDB's files are ranges of them.
        ids.sort((a, b) -> Arrays.compareUnsigned(PlaceStore.key(a), PlaceStore.key(b)));
        try (PlaceStore places = new PlaceStore(directory.resolve("places"))) {
            for (int first = 0; first < OBJECTS; first += OBJECTS / 10) {
                try (PlaceStore.Batch batch = places.batch()) {
                    for (final ObjectId id : ids.subList(first, first + OBJECTS / 10)) {
                        final int number = (int) id.key().d();
                        final StoredObject object = new StoredObject(4096, 0, 0, Hash256.ZERO, 0, 0, 0);
                        batch.put(PlaceStore.key(id), PlaceStore.value(extent, number, object, OBJECTS - number), 4096);
                    }
                    batch.commit();
                }
            }
            places.markComplete();
        }
    }

    @AfterEach
    void delete() throws Exception {
        StoreFixture.deleteAll(directory);
    }

    private SsdTier open() {
        return SsdTier.open(new SsdTier.Context()
                .directory(directory)
                .capacityBytes(1L << 30)
                .completions(completions::add)
                .listener(new SsdListener() {
                    @Override
                    public void recovered(final List<Found> objects) {
                        objects.forEach(object -> assertTrue(found.add(object.id()), "told twice"));
                        assertFalse(warm.getCount() == 0, "told after all were");
                    }

                    @Override
                    public void warm() {
                        warm.countDown();
                    }
                }));
    }

    @Test
    void shouldReadEachPlaceOnceInRanges() throws Exception {
        try (PlaceStore places = new PlaceStore(directory.resolve("places"))) {
            final Set<String> ids = new HashSet<>();
            final List<PlaceStore.Range> ranges = places.ranges(4);
            assertTrue(ranges.size() > 1, "all places are one range");
            for (final PlaceStore.Range range : ranges) {
                places.visit(range, (id, value, bytes) -> {
                    assertEquals(PlaceStore.VALUE_BYTES, bytes);
                    assertTrue(ids.add(SlotHeader.readId(id, 0).toString()), "in two ranges");
                });
            }
            assertEquals(OBJECTS, ids.size());
        }
    }

    @Test
    void shouldTellNoMoreThanTheOwnerTakes() throws Exception {
        try (SsdTier tier = open()) {
            while (warm.getCount() > 0) {
                final Runnable next = completions.poll(30, TimeUnit.SECONDS);
                assertTrue(next != null, "nothing more is told");
                assertTrue(completions.size() <= WAITING, "what waits is bounded");
                next.run();
            }
            assertEquals(OBJECTS, found.size());
            assertTrue(tier.awaitWarm(30_000_000_000L));
            assertEquals(OBJECTS, tier.objects());
            assertEquals(TestObjects.id(0), tier.hottestFirst().getFirst(), "written last");
        }
    }

    @Test
    void shouldCloseWhileNobodyListens() {
        final SsdTier tier = open();
        assertTrue(tier.close(30_000_000_000L));
    }
}
