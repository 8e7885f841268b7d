package io.kvasir.storage;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.lease.LeaseHolder;
import io.kvasir.storage.lookup.LookupAnswer;
import io.kvasir.storage.lookup.LookupQuery;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.HitRule;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.PlanRange;
import io.kvasir.storage.object.Shard;
import io.kvasir.storage.object.ShardSet;
import io.kvasir.storage.object.SizeClass;
import io.kvasir.storage.object.SlotRecord;
import io.kvasir.storage.object.SlotStatus;
import io.kvasir.storage.tier.ReservedSlots;
import io.kvasir.storage.tier.ssd.SsdTier;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.LongStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What a lookup answers when the lease quota has no space for all that it found: only what it leased is a hit. */
class LookupQuotaTest {
    private static final int LENGTH = 64 * 1024;
    /** Every chunk. */
    private static final Shard FULL = new Shard(0, 1, 0, 1, 0, 0, 1, 0, 1);
    /** The last two chunks. */
    private static final Shard WINDOW = new Shard(0, 1, 0, 1, 1, 0, 1, 0, 1);

    private static final ShardSet HYBRID =
            new ShardSet(List.of(FULL, WINDOW), Map.of(1, new HitRule.TrailingWindow(2)));

    private Path arena;
    private Path disk;
    private StoreFixture fixture;

    @BeforeEach
    void open() throws IOException {
        arena = StoreFixture.arenaDirectory();
        disk = Files.createTempDirectory("kvasir-test-ssd-");
        fixture = new StoreFixture(context());
    }

    private StoreContext context() {
        return new StoreContext()
                .dramDirectory(arena.resolve("arena"))
                .dramCapacity(8 << 20)
                .regionBytes(1 << 20)
                .leaseQuota(0.25);
    }

    @AfterEach
    void close() throws IOException {
        fixture.close();
        StoreFixture.deleteAll(arena);
        StoreFixture.deleteAll(disk);
    }

    private void store(final Shard shard, final long... numbers) {
        for (final long number : numbers) {
            final byte[] key = StoreFixture.key(number);
            final long[] length = {LENGTH};
            final ReservedSlots[] reserved = {
                fixture.store.engines().reserve(fixture.attachment, StoreFixture.NAMESPACE, shard, key, length, 0)
            };
            fixture.until("space", () -> {
                if (reserved[0].noRoom() > 0) {
                    reserved[0] = fixture.store
                            .engines()
                            .retryReserve(
                                    fixture.attachment, StoreFixture.NAMESPACE, shard, key, length, 0, reserved[0]);
                }
                return reserved[0].noRoom() == 0;
            });
            assertEquals(SlotStatus.COMMITTED, fixture.commit(reserved[0].slots())[0]);
        }
    }

    private LookupAnswer lookup(final LeaseHolder holder, final boolean sparse, final long... numbers) {
        return fixture.store
                .engines()
                .lookup(
                        holder,
                        new LookupQuery(
                                StoreFixture.NAMESPACE,
                                StoreFixture.keys(numbers),
                                new int[0],
                                0,
                                false,
                                sparse,
                                0,
                                0));
    }

    private static byte status(final LookupAnswer result, final int record) {
        return StoreFixture.record(result.slots(), record).get(SlotRecord.STATUS);
    }

    private static long count(final LookupAnswer result, final byte status) {
        return LongStream.range(0, result.slots().length / SlotRecord.BYTES)
                .filter(i -> status(result, (int) i) == status)
                .count();
    }

    private static int planned(final LookupAnswer result, final byte status) {
        return result.plan().stream()
                .filter(range -> range.status() == status)
                .mapToInt(PlanRange::chunks)
                .sum();
    }

    private long leasedBytes(final LeaseHolder holder, final LookupAnswer result) {
        final LookupAnswer resolved = StoreFixture.resolve(fixture.store, holder, result.lease());
        return count(resolved, SlotStatus.HIT) * LENGTH;
    }

    @Test
    void shouldNotChargeAllSessionsForWhatOneOfThemHasLeased() {
        final long[] numbers = LongStream.range(0, 81).toArray();
        store(FULL, numbers);
        final long[] first = Arrays.copyOfRange(numbers, 0, 32);
        assertEquals(32, lookup(holder(), false, first).hitChunks());
        assertEquals(
                32, lookup(holder(), false, Arrays.copyOfRange(numbers, 32, 64)).hitChunks());
        assertEquals(
                16, lookup(holder(), false, Arrays.copyOfRange(numbers, 64, 81)).hitChunks(), "all may have 80");
        final LeaseHolder last = holder();
        assertEquals(32, lookup(last, false, first).hitChunks());
        assertEquals(0, lookup(last, false, 80).hitChunks());
        assertEquals(80 * SizeClass.slotBytes(LENGTH), fixture.store.admin().leasedBytes());
    }

    private LeaseHolder holder() {
        return fixture.store.engines().openHolder(fixture.tenant, new ShardSet(List.of(FULL), Map.of()));
    }

    /** 40 chunks of two groups; the window of the longest prefix is there, those of shorter ones only in part. */
    @Test
    void shouldAnswerAPrefixWhoseOwnWindowIsLeased() {
        final LeaseHolder hybrid = fixture.store.engines().openHolder(fixture.tenant, HYBRID);
        store(FULL, LongStream.range(0, 40).toArray());
        store(WINDOW, 0, 1, 2, 3, 4, 5, 10, 11, 38, 39);
        final long[] all = LongStream.range(0, 40).toArray();
        final LookupAnswer found = lookup(hybrid, false, all);
        assertEquals(12, found.hitChunks(), "the longest that fits 2 MiB and has its window");
        assertTrue(found.quotaRefused());
        assertEquals(0, found.pendingChunks());
        assertEquals(12, planned(found, SlotStatus.HIT));
        assertEquals(28, planned(found, SlotStatus.MISS));
        for (int chunk = 0; chunk < 12; chunk++) {
            assertEquals(SlotStatus.HIT, status(found, 2 * chunk));
            assertEquals(chunk < 10 ? SlotStatus.NOT_NEEDED : SlotStatus.HIT, status(found, 2 * chunk + 1));
        }
        assertEquals(14L * LENGTH, leasedBytes(hybrid, found));
        fixture.store.engines().closeHolder(hybrid);
    }

    @Test
    void shouldCountOfASparseLookupWhatItLeased() {
        final long[] all = LongStream.range(0, 64).toArray();
        store(FULL, all);
        final LookupAnswer found = lookup(fixture.holder, true, all);
        final long fit = (2 << 20) / SizeClass.dramSlotBytes(LENGTH);
        assertEquals(fit, found.hitChunks());
        assertEquals(fit, count(found, SlotStatus.HIT));
        assertEquals(64 - fit, count(found, SlotStatus.MISS));
        assertEquals(fit, planned(found, SlotStatus.HIT));
        assertEquals(fit * LENGTH, leasedBytes(fixture.holder, found));
        assertTrue(found.quotaRefused());
        final LookupAnswer again = lookup(fixture.holder, true, 1, 2);
        assertEquals(2, again.hitChunks(), "bytes that the session has leased count once");
        final LookupAnswer nothing = lookup(fixture.holder, true, 62, 63);
        assertEquals(0, nothing.hitChunks());
        assertEquals(0, nothing.lease());
        assertEquals(0, count(nothing, SlotStatus.HIT));
    }

    /** A chunk is no hit while a shard of it is missing; its other shards are leased all the same where they say HIT. */
    @Test
    void shouldLeaseEveryRecordThatSaysHit() {
        final ShardSet two = new ShardSet(List.of(FULL, WINDOW), Map.of());
        final LeaseHolder both = fixture.store.engines().openHolder(fixture.tenant, two);
        store(FULL, 1, 2, 3);
        final LookupAnswer found = lookup(both, true, 1, 2, 3);
        assertEquals(0, found.hitChunks());
        assertEquals(3, count(found, SlotStatus.HIT));
        assertNotEquals(0, found.lease());
        assertEquals(3L * LENGTH, leasedBytes(both, found));
        fixture.store.engines().closeHolder(both);
    }

    @Test
    void shouldNotWaitForWhatItCouldNotLease() throws IOException {
        fixture.close();
        StoreFixture.deleteAll(arena);
        Files.createDirectories(arena);
        fixture = new StoreFixture(
                context().ssd(new SsdTier.Context().directory(disk).capacityBytes(64 << 20)));
        fixture.until("SSD warm", fixture.store.admin()::isSsdWarm);
        for (long number = 0; number < 400; number++) {
            final long stored = number;
            assertEquals(SlotStatus.COMMITTED, fixture.store(number, LENGTH));
            fixture.until(
                    "demotion keeps up",
                    () -> stored < 64
                            || fixture.store.admin().counters().demoted.sum() > stored - 64);
        }
        final long[] cold = LongStream.range(0, 100).toArray();
        for (final long number : cold) {
            final ObjectId id = new ObjectId(StoreFixture.NAMESPACE, Hash256.read(StoreFixture.key(number), 0), FULL);
            assertTrue(fixture.store.peers().holds(id));
        }
        final LookupAnswer first = lookup(fixture.holder, false, cold);
        final long fit = (2 << 20) / SizeClass.dramSlotBytes(LENGTH);
        assertEquals(fit, first.hitChunks() + first.pendingChunks(), "pending is what may be leased when it is here");
        assertEquals(first.pendingChunks(), planned(first, SlotStatus.PENDING));
        fixture.store.engines().release(fixture.holder, first.lease(), new int[0]);
        final LookupAnswer arrived = fixture.lookup(cold);
        assertEquals(fit, arrived.hitChunks());
        assertEquals(0, arrived.pendingChunks());
        final LookupAnswer beside = lookup(fixture.holder, false, cold);
        assertEquals(fit, beside.hitChunks(), "bytes that the session has leased count once");
        assertEquals(0, beside.pendingChunks(), "nothing to wait for while the quota is used up");
        assertFalse(beside.plan().isEmpty());
        assertArrayEquals(StoreFixture.content(0, LENGTH), fixture.read(arrived.slots(), 0));
    }
}
