package io.kvasir.storage.tier.ssd;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.StoreContext;
import io.kvasir.storage.StoreFixture;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectEvent;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.SlotStatus;
import io.kvasir.storage.object.TierKind;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What DRAM believes of an object while the SSD removes it. The test is the store's owner and ends the removal itself. */
class WithdrawnTest {
    private static final int LENGTH = 256 * 1024;
    private static final long VICTIM = 0;

    private final List<ObjectEvent> events = new ArrayList<>();
    private Path arena;
    private Path disk;
    private StoreFixture fixture;
    private TierState state;
    private long stored;

    @BeforeEach
    void open() throws IOException {
        arena = StoreFixture.arenaDirectory();
        disk = Files.createTempDirectory("kvasir-test-ssd-");
        start();
        fixture.store.engines().rememberNamespace(StoreFixture.NAMESPACE, "tests", new byte[0]);
        fixture.store.engines().onEvent(events::add);
        // The victim is the coldest in DRAM, and durable.
        store(24);
        fixture.until("the victim is durable", () -> fixture.store.admin().ssd().contains(id()));
        assertEquals(0, fixture.store.admin().counters().evictedClean.sum());
    }

    private void start() throws IOException {
        fixture = new StoreFixture(new StoreContext()
                .dramDirectory(arena.resolve("arena"))
                .dramCapacity(8 << 20)
                .regionBytes(1 << 20)
                .ssd(new SsdTier.Context().directory(disk).capacityBytes(128 << 20)));
        fixture.until("SSD warm", fixture.store.admin()::isSsdWarm);
        state = fixture.store.admin().ssd().state();
    }

    @AfterEach
    void close() throws IOException {
        fixture.close();
        StoreFixture.deleteAll(arena);
        StoreFixture.deleteAll(disk);
    }

    private static ObjectId id() {
        return id(VICTIM);
    }

    private static ObjectId id(final long number) {
        return new ObjectId(StoreFixture.NAMESPACE, Hash256.read(StoreFixture.key(number), 0), StoreFixture.SHARD);
    }

    /** At the pace of the SSD, so that nothing leaves DRAM before it is somewhere else. */
    private void store(final int count) throws IOException {
        for (int i = 0; i < count; i++) {
            final byte status = fixture.store(stored++, LENGTH);
            assertTrue(status == SlotStatus.COMMITTED || status == SlotStatus.EXISTS, "status " + status);
            fixture.until(
                    "demotion keeps up",
                    () -> fixture.store.admin().dramUsedBytes() < 7 << 20
                            || fixture.store.admin().counters().demoted.sum() * LENGTH
                                    >= fixture.store
                                                    .admin()
                                                    .counters()
                                                    .storedBytes
                                                    .sum()
                                            - (6 << 20));
        }
    }

    private int beginDelete() {
        state.lock.lock();
        try {
            final int entry = state.findDurable(id());
            state.beginDelete(SsdWriter.single(entry));
            return entry;
        } finally {
            state.lock.unlock();
        }
    }

    private List<ObjectEvent.Kind> toldOfSsd() {
        return events.stream()
                .filter(event -> event.tier() == TierKind.SSD && id().equals(event.id()))
                .map(ObjectEvent::kind)
                .toList();
    }

    @Test
    void shouldNotDropFromDramWhatTheSsdIsRemoving() throws IOException {
        final int entry = beginDelete();
        assertFalse(fixture.store.admin().ssd().contains(id()));
        // All of DRAM goes round twice while the removal is not durable.
        store(64);
        assertTrue(fixture.store.admin().counters().evictedClean.sum() > 24);
        assertEquals(0, fixture.store.admin().counters().evictedUndemoted.sum());
        assertArrayEquals(StoreFixture.content(VICTIM, LENGTH), fixture.load(VICTIM));
        // It was written again beside the removal, whose end changes nothing of that.
        assertTrue(fixture.store.admin().ssd().contains(id()));
        state.lock.lock();
        try {
            state.deleteCommitted(entry);
        } finally {
            state.lock.unlock();
        }
        store(64);
        assertArrayEquals(StoreFixture.content(VICTIM, LENGTH), fixture.load(VICTIM));
        assertEquals(List.of(ObjectEvent.Kind.STORED, ObjectEvent.Kind.REMOVED, ObjectEvent.Kind.STORED), toldOfSsd());
    }

    @Test
    void shouldTellTheRemovalBeforeItIsDurable() {
        beginDelete();
        fixture.until("told", () -> toldOfSsd().size() == 2);
        assertEquals(List.of(ObjectEvent.Kind.STORED, ObjectEvent.Kind.REMOVED), toldOfSsd());
        assertTrue(fixture.store.peers().holds(id()), "it is in DRAM");
        assertEquals(1, state.deleting());
    }

    @Test
    void shouldHaveAnObjectAgainWhoseRemovalNeverBecameDurable() throws IOException {
        beginDelete();
        fixture.until("told", () -> toldOfSsd().size() == 2);
        fixture.killNode();
        fixture.killEngine();
        StoreFixture.deleteAll(arena);
        Files.createDirectories(arena);
        start();
        assertArrayEquals(StoreFixture.content(VICTIM, LENGTH), fixture.load(VICTIM));
    }

    /** Removals, writes of the same objects and evictions at once: in the end, what the store says it holds it can load. */
    @Test
    void shouldHoldWhatItSaysAfterRemovalsAndWritesOfTheSameObjects() throws IOException {
        final long first = stored;
        for (int round = 0; round < 6; round++) {
            stored = first;
            for (int i = 0; i < 8; i++) {
                store(8);
                fixture.store.admin().ssd().remove(id(first + i * 8L), outcome -> {});
                fixture.store.admin().ssd().remove(id(first + (i * 5L + round) % 64), outcome -> {});
            }
        }
        assertTrue(fixture.store.admin().ssd().flush(30_000_000_000L));
        fixture.until("all is told", () -> fixture.store.doWork() == 0);
        for (long number = first; number < first + 64; number++) {
            if (fixture.store.peers().holds(id(number))) {
                assertArrayEquals(StoreFixture.content(number, LENGTH), fixture.load(number), "object " + number);
            }
        }
    }
}
