package io.kvasir.storage;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.SizeClass;
import io.kvasir.storage.object.SlotRecord;
import io.kvasir.storage.object.SlotStatus;
import io.kvasir.storage.tenant.TenantAccount;
import io.kvasir.storage.tenant.TenantShare;
import io.kvasir.storage.tier.ReservedSlots;
import io.kvasir.storage.tier.ssd.SsdTier;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Two tenants of one SSD: "tests" stores little and keeps its minimum, "flood" stores more than there is. */
class TenantSsdSharesTest {
    private static final int KIB = 1024;
    private static final int LENGTH = 60 * KIB;
    private static final long SSD = 16 << 20;
    private static final int OBJECTS = 40;
    private static final Hash256 FLOOD = new Hash256(5, 6, 7, 8);
    private Path arena;
    private Path disk;
    private StoreFixture fixture;
    private SimulatedEngine flooding;
    private long next;

    @BeforeEach
    void open() throws IOException {
        arena = StoreFixture.arenaDirectory();
        disk = Files.createTempDirectory("kvasir-test-ssd-");
    }

    @AfterEach
    void close() throws IOException {
        fixture.close();
        flooding.die();
        StoreFixture.deleteAll(arena);
        StoreFixture.deleteAll(disk);
    }

    private void start(final Map<String, TenantShare> shares) throws IOException {
        fixture = new StoreFixture(new StoreContext()
                .dramDirectory(arena.resolve("arena"))
                .dramCapacity(2 << 20)
                .regionBytes(256 * KIB)
                .tenantShares(shares)
                .catalogDirectory(disk.resolve("catalog"))
                .ssd(new SsdTier.Context().directory(disk).capacityBytes(SSD)));
        flooding = new SimulatedEngine(fixture.store, fixture.store.engines().openTenant("flood", -1));
        fixture.store.engines().rememberNamespace(StoreFixture.NAMESPACE, "tests", new byte[0]);
        fixture.store.engines().rememberNamespace(FLOOD, "flood", new byte[0]);
        fixture.until("SSD warm", fixture.store.admin()::isSsdWarm);
    }

    private static TenantShare ssd(final long min, final long max) {
        return new TenantShare(0, Long.MAX_VALUE, min, max, Integer.MAX_VALUE);
    }

    private TenantAccount account(final String tenant) {
        return fixture.store.admin().accounts().of(tenant);
    }

    private void flood(final int length) {
        final byte[] key = StoreFixture.key(next++);
        final ReservedSlots[] result = new ReservedSlots[1];
        fixture.until("room", () -> {
            result[0] = fixture.store
                    .engines()
                    .reserve(flooding.attachment, FLOOD, StoreFixture.SHARD, key, new long[] {length}, 0);
            return result[0].noRoom() == 0;
        });
        assertEquals(SlotStatus.GRANTED, result[0].slots()[SlotRecord.STATUS]);
        fixture.store
                .engines()
                .commit(flooding.attachment, result[0].slots(), new byte[0], new byte[4], new int[0], 0, 0);
        fixture.store.doWork();
    }

    private void storeOnSsd() throws IOException {
        for (long number = 0; number < OBJECTS; number++) {
            assertEquals(SlotStatus.COMMITTED, fixture.store(number, LENGTH));
        }
        // What is still hot in DRAM gets to the SSD when others need its place.
        for (int i = 0; account("tests").ssdBytes() < OBJECTS * SizeClass.slotBytes(LENGTH); i++) {
            assertTrue(i < 1000, "not written to SSD");
            flood(LENGTH);
        }
    }

    /** More than twice what the SSD has, in sizes that take extents from each other. */
    private void floodSsd() {
        for (int i = 0; i < 400; i++) {
            flood((i / 50 % 2 == 0 ? 60 : 130) * KIB);
        }
    }

    @Test
    void theMinimumStaysOnSsdWhateverOthersStore() throws IOException {
        start(Map.of("tests", ssd(4 << 20, SSD)));
        storeOnSsd();
        floodSsd();
        assertEquals(OBJECTS * SizeClass.slotBytes(LENGTH), account("tests").ssdBytes());
        for (long number = 0; number < OBJECTS; number++) {
            assertArrayEquals(StoreFixture.content(number, LENGTH), fixture.load(number), "object " + number);
        }
    }

    @Test
    void withoutAMinimumTheFloodTakesTheSsd() throws IOException {
        start(Map.of());
        storeOnSsd();
        floodSsd();
        assertTrue(
                account("tests").ssdBytes() < OBJECTS * SizeClass.slotBytes(LENGTH), "the flood would prove nothing");
    }

    @Test
    void atItsMaximumATenantGivesUpItsOwnColdestAndWritesOn() throws IOException {
        final long most = SSD / 4;
        start(Map.of("flood", ssd(0, most)));
        final long slot = SizeClass.slotBytes(LENGTH);
        // At the pace of the disk, which may be slower than memory.
        fixture.until("twice the maximum is written", () -> {
            flood(LENGTH);
            assertTrue(account("flood").ssdBytes() <= most, "the maximum");
            return fixture.store.admin().ssdMetrics().writes.sum() * slot >= 2 * most;
        });
        fixture.until(
                "SSD settled",
                () -> fixture.store.admin().ssd().usedBytes()
                        == account("flood").ssdBytes());
        assertTrue(account("flood").ssdBytes() > most / 2, "it uses what it may");
    }
}
