package io.kvasir.storage;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.lookup.LookupAnswer;
import io.kvasir.storage.move.MovePriority;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.SlotRecord;
import io.kvasir.storage.object.SlotStatus;
import io.kvasir.storage.tier.ReservedSlots;
import io.kvasir.storage.tier.ssd.SsdTier;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.LongStream;
import java.util.zip.CRC32C;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** A full DRAM above an SSD: what is demoted stays there, and what is there comes back. */
class FullSsdTest {
    private static final int SMALL = 64 << 10;
    private static final int LARGE = 256 << 10;
    private static final int REGION = 1 << 20;
    private static final int DRAM_BYTES = 8 * REGION;
    private static final int LARGE_IN_DRAM = DRAM_BYTES / LARGE;
    private static final long SSD_BYTES = 64L << 20;
    /** An object that is on SSD only. */
    private static final long DURABLE = 0;

    private Path arena;
    private Path disk;
    private StoreFixture fixture;

    @BeforeEach
    void open() throws IOException {
        arena = StoreFixture.arenaDirectory();
        disk = Files.createTempDirectory("kvasir-test-ssd-");
        open(context());
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
                .dramCapacity(DRAM_BYTES)
                .regionBytes(REGION)
                .reserveQuotaBytes(DRAM_BYTES)
                .ssd(new SsdTier.Context().directory(disk).capacityBytes(SSD_BYTES));
    }

    private void open(final StoreContext context) throws IOException {
        fixture = new StoreFixture(context);
        fixture.until("SSD warm", fixture.store.admin()::isSsdWarm);
    }

    /** The machine starts anew: what was in DRAM is gone. */
    private void openWithoutDram(final StoreContext context) throws IOException {
        fixture.close();
        StoreFixture.deleteAll(arena);
        Files.createDirectories(arena);
        open(context);
    }

    private static ObjectId id(final long number) {
        return new ObjectId(StoreFixture.NAMESPACE, Hash256.read(StoreFixture.key(number), 0), StoreFixture.SHARD);
    }

    private boolean isOnSsd(final long number) {
        return fixture.store.admin().ssd().contains(id(number));
    }

    /** Waits for space as an engine does. */
    private void storeAll(final long from, final long count, final int length) throws IOException {
        for (long number = from; number < from + count; number++) {
            assertEquals(SlotStatus.COMMITTED, fixture.store(number, length));
        }
    }

    private void storeDurably() throws IOException {
        storeAll(DURABLE, LARGE_IN_DRAM, LARGE);
        fixture.until("the coldest object is on SSD", () -> isOnSsd(DURABLE));
    }

    private byte reserve(final long number, final int length) {
        return reserved(number, length).slots()[SlotRecord.STATUS];
    }

    private ReservedSlots reserved(final long number, final int length) {
        return fixture.store
                .engines()
                .reserve(
                        fixture.attachment,
                        StoreFixture.NAMESPACE,
                        StoreFixture.SHARD,
                        StoreFixture.keys(number),
                        new long[] {length},
                        0);
    }

    private LookupAnswer lookup(final long number) {
        return fixture.store.engines().lookup(fixture.holder, fixture.query(false, number));
    }

    /** Objects of one size fill the SSD, then those of another size DRAM: the SSD has few slots for these at first. */
    @Test
    void shouldNotWriteTheSameObjectsToSsdAgainAndAgain() throws IOException {
        storeAll(0, SSD_BYTES / SMALL, SMALL);
        openWithoutDram(context());
        storeAll(100_000, LARGE_IN_DRAM, LARGE);
        fixture.until("the colder half of DRAM is on SSD, all of it at once", () -> {
            final long demoted = fixture.store.admin().counters().demoted.sum();
            assertTrue(demoted <= 2 * LARGE_IN_DRAM, demoted + " demotions after " + LARGE_IN_DRAM + " stores");
            return LongStream.range(0, LARGE_IN_DRAM / 2).allMatch(i -> isOnSsd(100_000 + i));
        });
        assertTrue(fixture.store.admin().ssdMetrics().evicted.sum() > 0, "the SSD is full");
    }

    /** Objects of another size become durable all the time, which frees no slot of the size that is asked for. */
    @Test
    void shouldFetchWhatIsOnSsdThoughDemotionFreesNothingForIt() throws IOException {
        storeDurably();
        // Without a sum an object is not demoted; those that come with theirs are.
        openWithoutDram(context()
                .workers(name -> name.equals("kvasir-checksums") ? new HandDrivenWorker() : StoreContext.thread(name)));
        for (int i = 0; i < REGION / SMALL; i++) {
            commitSummed(1000 + i, fixture.reserve(SMALL, 1000 + i).slots());
        }
        storeAll(2000, LARGE_IN_DRAM - REGION / LARGE, LARGE);
        final long[] next = {3000};
        fixture.until("it is a hit", () -> {
            storeSummed(next[0]++);
            final LookupAnswer found = lookup(DURABLE);
            assertTrue(found.hitChunks() + found.pendingChunks() > 0, "a miss, though it is on SSD");
            return found.hitChunks() == 1;
        });
        assertArrayEquals(StoreFixture.content(DURABLE, LARGE), fixture.load(DURABLE));
    }

    private void storeSummed(final long number) {
        final ReservedSlots slot = reserved(number, SMALL);
        if (slot.slots()[SlotRecord.STATUS] == SlotStatus.GRANTED) {
            commitSummed(number, slot.slots());
        }
    }

    private void commitSummed(final long number, final byte[] slot) {
        final byte[] content = StoreFixture.content(number, SMALL);
        final CRC32C sum = new CRC32C();
        sum.update(content);
        try {
            fixture.write(slot, 0, content);
        } catch (final IOException e) {
            throw new AssertionError(e);
        }
        fixture.store
                .engines()
                .commit(
                        fixture.attachment,
                        slot,
                        new byte[0],
                        ByteBuffer.allocate(Integer.BYTES)
                                .order(ByteOrder.LITTLE_ENDIAN)
                                .putInt((int) sum.getValue())
                                .array(),
                        new int[0],
                        0,
                        0);
    }

    @Test
    void shouldFetchWhatIsOnSsdThoughAllOfItsSizeIsLeased() throws IOException {
        storeDurably();
        openWithoutDram(context());
        final int leased = REGION / LARGE;
        storeAll(1000, leased, LARGE);
        for (int i = 0; i < leased; i++) {
            assertEquals(1, lookup(1000 + i).hitChunks());
        }
        storeAll(2000, (DRAM_BYTES - REGION) / SMALL, SMALL);
        assertArrayEquals(StoreFixture.content(DURABLE, LARGE), fixture.load(DURABLE));
    }

    @Test
    void shouldLeaveAFreeSlotToAFetchThatWaitsForIt() throws IOException {
        storeDurably();
        final long nowNs = System.nanoTime();
        openWithoutDram(context().nanoClock(() -> nowNs));
        final byte[] all = fixture.reserve(
                        LARGE, LongStream.range(1000, 1000 + LARGE_IN_DRAM).toArray())
                .slots();
        assertEquals(1, lookup(DURABLE).pendingChunks());
        abort(all, 0);
        assertEquals(SlotStatus.NO_ROOM, reserve(2000, LARGE));
        assertArrayEquals(StoreFixture.content(DURABLE, LARGE), fixture.load(DURABLE));
        abort(all, 1);
        assertEquals(SlotStatus.GRANTED, reserve(2000, LARGE));
    }

    /** What waits for space has the order that it has in the mover, though it waits in several places. */
    @Test
    void shouldBringWhatSomebodyWaitsForBeforeWhatNobodyDoes() throws IOException {
        storeDurably();
        fixture.until("three are on SSD", () -> LongStream.range(0, 3).allMatch(i -> isOnSsd(DURABLE + i)));
        final long[] nowNs = {System.nanoTime()};
        openWithoutDram(context().nanoClock(() -> nowNs[0]));
        fixture.store.engines().rememberNamespace(StoreFixture.NAMESPACE, fixture.tenant.name(), new byte[0]);
        final byte[] all = fixture.reserve(
                        LARGE, LongStream.range(1000, 1000 + LARGE_IN_DRAM).toArray())
                .slots();
        final List<Long> came = new ArrayList<>();
        final List<Lent> lent = new ArrayList<>();
        lend(DURABLE, MovePriority.BACKGROUND_LOAD, nowNs[0], came, lent);
        lend(DURABLE + 1, MovePriority.BACKGROUND_LOAD, nowNs[0], came, lent);
        lend(DURABLE + 2, MovePriority.LOAD, nowNs[0], came, lent);
        for (int i = 0; i < 3; i++) {
            final int next = i + 1;
            abort(all, i);
            fixture.until("the next one came", () -> {
                nowNs[0] += 100_000;
                return came.size() == next;
            });
        }
        assertEquals(List.of(DURABLE + 2, DURABLE, DURABLE + 1), came);
        lent.forEach(Lent::giveBack);
    }

    private void lend(
            final long number,
            final MovePriority priority,
            final long nowNs,
            final List<Long> came,
            final List<Lent> lent) {
        fixture.store.peers().lend(id(number), priority, nowNs + 60_000_000_000L, object -> {
            assertNotNull(object);
            came.add(number);
            lent.add(object);
        });
    }

    private void abort(final byte[] records, final int i) {
        final int at = i * SlotRecord.BYTES;
        fixture.store.engines().abort(fixture.attachment, Arrays.copyOfRange(records, at, at + SlotRecord.BYTES));
    }
}
