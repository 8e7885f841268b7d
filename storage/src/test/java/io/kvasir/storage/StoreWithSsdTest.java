package io.kvasir.storage;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.lookup.LookupAnswer;
import io.kvasir.storage.lookup.LookupQuery;
import io.kvasir.storage.move.Channel;
import io.kvasir.storage.move.MoveKind;
import io.kvasir.storage.move.Mover;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectEvent;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.SlotRecord;
import io.kvasir.storage.object.SlotStatus;
import io.kvasir.storage.object.TierKind;
import io.kvasir.storage.tier.ssd.SsdTier;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** DRAM and SSD together: what leaves DRAM comes back from SSD. */
class StoreWithSsdTest {
    private static final int LENGTH = 256 * 1024;
    private static final int OBJECTS = 120;
    private Path arena;
    private Path disk;
    private StoreFixture fixture;

    @BeforeEach
    void open() throws IOException {
        arena = StoreFixture.arenaDirectory();
        disk = Files.createTempDirectory("kvasir-test-ssd-");
        fixture = new StoreFixture(context());
    }

    @AfterEach
    void close() throws IOException {
        fixture.close();
        StoreFixture.deleteAll(arena);
        StoreFixture.deleteAll(disk);
    }

    private StoreContext context() {
        return new StoreContext()
                .dramDirectory(arena.resolve("arena"))
                .dramCapacity(8 << 20)
                .regionBytes(1 << 20)
                .catalogDirectory(disk.resolve("catalog"))
                .ssd(new SsdTier.Context().directory(disk).capacityBytes(128 << 20));
    }

    private void storeAll() throws IOException {
        fixture.until("SSD warm", fixture.store.admin()::isSsdWarm);
        for (long number = 0; number < OBJECTS; number++) {
            assertEquals(SlotStatus.COMMITTED, fixture.store(number, LENGTH));
            // At the pace of the SSD, so that nothing leaves DRAM before it is durable.
            fixture.until(
                    "room made by demotion",
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

    private void assertAllThere() throws IOException {
        for (long number = 0; number < OBJECTS; number++) {
            assertArrayEquals(StoreFixture.content(number, LENGTH), fixture.load(number), "object " + number);
        }
    }

    @Test
    void shouldBringBackFromSsdWhatLeftDram() throws IOException {
        storeAll();
        assertEquals(0, fixture.store.admin().counters().evictedUndemoted.sum());
        assertAllThere();
        assertTrue(fixture.store.admin().counters().promoted.sum() > 0);
    }

    /** The tier's own index, which had a copy of lengths by 64-bit hashes before, and the table. */
    private void assertTableKnowsTheSsd() {
        final SsdShelf shelf = fixture.store.ssdShelf();
        fixture.until(
                "nothing on its way",
                () -> shelf.objects() == fixture.store.admin().ssd().objects());
        final List<ObjectId> there = fixture.store.admin().ssd().hottestFirst();
        assertEquals(there.size(), shelf.objects());
        for (final ObjectId id : there) {
            assertTrue(shelf.has(id), id::toString);
            assertEquals(LENGTH, shelf.length(shelf.find(id)));
        }
    }

    @Test
    void shouldKnowInOneTableWhatIsOnSsd() throws IOException {
        storeAll();
        assertTableKnowsTheSsd();
        fixture.killNode();
        fixture.killEngine();
        fixture = new StoreFixture(context());
        fixture.until("SSD warm", fixture.store.admin()::isSsdWarm);
        assertTrue(fixture.store.ssdShelf().objects() > OBJECTS / 2);
        assertTableKnowsTheSsd();
        for (long number = 0; number < OBJECTS; number++) {
            fixture.store
                    .admin()
                    .remove(new ObjectId(
                            StoreFixture.NAMESPACE, Hash256.read(StoreFixture.key(number), 0), StoreFixture.SHARD));
        }
        fixture.until(
                "an object in no tier has no entry", () -> fixture.store.admin().tableObjects() == 0);
        fixture.until("all removed", () -> fixture.store.admin().ssd().objects() == 0);
    }

    @Test
    void shouldNotTakeAnObjectForOneWithTheSame64BitHash() throws IOException {
        storeAll();
        fixture.until("on SSD", () -> fixture.store.admin().ssd().objects() > 0);
        final ObjectId there = fixture.store.admin().ssd().hottestFirst().getFirst();
        final Hash256 namespace = there.namespace();
        // Anybody can find such ids: these bits of a namespace are not in that hash.
        final ObjectId other = new ObjectId(
                new Hash256(namespace.a(), ~namespace.b(), namespace.c(), namespace.d()), there.key(), there.shard());
        assertEquals(there.hash64(), other.hash64());
        assertTrue(fixture.store.peers().holds(there));
        assertFalse(fixture.store.peers().holds(other));
        assertEquals(
                SlotStatus.GRANTED,
                fixture.store
                        .engines()
                        .reserve(
                                fixture.attachment,
                                other.namespace(),
                                other.shard(),
                                other.key().toBytes(),
                                new long[] {LENGTH},
                                0)
                        .slots()[SlotRecord.STATUS]);
    }

    @Test
    void shouldKeepTheNumberOfObjectsOnSsd() throws IOException {
        fixture.close();
        final StoreContext context = context();
        context.ssd().maxObjects(20);
        fixture = new StoreFixture(context);
        storeAll();
        final List<ObjectId> there = fixture.store.admin().ssd().hottestFirst();
        assertTrue(there.size() <= 20 && there.size() > 10, there::toString);
        assertTableKnowsTheSsd();
        assertTrue(fixture.store.admin().tableObjects()
                <= 20 + fixture.store.admin().dramObjects());
        assertTrue(fixture.store.admin().ssdMetrics().evicted.sum() > 0);
    }

    @Test
    void shouldSayOfTiersThatBeginEmptyThatTheyAreCleared() {
        assertEquals(List.of(ObjectEvent.cleared(TierKind.DRAM), ObjectEvent.cleared(TierKind.SSD)), eventsOfAStart());
    }

    @Test
    void shouldSayNothingOfTiersThatKeptTheirObjects() throws IOException {
        storeAll();
        fixture.killNode();
        fixture.killEngine();
        fixture = new StoreFixture(context());
        assertEquals(List.of(), eventsOfAStart());
    }

    private List<ObjectEvent> eventsOfAStart() {
        final List<ObjectEvent> events = new ArrayList<>();
        fixture.store.engines().onEvent(events::add);
        fixture.until("SSD warm", fixture.store.admin()::isSsdWarm);
        return events;
    }

    @Test
    void shouldHaveBothTiersAfterARestart() throws IOException {
        storeAll();
        fixture.killNode();
        fixture.killEngine();
        fixture = new StoreFixture(context());
        fixture.until("SSD warm", fixture.store.admin()::isSsdWarm);
        assertAllThere();
        assertTrue(fixture.store.admin().counters().adopted.sum() > 0);
    }

    @Test
    void shouldAnswerAMissForWhatIsCorruptOnSsd() throws IOException {
        storeAll();
        fixture.killNode();
        fixture.killEngine();
        StoreFixture.deleteAll(arena);
        Files.createDirectories(arena);
        corruptEveryExtent();
        fixture = new StoreFixture(context());
        fixture.until("SSD warm", fixture.store.admin()::isSsdWarm);
        for (long number = 0; number < OBJECTS; number++) {
            final byte[] bytes = fixture.load(number);
            if (bytes != null) {
                assertArrayEquals(StoreFixture.content(number, LENGTH), bytes);
            }
        }
        assertTrue(fixture.store.admin().counters().corrupt.sum() > 0, "corruption was met and counted");
    }

    /** One flipped bit in the middle of each 256 KiB beyond the first MiB of each extent file. */
    private void corruptEveryExtent() throws IOException {
        final List<Path> extents;
        try (Stream<Path> files = Files.walk(disk)) {
            extents = files.filter(file -> file.getFileName().toString().contains("extent"))
                    .filter(Files::isRegularFile)
                    .toList();
        }
        assertTrue(!extents.isEmpty(), "extent files found");
        for (final Path extent : extents) {
            try (RandomAccessFile file = new RandomAccessFile(extent.toFile(), "rw")) {
                for (long at = 1 << 20; at < file.length(); at += LENGTH) {
                    file.seek(at);
                    final int old = file.read();
                    file.seek(at);
                    file.write(old ^ 4);
                }
            }
        }
    }

    @Test
    void shouldKeepOnSsdWhatIsUsedInDram() throws IOException {
        fixture.close();
        StoreFixture.deleteAll(arena);
        StoreFixture.deleteAll(disk);
        Files.createDirectories(arena);
        Files.createDirectories(disk);
        fixture = new StoreFixture(
                context().ssd(new SsdTier.Context().directory(disk).capacityBytes(16 << 20)));
        final ObjectId hot =
                new ObjectId(StoreFixture.NAMESPACE, Hash256.read(StoreFixture.key(0), 0), StoreFixture.SHARD);
        fixture.until("SSD warm", fixture.store.admin()::isSsdWarm);
        for (long number = 0; number < 300; number++) {
            assertEquals(SlotStatus.COMMITTED, fixture.store(number, LENGTH));
            final long most = number;
            fixture.until(
                    "demotion keeps up",
                    () -> most < 20 || fixture.store.admin().counters().demoted.sum() > most - 20);
            if (number > 24) {
                assertArrayEquals(StoreFixture.content(0, LENGTH), fixture.load(0));
            } else if (number == 24) {
                fixture.until("durable", () -> fixture.store.admin().ssd().contains(hot));
            }
        }
        assertTrue(fixture.store.admin().ssdMetrics().evicted.sum() > 100, "the SSD went round several times");
        assertEquals(0, fixture.store.admin().counters().promoted.sum(), "it was always in DRAM");
        assertTrue(fixture.store.admin().ssd().contains(hot));
    }

    /** A lookup of more than DRAM holds promotes into slots that must not be those of its own hits. */
    @Test
    void shouldNotEvictForAPromotionWhatTheSameLookupFound() throws IOException {
        storeAll();
        final long[] all = java.util.stream.LongStream.range(0, OBJECTS).toArray();
        for (int round = 0; round < 20; round++) {
            final LookupAnswer found = fixture.store
                    .engines()
                    .lookup(
                            fixture.holder,
                            new LookupQuery(
                                    StoreFixture.NAMESPACE, StoreFixture.keys(all), new int[0], 0, false, true, 0, 0));
            for (int i = 0; i < OBJECTS; i++) {
                if (found.slots()[i * SlotRecord.BYTES] == SlotStatus.HIT) {
                    assertArrayEquals(StoreFixture.content(i, LENGTH), fixture.read(found.slots(), i), "object " + i);
                }
            }
            fixture.store.engines().release(fixture.holder, found.lease(), new int[0]);
            fixture.until("promotions ended", () -> fixture.store.doWork() == 0);
        }
    }

    private void openWithInFlight(final long bytes) throws IOException {
        fixture.close();
        fixture = new StoreFixture(context().ssdInFlight(bytes));
    }

    /** What is not in DRAM any more for the most part, so that the rest of DRAM gives way to it. */
    private LookupAnswer lookupOfTheOldest() {
        final long[] oldest = java.util.stream.LongStream.range(0, OBJECTS / 2).toArray();
        return fixture.store
                .engines()
                .lookup(
                        fixture.holder,
                        new LookupQuery(
                                StoreFixture.NAMESPACE, StoreFixture.keys(oldest), new int[0], 0, false, true, 0, 0));
    }

    @Test
    void shouldHaveNoMoreInFlightThanConfigured() throws IOException {
        storeAll();
        final long most = 2L * LENGTH;
        openWithInFlight(most);
        fixture.until("SSD warm", fixture.store.admin()::isSsdWarm);
        final Mover mover = fixture.store.admin().mover();
        int waited = 0;
        for (int round = 0; round < 20; round++) {
            final LookupAnswer found = lookupOfTheOldest();
            fixture.store.engines().release(fixture.holder, found.lease(), new int[0]);
            waited = Math.max(waited, mover.waiting(MoveKind.PROMOTE));
            fixture.until("promotions ended", () -> {
                assertTrue(mover.movingBytes(Channel.SSD) <= most);
                return fixture.store.admin().ssdInFlight() == 0;
            });
        }
        assertTrue(waited > 0, "more was wanted than the SSD was given");
        assertAllThere();
    }

    @Test
    void shouldGiveBackSlotsOfPromotionsThatNeverStarted() throws IOException {
        storeAll();
        openWithInFlight(LENGTH);
        fixture.until("SSD warm", fixture.store.admin()::isSsdWarm);
        final LookupAnswer found = lookupOfTheOldest();
        fixture.store.engines().release(fixture.holder, found.lease(), new int[0]);
        final Mover mover = fixture.store.admin().mover();
        assertTrue(mover.waiting(MoveKind.PROMOTE) > 0);
        mover.close();
        assertEquals(0, mover.waiting(MoveKind.PROMOTE));
        fixture.until("what had started ended", () -> fixture.store.admin().ssdInFlight() == 0);
        for (long number = 0; number < OBJECTS; number++) {
            final int entry = fixture.store
                    .dram()
                    .find(StoreFixture.NAMESPACE, Hash256.read(StoreFixture.key(number), 0), StoreFixture.SHARD);
            assertTrue(entry < 0 || !fixture.store.dram().isWriting(entry), "a slot is left behind: " + number);
        }
        fixture.killNode();
        fixture.killEngine();
        fixture = new StoreFixture(context());
        fixture.until("SSD warm", fixture.store.admin()::isSsdWarm);
        assertAllThere();
    }

    @Test
    void shouldListEverythingThatIsOnSsdOnly() throws IOException {
        storeAll();
        fixture.until("nothing on its way", () -> fixture.store.admin().heldObjects() == 0);
        final Set<ObjectId> expected = new HashSet<>(fixture.store.admin().ssd().hottestFirst());
        expected.removeIf(id -> fixture.store.dram().find(id.namespace(), id.key(), id.shard()) >= 0);
        assertFalse(expected.isEmpty());
        final Set<ObjectId> listed = new HashSet<>();
        int calls = 0;
        for (int from = 0; from >= 0; calls++) {
            from = fixture.store.peers().nextOnSsdOnly(from, id -> assertTrue(listed.add(id), "twice"));
        }
        assertTrue(calls > 1, "one call looks at all");
        assertEquals(expected, listed);
    }

    @Test
    void shouldKeepPinsOverARestart() throws IOException {
        fixture.store(1, LENGTH);
        assertEquals(
                1,
                fixture.store
                        .engines()
                        .pin(fixture.holder, StoreFixture.NAMESPACE, StoreFixture.key(1), 3_600_000_000_000L, 0));
        fixture.killNode();
        fixture.killEngine();
        fixture = new StoreFixture(context());
        fixture.until(
                "the pin is back",
                () -> fixture.store.engines().unpin(fixture.holder, StoreFixture.NAMESPACE, StoreFixture.key(1)) == 1);
    }

    @Test
    void shouldKeepALookupPendingUntilTheBytesAreHere() throws IOException {
        storeAll();
        final LookupAnswer first = fixture.store.engines().lookup(fixture.holder, fixture.query(false, 0));
        assertEquals(0, first.hitChunks());
        assertEquals(1, first.pendingChunks());
        assertEquals(TierKind.SSD, first.plan().getFirst().tier());
        final boolean[] woken = {false};
        fixture.store.engines().whenSettled(fixture.holder, fixture.query(false, 0), () -> woken[0] = true);
        fixture.until("woken", () -> woken[0]);
        final LookupAnswer second = fixture.store.engines().lookup(fixture.holder, fixture.query(false, 0));
        assertEquals(1, second.hitChunks());
        assertEquals(TierKind.SSD, second.plan().getFirst().tier());
        fixture.store.engines().release(fixture.holder, second.lease(), new int[0]);
    }
}
