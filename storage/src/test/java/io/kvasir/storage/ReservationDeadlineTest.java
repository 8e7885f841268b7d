package io.kvasir.storage;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.lookup.LookupQuery;
import io.kvasir.storage.object.RegionInfo;
import io.kvasir.storage.object.SlotRecord;
import io.kvasir.storage.object.SlotStatus;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import org.agrona.concurrent.CachedNanoClock;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** A writer that reserves and falls silent, in real shared memory; the clock is the test's. */
class ReservationDeadlineTest {
    private static final int MIB = 1 << 20;
    private static final Duration DEADLINE = Duration.ofSeconds(60);
    private final CachedNanoClock clock = new CachedNanoClock();
    private Path directory;
    private StoreFixture fixture;
    /** Another engine of the tenant. */
    private SimulatedEngine other;

    @BeforeEach
    void open() throws IOException {
        directory = StoreFixture.arenaDirectory();
        fixture = new StoreFixture(context());
        other = new SimulatedEngine(fixture.store, fixture.tenant);
    }

    @AfterEach
    void close() throws IOException {
        other.die();
        fixture.close();
        StoreFixture.deleteAll(directory);
    }

    private StoreContext context() {
        return new StoreContext()
                .dramDirectory(directory.resolve("arena"))
                .dramCapacity(32 * MIB)
                .regionBytes(8 * MIB)
                .reserveQuotaBytes(4 * MIB)
                .reserveDeadline(DEADLINE)
                .nanoClock(clock);
    }

    private void pass(final Duration time) {
        clock.update(clock.nanoTime() + time.toNanos());
        fixture.store.doWork();
    }

    private void passDeadline() {
        pass(DEADLINE.plusMillis(200));
    }

    @Test
    void shouldLetOthersStoreWhatAStuckWriterReserved() throws IOException {
        final byte[] stuck = fixture.reserve(MIB, 1).slots();
        pass(DEADLINE.minusSeconds(1));
        assertEquals(
                SlotStatus.IN_FLIGHT, fixture.reserve(other.attachment, MIB, 1).slots()[SlotRecord.STATUS]);
        assertEquals(0, fixture.store.admin().quarantinedBytes());
        pass(Duration.ofSeconds(2));
        assertEquals(MIB, fixture.store.admin().quarantinedBytes());
        assertEquals(1, fixture.store.admin().counters().reservationsOverdue.sum());
        assertFalse(fixture.store.engines().isInUse());

        final byte[] slots = fixture.reserve(other.attachment, MIB, 1).slots();
        assertEquals(SlotStatus.GRANTED, slots[SlotRecord.STATUS]);
        other.write(region(slots), slots, StoreFixture.content(1, MIB));
        // The first writer wakes, and its copy harms nobody.
        fixture.write(stuck, 0, StoreFixture.content(2, MIB));
        assertEquals(
                SlotStatus.COMMITTED,
                fixture.store.engines().commit(other.attachment, slots, none(), none(), new int[0], 0, 0)[0]);
        assertEquals(SlotStatus.NOT_RESERVED, fixture.commit(stuck)[0]);
        assertArrayEquals(StoreFixture.content(1, MIB), fixture.load(1));
        // It has said that its copy stopped, so its slot is free again, once.
        assertEquals(0, fixture.store.admin().quarantinedBytes());
        assertEquals(SlotStatus.NOT_RESERVED, fixture.commit(stuck)[0]);
        assertEquals(SlotStatus.NOT_RESERVED, fixture.store.engines().abort(fixture.attachment, stuck)[0]);
        assertEquals(MIB, fixture.store.admin().dramUsedBytes());
    }

    @Test
    void shouldNotKeepADeadlineForEachCall() {
        for (int i = 0; i < 500; i++) {
            fixture.reserve(4096, i);
        }
        assertEquals(1, fixture.store.deadlines());
        pass(Duration.ofSeconds(2));
        fixture.reserve(4096, 500);
        assertEquals(2, fixture.store.deadlines());
        pass(DEADLINE.minusSeconds(1));
        assertEquals(500, fixture.store.admin().counters().reservationsOverdue.sum());
        assertEquals(1, fixture.store.deadlines());
    }

    @Test
    void shouldWakeWhoWaitsForAWriterThatFellSilent() {
        fixture.reserve(MIB, 1);
        final LookupQuery query = fixture.query(false, 1);
        assertEquals(1, fixture.store.engines().lookup(other.holder, query).pendingChunks());
        final boolean[] woken = {false};
        assertNotEquals(0, fixture.store.engines().whenSettled(other.holder, query, () -> woken[0] = true));
        pass(DEADLINE.minusSeconds(1));
        assertFalse(woken[0]);
        passDeadline();
        assertTrue(woken[0]);
        assertEquals(0, fixture.store.engines().lookup(other.holder, query).pendingChunks());
        assertEquals(0, fixture.store.admin().waits());
    }

    @Test
    void shouldKeepTheSlotAsLongAsItsProcessMayWrite() throws IOException {
        final byte[] stuck = fixture.reserve(MIB, 1, 2).slots();
        passDeadline();
        assertEquals(2 * MIB, fixture.store.admin().quarantinedBytes());
        // It counts for the quota of who may still write there.
        assertEquals(SlotStatus.QUOTA, fixture.reserve(MIB, 3, 4, 5).slots()[2 * SlotRecord.BYTES]);
        fixture.store.engines().closeAttachment(fixture.attachment);
        assertEquals(4 * MIB, fixture.store.admin().quarantinedBytes());
        // A late word for one of them, as the attachment that is known still.
        assertEquals(
                SlotStatus.NOT_RESERVED,
                fixture.store.engines().abort(fixture.attachment, Arrays.copyOf(stuck, SlotRecord.BYTES))[0]);
        assertEquals(3 * MIB, fixture.store.admin().quarantinedBytes());
        fixture.killEngine();
        fixture.until("the lock is free", () -> {
            pass(Duration.ofMillis(150));
            return fixture.store.admin().quarantinedBytes() == 0;
        });
        assertEquals(0, fixture.store.admin().dramUsedBytes());
    }

    @Test
    void shouldForgetTheDeadlineOfWhatWasCommittedOrAborted() throws IOException {
        final byte[] slots = fixture.reserve(MIB, 1, 2).slots();
        assertEquals(SlotStatus.COMMITTED, fixture.commit(Arrays.copyOf(slots, SlotRecord.BYTES))[0]);
        final byte[] second = Arrays.copyOfRange(slots, SlotRecord.BYTES, 2 * SlotRecord.BYTES);
        assertEquals(SlotStatus.ABORTED, fixture.store.engines().abort(fixture.attachment, second)[0]);
        // Its slot is reserved again, by the same process and with a later deadline.
        pass(DEADLINE.minusSeconds(1));
        final byte[] third = fixture.reserve(MIB, 3).slots();
        pass(Duration.ofSeconds(2));
        assertEquals(0, fixture.store.admin().quarantinedBytes());
        assertEquals(SlotStatus.COMMITTED, fixture.commit(third)[0]);
        passDeadline();
        assertEquals(0, fixture.store.admin().counters().reservationsOverdue.sum());
        assertEquals(2 * MIB, fixture.store.admin().dramUsedBytes());
    }

    @Test
    void shouldStayQuarantinedOverARestart() throws IOException {
        fixture.reserve(MIB, 1);
        passDeadline();
        fixture.killNode();
        final StoreFixture next = new StoreFixture(context());
        assertEquals(MIB, next.store.admin().quarantinedBytes());
        fixture.killEngine();
        next.until("the lock is free", () -> {
            clock.update(clock.nanoTime() + 150_000_000);
            return next.store.admin().quarantinedBytes() == 0;
        });
        fixture = next;
    }

    private RegionInfo region(final byte[] slots) {
        return fixture.store.engines().region(StoreFixture.record(slots, 0).getInt(SlotRecord.REGION));
    }

    private static byte[] none() {
        return new byte[0];
    }
}
