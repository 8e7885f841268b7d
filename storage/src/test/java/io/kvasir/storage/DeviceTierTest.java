package io.kvasir.storage;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.lookup.LookupAnswer;
import io.kvasir.storage.move.Channel;
import io.kvasir.storage.move.MoveKind;
import io.kvasir.storage.move.Mover;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.PlanRange;
import io.kvasir.storage.object.SlotRecord;
import io.kvasir.storage.object.TierKind;
import io.kvasir.storage.policy.LruPolicy;
import io.kvasir.storage.tier.ssd.SsdTier;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.LongStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** A store with DRAM, SSD, and a tier above both whose slots engines map. */
class DeviceTierTest {
    private static final int LENGTH = 512 << 10;
    private static final int FILLS_DRAM = 24;
    private static final int SMALL = 4096;

    private Path root;
    private StoreFixture fixture;
    private FakeDeviceTier device;
    private final List<String> events = new ArrayList<>();

    @BeforeEach
    void open() throws IOException {
        root = StoreFixture.arenaDirectory();
        final StoreContext context = new StoreContext();
        fixture = new StoreFixture(context.dramDirectory(root.resolve("arena"))
                .dramCapacity(8 << 20)
                .regionBytes(1 << 20)
                .policy(LruPolicy::new)
                .ssd(new SsdTier.Context()
                        .directory(Files.createDirectory(root.resolve("ssd")))
                        .capacityBytes(64 << 20))
                .device((table, listener) -> {
                    device = new FakeDeviceTier(table, listener, context.clock(), 4 << 20);
                    return device;
                }));
        fixture.store.engines().onEvent(event -> {
            if (event.tier() == TierKind.DEVICE) {
                events.add(event.kind() + " " + event.tenant());
            }
        });
    }

    @AfterEach
    void close() throws IOException {
        fixture.close();
        StoreFixture.deleteAll(root);
    }

    private static ObjectId id(final long number) {
        return new ObjectId(StoreFixture.NAMESPACE, Hash256.read(StoreFixture.key(number), 0), StoreFixture.SHARD);
    }

    private void untilIdle() {
        fixture.until(
                "idle",
                () -> fixture.store.doWork() == 0 && fixture.store.admin().heldObjects() == 0);
    }

    /** Stored, summed, and leased often enough for a second copy. */
    private void storeHot(final long number) throws IOException {
        fixture.store(number, LENGTH);
        fixture.until("a second copy of object " + number, () -> {
            final LookupAnswer found = fixture.lookup(number);
            fixture.store.engines().release(fixture.holder, found.lease(), new int[0]);
            return device.has(id(number));
        });
        untilIdle();
    }

    private void demote(final long number) throws IOException {
        fixture.until("durable", () -> fixture.store.ssdShelf().has(id(number)));
        for (long other = 1000;
                fixture.store
                                .dram()
                                .find(
                                        id(number).namespace(),
                                        id(number).key(),
                                        id(number).shard())
                        >= 0;
                other++) {
            fixture.store(other, LENGTH);
            untilIdle();
            assertTrue(other < 1000 + 4 * FILLS_DRAM, "it stays in DRAM");
        }
    }

    private static byte tier(final LookupAnswer found) {
        return found.slots()[SlotRecord.TIER];
    }

    @Test
    void shouldAnswerAHitFromTheFastestTier() throws IOException {
        storeHot(1);
        final LookupAnswer found = fixture.lookup(1);
        assertEquals(TierKind.DEVICE.code(), tier(found));
        assertEquals(TierKind.DEVICE, ((PlanRange.Exact) found.plan().getFirst()).tier());
        assertArrayEquals(StoreFixture.content(1, LENGTH), fixture.read(found.slots(), 0));
        fixture.store.engines().release(fixture.holder, found.lease(), new int[0]);
        assertEquals(List.of("STORED tests"), events);
    }

    @Test
    void shouldHitOnTheDeviceWhatIsOtherwiseOnSsdAlone() throws IOException {
        storeHot(1);
        demote(1);
        final LookupAnswer found = fixture.store.engines().lookup(fixture.holder, fixture.query(false, 1));
        assertEquals(1, found.hitChunks(), "no fetch is needed");
        assertEquals(TierKind.DEVICE.code(), tier(found));
        assertArrayEquals(StoreFixture.content(1, LENGTH), fixture.read(found.slots(), 0));
        fixture.store.engines().release(fixture.holder, found.lease(), new int[0]);
    }

    @Test
    void shouldLoseASecondCopyWithTheLastFirstOne() throws IOException {
        storeHot(1);
        demote(1);
        assertTrue(fixture.store.admin().remove(id(1)));
        assertFalse(device.has(id(1)));
        assertEquals(List.of("STORED tests", "REMOVED tests"), events);
        assertEquals(0, fixture.lookup(1).hitChunks());
    }

    @Test
    void shouldKeepALeasedSlotOfWhatIsRemoved() throws IOException {
        storeHot(1);
        final LookupAnswer found = fixture.lookup(1);
        assertEquals(TierKind.DEVICE.code(), tier(found));
        assertTrue(fixture.store.admin().remove(id(1)));
        assertEquals(0, fixture.lookup(1).hitChunks());
        for (long number = 2; number < 14; number++) {
            storeHot(number);
        }
        assertArrayEquals(StoreFixture.content(1, LENGTH), fixture.read(found.slots(), 0), "the leased bytes stay");
        assertTrue(StoreFixture.resolve(fixture.store, fixture.holder, found.lease()) != null);
        fixture.store.engines().release(fixture.holder, found.lease(), new int[0]);
        assertEquals(0, device.heldObjects());
    }

    @Test
    void shouldPinInDramWhatALookupWouldFindOnTheDevice() throws IOException {
        storeHot(1);
        assertEquals(
                1,
                fixture.store
                        .engines()
                        .pin(fixture.holder, StoreFixture.NAMESPACE, StoreFixture.key(1), 60_000_000_000L, 0));
        for (long number = 2; number < 2 + FILLS_DRAM; number++) {
            fixture.store(number, LENGTH);
            untilIdle();
        }
        assertTrue(fixture.store.dram().find(id(1).namespace(), id(1).key(), id(1).shard()) >= 0);
    }

    @Test
    void shouldCopyInTheMoversTurn() throws IOException {
        fixture.close();
        final HandDrivenWorker copies = new HandDrivenWorker();
        final StoreContext context = new StoreContext();
        fixture = new StoreFixture(context.dramDirectory(root.resolve("another"))
                .dramCapacity(8 << 20)
                .regionBytes(1 << 20)
                .workers(name -> name.equals("kvasir-second-copies") ? copies : StoreContext.thread(name))
                .device((table, listener) -> {
                    device = new FakeDeviceTier(table, listener, context.clock(), 4 << 20);
                    return device;
                }));
        final int count = 40;
        for (long number = 0; number < count; number++) {
            fixture.store(number, SMALL);
        }
        fixture.until("summed", () -> LongStream.range(0, count).allMatch(this::isSummed));
        for (long number = 0; number < 2 * count; number++) {
            final LookupAnswer found = fixture.lookup(number % count);
            fixture.store.engines().release(fixture.holder, found.lease(), new int[0]);
        }
        final Mover mover = fixture.store.admin().mover();
        final int atOnce = mover.moving(MoveKind.SECOND_COPY);
        assertTrue(atOnce > 0 && atOnce < count, atOnce + " at once");
        assertEquals(atOnce * (long) SMALL, mover.movingBytes(Channel.DEVICE));
        final int waiting = mover.waiting(MoveKind.SECOND_COPY);
        assertTrue(waiting > 0 && atOnce + waiting < count, waiting + " wait");
        fixture.until("all copied", () -> {
            copies.runOne();
            return mover.moving(MoveKind.SECOND_COPY) + mover.waiting(MoveKind.SECOND_COPY) == 0;
        });
        untilIdle();
        assertEquals(
                atOnce + waiting,
                LongStream.range(0, count)
                        .filter(number -> device.has(id(number)))
                        .count());
    }

    private boolean isSummed(final long number) {
        final ObjectId id = id(number);
        return fixture.store.dram().isSummed(fixture.store.dram().find(id.namespace(), id.key(), id.shard()));
    }

    @Test
    void shouldEvictOnTheDeviceWhatIsUsedLeast() throws IOException {
        for (long number = 1; number <= 12; number++) {
            storeHot(number);
        }
        device.check();
        assertFalse(device.has(id(1)));
        assertTrue(device.has(id(12)));
        assertArrayEquals(StoreFixture.content(1, LENGTH), fixture.load(1), "the first copy is still there");
    }
}
