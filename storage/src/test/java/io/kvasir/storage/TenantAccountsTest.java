package io.kvasir.storage;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.SizeClass;
import io.kvasir.storage.object.SlotStatus;
import io.kvasir.storage.tenant.TenantAccount;
import io.kvasir.storage.tier.ssd.SsdTier;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What a tenant is charged for DRAM and SSD, also after a restart. */
class TenantAccountsTest {
    private static final int LENGTH = 60 * 1024;
    private static final long SLOT = SizeClass.dramSlotBytes(LENGTH);
    private static final int OBJECTS = 64;
    private Path arena;
    private Path disk;
    private StoreFixture fixture;

    @BeforeEach
    void open() throws IOException {
        arena = StoreFixture.arenaDirectory();
        disk = Files.createTempDirectory("kvasir-test-ssd-");
        start();
    }

    @AfterEach
    void close() throws IOException {
        fixture.close();
        StoreFixture.deleteAll(arena);
        StoreFixture.deleteAll(disk);
    }

    private void start() throws IOException {
        fixture = new StoreFixture(new StoreContext()
                .dramDirectory(arena.resolve("arena"))
                .dramCapacity(2 << 20)
                .regionBytes(256 << 10)
                .catalogDirectory(disk.resolve("catalog"))
                .ssd(new SsdTier.Context().directory(disk).capacityBytes(16 << 20)));
        fixture.until("SSD warm", fixture.store.admin()::isSsdWarm);
    }

    private TenantAccount account() {
        return fixture.store.admin().accounts().of("tests");
    }

    private void storeAll() throws IOException {
        for (long number = 0; number < OBJECTS; number++) {
            assertEquals(SlotStatus.COMMITTED, fixture.store(number, LENGTH));
        }
    }

    @Test
    void shouldChargeSlotsInBothTiersToTheTenantThatStored() throws IOException {
        fixture.store.engines().rememberNamespace(StoreFixture.NAMESPACE, "tests", new byte[0]);
        storeAll();
        fixture.until("demotion", () -> account().ssdBytes() > 0);
        // The SSD's threads count for themselves, under their own lock.
        fixture.until(
                "SSD settled",
                () -> fixture.store.admin().ssd().usedBytes() == account().ssdBytes());
        assertEquals(0, fixture.store.admin().ssdBytesOfUnknown());
        assertEquals(fixture.store.admin().dramUsedBytes(), account().dramBytes());
        assertTrue(account().regionBytes() >= account().dramBytes());
        assertEquals(1, account().connections());
    }

    @Test
    void shouldTakeWhatIsRemovedOffTheAccounts() throws IOException {
        fixture.store.engines().rememberNamespace(StoreFixture.NAMESPACE, "tests", new byte[0]);
        storeAll();
        fixture.until("demotion", () -> account().ssdBytes() >= 10 * SLOT);
        for (long number = 0; number < OBJECTS; number++) {
            fixture.store
                    .admin()
                    .remove(new ObjectId(
                            StoreFixture.NAMESPACE, Hash256.read(StoreFixture.key(number), 0), StoreFixture.SHARD));
        }
        // What is on its way to the SSD keeps its slot until it is there.
        fixture.until(
                "empty",
                () -> account().dramBytes() == 0
                        && account().ssdBytes() == 0
                        && fixture.store.admin().ssd().usedBytes() == 0);
    }

    @Test
    void shouldHaveTheSameAccountsAfterARestart() throws IOException {
        fixture.store.engines().rememberNamespace(StoreFixture.NAMESPACE, "tests", new byte[0]);
        storeAll();
        fixture.until("demotion", () -> account().ssdBytes() >= 10 * SLOT);
        fixture.reserve(LENGTH, 1000, 1001);
        final long dram = fixture.store.admin().dramUsedBytes() - 2 * SLOT;
        final long regions = account().regionBytes();
        fixture.killNode();
        // Its engine lives on: what it had reserved is quarantined.
        final StoreFixture before = fixture;
        start();
        assertEquals(dram, account().dramBytes());
        assertEquals(dram, fixture.store.admin().dramUsedBytes());
        assertEquals(regions, account().regionBytes());
        assertEquals(2 * SLOT, account().quarantinedBytes());
        assertEquals(0, account().reservedBytes());
        fixture.until(
                "the catalog",
                () -> fixture.store.admin().ssdBytesOfUnknown() == 0
                        && account().ssdBytes() == fixture.store.admin().ssd().usedBytes());
        assertTrue(account().ssdBytes() >= 10 * SLOT);
        before.killEngine();
        fixture.until("the engine's end", () -> account().quarantinedBytes() == 0);
    }

    @Test
    void shouldChargeSsdToNobodyUntilTheNamespaceIsKnown() throws IOException {
        storeAll();
        fixture.until("demotion", () -> fixture.store.admin().ssdBytesOfUnknown() >= 10 * SLOT);
        assertEquals(0, account().ssdBytes());
        final long unknown = fixture.store.admin().ssdBytesOfUnknown();
        fixture.store.engines().rememberNamespace(StoreFixture.NAMESPACE, "tests", new byte[0]);
        assertEquals(unknown, account().ssdBytes());
        assertEquals(0, fixture.store.admin().ssdBytesOfUnknown());
    }
}
