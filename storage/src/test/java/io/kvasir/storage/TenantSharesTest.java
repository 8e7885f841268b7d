package io.kvasir.storage;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.lookup.LookupAnswer;
import io.kvasir.storage.object.SlotRecord;
import io.kvasir.storage.object.SlotStatus;
import io.kvasir.storage.object.StorageException;
import io.kvasir.storage.tenant.TenantAccount;
import io.kvasir.storage.tenant.TenantShare;
import io.kvasir.storage.tier.Attachment;
import io.kvasir.storage.tier.ReservedSlots;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Two tenants of one node: "tests" behaves, "flood" takes what it can get. */
class TenantSharesTest {
    private static final int KIB = 1024;
    private static final long MIB = 1 << 20;
    private static final long CAPACITY = 4 * MIB;
    private static final long REGION = 256 * KIB;
    private static final int LENGTH = 60 * KIB;
    /** In 7 regions of 4 slots. */
    private static final int OBJECTS = 28;
    /** The flood's first object; each of its objects has a number of its own. */
    private static final long FLOOD = 1_000_000;

    private Path root;
    private StoreFixture fixture;
    private Attachment flood;
    private SimulatedEngine flooding;
    private long next = FLOOD;
    /** The clock goes on by a millisecond with each object of the flood: a region that was filled just now is left alone for a moment. */
    private long aheadNs;

    @BeforeEach
    void open() throws IOException {
        root = StoreFixture.arenaDirectory();
    }

    @AfterEach
    void close() throws IOException {
        if (fixture != null) {
            stop();
        }
        StoreFixture.deleteAll(root);
    }

    private static TenantShare dram(final long min, final long max) {
        return new TenantShare(min, max, 0, Long.MAX_VALUE, Integer.MAX_VALUE);
    }

    private void start(final long capacity, final Map<String, TenantShare> shares) throws IOException {
        fixture = new StoreFixture(new StoreContext()
                .dramDirectory(root.resolve("arena"))
                .dramCapacity(capacity)
                .regionBytes(REGION)
                .nanoClock(this::nowNs)
                .clock(() -> TimeUnit.NANOSECONDS.toMillis(nowNs()))
                .tenantShares(shares));
        flooding = new SimulatedEngine(fixture.store, fixture.store.engines().openTenant("flood", -1));
        flood = flooding.attachment;
    }

    private long nowNs() {
        return System.nanoTime() + aheadNs;
    }

    private void stop() throws IOException {
        fixture.close();
        flooding.die();
    }

    private TenantAccount account(final String tenant) {
        return fixture.store.admin().accounts().of(tenant);
    }

    private void storeAll() throws IOException {
        for (long number = 0; number < OBJECTS; number++) {
            assertEquals(SlotStatus.COMMITTED, fixture.store(number, LENGTH));
        }
    }

    private void assertAllThere() throws IOException {
        for (long number = 0; number < OBJECTS; number++) {
            assertArrayEquals(StoreFixture.content(number, LENGTH), fixture.load(number), "object " + number);
        }
    }

    /** One object more; its status. */
    private byte flood(final int length) {
        aheadNs += TimeUnit.MILLISECONDS.toNanos(1);
        final ReservedSlots reserved = fixture.reserve(flood, length, next++);
        final byte status = reserved.slots()[SlotRecord.STATUS];
        return status == SlotStatus.GRANTED
                ? fixture.store.engines().commit(flood, reserved.slots(), new byte[0], new byte[4], new int[0], 0, 0)[0]
                : status;
    }

    /** Tiny ones of many sizes, each of which wants regions of its own. */
    private void floodWithTinyObjects(final int count) {
        for (int i = 0; i < count; i++) {
            assertEquals(SlotStatus.COMMITTED, flood(1 + i % 10 * 4 * KIB));
        }
    }

    @Test
    void aFloodOfTinyObjectsLeavesTheOthersMinimum() throws IOException {
        start(CAPACITY, Map.of("tests", dram(CAPACITY / 2, CAPACITY)));
        storeAll();
        floodWithTinyObjects(3000);
        assertAllThere();
    }

    @Test
    void withoutAMinimumTheFloodTakesAll() throws IOException {
        start(CAPACITY, Map.of());
        storeAll();
        floodWithTinyObjects(3000);
        assertTrue(account("tests").regionBytes() < OBJECTS / 4 * REGION, "the flood would prove nothing");
    }

    @Test
    void theMinimumCanBeHadAfterAndDuringTheFlood() throws IOException {
        start(CAPACITY, Map.of("tests", dram(CAPACITY / 2, CAPACITY)));
        floodWithTinyObjects(3000);
        for (long number = 0; number < OBJECTS; number++) {
            assertEquals(SlotStatus.COMMITTED, fixture.store(number, LENGTH));
            floodWithTinyObjects(40);
        }
        assertAllThere();
    }

    @Test
    void whatIsBeyondTheMinimumIsGivenToOthers() throws IOException {
        start(CAPACITY, Map.of("tests", dram(REGION, CAPACITY)));
        storeAll();
        floodWithTinyObjects(3000);
        final long left = account("tests").regionBytes();
        assertTrue(left >= REGION && left < 2 * REGION, left + " bytes of regions are left");
    }

    @Test
    void manyColdObjectsThatStayDoNotKeepOthersFromTheirOwn() throws IOException {
        final int tiny = 2700;
        start(4 * CAPACITY, Map.of("tests", dram(3 * CAPACITY, 4 * CAPACITY)));
        for (long number = 0; number < tiny; number++) {
            assertEquals(SlotStatus.COMMITTED, fixture.store(number, 1));
        }
        // All that is left, with a leased object in each region: none can be emptied as a whole.
        for (int i = 0; i < 84; i++) {
            assertEquals(SlotStatus.COMMITTED, flood(LENGTH));
        }
        assertEquals(0, fixture.store.admin().counters().evictedUndemoted.sum());
        for (int i = 0; i < 84; i += 4) {
            final LookupAnswer leased =
                    fixture.store.engines().lookup(flooding.holder, fixture.query(false, FLOOD + i));
            assertEquals(1, leased.hitChunks());
        }
        for (int i = 0; i < 200; i++) {
            assertEquals(SlotStatus.COMMITTED, flood(LENGTH));
        }
        assertTrue(fixture.store.admin().counters().evictedUndemoted.sum() > 0, "the flood has evicted its own");
        for (long number = 0; number < tiny; number++) {
            assertArrayEquals(StoreFixture.content(number, 1), fixture.load(number), "object " + number);
        }
    }

    @Test
    void aTenantAtItsMaximumEvictsItsOwnObjectsAndOnlyThem() throws IOException {
        final long most = CAPACITY / 4;
        start(CAPACITY, Map.of("flood", dram(0, most)));
        storeAll();
        for (int i = 0; i < 1000; i++) {
            assertEquals(SlotStatus.COMMITTED, flood(i % 3 == 0 ? LENGTH : 1 + i % 7 * 4 * KIB));
            assertTrue(account("flood").regionBytes() <= most, "the maximum");
        }
        assertTrue(account("flood").regionBytes() > most - REGION, "what it may have");
        assertAllThere();
    }

    @Test
    void anObjectBeyondTheMaximumIsRefusedAtOnce() throws IOException {
        start(CAPACITY, Map.of("flood", dram(0, 2 * REGION)));
        final ReservedSlots refused = fixture.store
                .engines()
                .reserve(
                        flood,
                        StoreFixture.NAMESPACE,
                        StoreFixture.SHARD,
                        StoreFixture.keys(next),
                        new long[] {2 * REGION + 1},
                        0);
        assertEquals(1, refused.tooLong());
        assertEquals(SlotStatus.COMMITTED, flood((int) (2 * REGION)));
    }

    @Test
    void slotsThatAreBeingWrittenLeaveOthersTheirMinimum() throws IOException {
        start(CAPACITY, Map.of("tests", dram(CAPACITY / 2, CAPACITY)));
        final List<SimulatedEngine> processes = new ArrayList<>();
        try {
            int refused = 0;
            for (int i = 0; i < 8; i++) {
                final SimulatedEngine process = new SimulatedEngine(fixture.store, flood.tenant());
                processes.add(process);
                for (int slot = 0; slot < 16; slot++) {
                    final byte[] record =
                            fixture.reserve(process.attachment, LENGTH, next++).slots();
                    refused += record[SlotRecord.STATUS] == SlotStatus.QUOTA ? 1 : 0;
                }
                // Its connection ends, and its lock is held: what it had reserved stays quarantined.
                fixture.store.engines().closeAttachment(process.attachment);
            }
            assertTrue(refused > 0, "all DRAM was given away");
            assertTrue(account("flood").quarantinedBytes() <= CAPACITY / 2);
            storeAll();
            assertAllThere();
        } finally {
            for (final SimulatedEngine process : processes) {
                process.die();
            }
        }
    }

    @Test
    void aLoweredMaximumHoldsFromTheNextStartOn() throws IOException {
        start(CAPACITY, Map.of());
        floodWithTinyObjects(3000);
        assertTrue(account("flood").regionBytes() > CAPACITY / 2);
        stop();
        start(CAPACITY, Map.of("flood", dram(0, CAPACITY / 2)));
        final long left = account("flood").regionBytes();
        assertTrue(left <= CAPACITY / 2 && left > CAPACITY / 2 - REGION, left + " bytes of regions are left");
        assertTrue(account("flood").dramBytes() > 0);
        assertEquals(fixture.store.admin().dramUsedBytes(), account("flood").dramBytes());
    }

    @Test
    void minimumsThatDoNotFitTogetherAreRefusedWithTheNumbers() {
        final StorageException refused = assertThrows(
                StorageException.class,
                () -> start(
                        CAPACITY, Map.of("a", dram(CAPACITY / 2, CAPACITY), "b", dram(CAPACITY / 2 + 1, CAPACITY))));
        assertEquals(
                "tenants: the dram.min of all tenants are 4456448 bytes in whole regions of 262144 (a 2097152, b"
                        + " 2097153), and dram.capacity is 4194304: lower them, or raise dram.capacity",
                refused.getMessage());
    }
}
