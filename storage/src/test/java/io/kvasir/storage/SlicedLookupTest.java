package io.kvasir.storage;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.budget.StoreLimits;
import io.kvasir.storage.lease.LeaseHolder;
import io.kvasir.storage.lookup.LookupAnswer;
import io.kvasir.storage.lookup.LookupQuery;
import io.kvasir.storage.lookup.Resolution;
import io.kvasir.storage.lookup.SlicedLookup;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.HitRule;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.Shard;
import io.kvasir.storage.object.ShardSet;
import io.kvasir.storage.object.SizeClass;
import io.kvasir.storage.object.SlotRecord;
import io.kvasir.storage.object.SlotStatus;
import io.kvasir.storage.object.TierKind;
import io.kvasir.storage.tier.ReservedSlots;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.stream.LongStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** A lookup in slices answers what one in one piece does, whatever others do to the store between its steps. */
class SlicedLookupTest {
    private static final int LENGTH = 4096;
    private static final int OBJECTS = 1500;
    /** Steps in which a lookup of all objects has looked at them. */
    private static final int SLICES = (OBJECTS + StoreLimits.CELLS_IN_A_SLICE - 1) / StoreLimits.CELLS_IN_A_SLICE;

    private static final Shard WINDOW = new Shard(0, 1, 0, 1, 1, 0, 1, 0, 1);
    private static final int[] NO_SHARDS = {};

    private Path arena;
    private StoreFixture fixture;
    private StoreAgent store;

    @BeforeEach
    void open() throws IOException {
        arena = StoreFixture.arenaDirectory();
        fixture = new StoreFixture(new StoreContext()
                .dramDirectory(arena.resolve("arena"))
                .dramCapacity(16 << 20)
                .regionBytes(1 << 20)
                .leaseQuota(0.5));
        store = fixture.store;
    }

    @AfterEach
    void close() throws IOException {
        nothingHeldBut(leasedObjects());
        fixture.close();
        StoreFixture.deleteAll(arena);
    }

    /** Sums of what was stored hold their objects for a moment. */
    private void nothingHeldBut(final long leased) {
        fixture.until("nothing is held", () -> store.admin().heldObjects() == leased);
    }

    private long leasedObjects() {
        return store.admin().leasedBytes() / SizeClass.dramSlotBytes(LENGTH);
    }

    private void storeAll(final Shard shard, final long... numbers) throws IOException {
        for (int from = 0; from < numbers.length; from += 256) {
            final long[] some = java.util.Arrays.copyOfRange(numbers, from, Math.min(numbers.length, from + 256));
            final byte[] keys = StoreFixture.keys(some);
            final long[] length = {LENGTH};
            final ReservedSlots[] reserved = {
                store.engines().reserve(fixture.attachment, StoreFixture.NAMESPACE, shard, keys, length, 0)
            };
            fixture.until("space", () -> {
                if (reserved[0].noRoom() > 0) {
                    reserved[0] = store.engines()
                            .retryReserve(
                                    fixture.attachment, StoreFixture.NAMESPACE, shard, keys, length, 0, reserved[0]);
                }
                return reserved[0].noRoom() == 0;
            });
            for (int i = 0; i < some.length; i++) {
                if (reserved[0].slots()[i * SlotRecord.BYTES] == SlotStatus.GRANTED) {
                    fixture.write(reserved[0].slots(), i, StoreFixture.content(some[i], LENGTH));
                }
            }
            fixture.commit(reserved[0].slots());
        }
    }

    private static LookupQuery query(final boolean peek, final boolean sparse, final long... numbers) {
        return new LookupQuery(StoreFixture.NAMESPACE, StoreFixture.keys(numbers), NO_SHARDS, 0, peek, sparse, 0, 0);
    }

    private static LookupAnswer finish(final SlicedLookup lookup) {
        while (!lookup.step()) {
            // Nobody else uses the store.
        }
        final LookupAnswer result = lookup.result();
        lookup.close();
        return result;
    }

    /** All of it, however large. */
    private void release(final LeaseHolder holder, final long lease) {
        store.engines().release(holder, lease, NO_SHARDS);
        while (!store.engines().letGo(holder)) {
            // The next part.
        }
    }

    private static ObjectId id(final long number) {
        return new ObjectId(StoreFixture.NAMESPACE, Hash256.read(StoreFixture.key(number), 0), StoreFixture.SHARD);
    }

    private static long[] all() {
        return LongStream.range(0, OBJECTS).toArray();
    }

    @Test
    void shouldAnswerTheSameInSlices() throws IOException {
        storeAll(
                StoreFixture.SHARD,
                LongStream.range(0, OBJECTS).filter(i -> i != 1200).toArray());
        storeAll(WINDOW, LongStream.range(0, OBJECTS).filter(i -> i % 40 != 3).toArray());
        final ShardSet hybrid =
                new ShardSet(List.of(StoreFixture.SHARD, WINDOW), Map.of(1, new HitRule.TrailingWindow(8)));
        final LeaseHolder holder = store.engines().openHolder(fixture.tenant, hybrid);
        for (final boolean sparse : new boolean[] {false, true}) {
            for (final boolean peek : new boolean[] {false, true}) {
                final LookupQuery query = query(peek, sparse, all());
                final LookupAnswer whole = store.engines().lookup(holder, query);
                release(holder, whole.lease());
                final LookupAnswer sliced = finish(store.engines().lookupInSlices(holder, query, 0));
                assertTrue(whole.hitChunks() > 1000);
                assertEquals(whole.hitChunks(), sliced.hitChunks());
                assertEquals(whole.pendingChunks(), sliced.pendingChunks());
                assertEquals(whole.plan(), sliced.plan());
                assertArrayEquals(whole.slots(), sliced.slots());
                assertArrayEquals(whole.regions(), sliced.regions());
                assertEquals(peek, sliced.lease() == 0);
                release(holder, sliced.lease());
            }
        }
        store.engines().closeHolder(holder);
    }

    @Test
    void shouldDoABoundedPartInEachStep() throws IOException {
        storeAll(StoreFixture.SHARD, all());
        final SlicedLookup lookup = store.engines().lookupInSlices(fixture.holder, query(false, false, all()), 0);
        int steps = 1;
        while (!lookup.step()) {
            steps++;
        }
        assertTrue(steps >= 4 * (OBJECTS / StoreLimits.CELLS_IN_A_SLICE), "looks, touches, packs and lets go in parts");
        lookup.close();
    }

    /** Others store, remove and look up between the steps: what is told as a hit is leased, and has its bytes. */
    @Test
    void shouldTellOnlyHitsThatAreThereAtItsEnd() throws IOException {
        for (long seed = 0; seed < 30; seed++) {
            final SplittableRandom random = new SplittableRandom(seed);
            final boolean sparse = random.nextBoolean();
            storeAll(StoreFixture.SHARD, all());
            final SlicedLookup lookup = store.engines().lookupInSlices(fixture.holder, query(false, sparse, all()), 0);
            long other = OBJECTS + seed * 10_000;
            long beside = 0;
            do {
                switch (random.nextInt(4)) {
                    case 0 -> store.admin().remove(id(random.nextInt(OBJECTS)));
                    case 1 -> {
                        // Evicts what nobody holds.
                        storeAll(
                                StoreFixture.SHARD,
                                LongStream.range(other, other + 500).toArray());
                        other += 500;
                    }
                    case 2 -> {
                        release(fixture.holder, beside);
                        final long from = random.nextInt(OBJECTS - 400);
                        final long[] some = LongStream.range(from, from + 400).toArray();
                        beside = store.engines()
                                .lookup(fixture.holder, query(false, true, some))
                                .lease();
                    }
                    default -> store.doWork();
                }
            } while (!lookup.step());
            final LookupAnswer result = lookup.result();
            lookup.close();
            int hits = 0;
            for (int i = 0; i < result.slots().length / SlotRecord.BYTES; i++) {
                if (result.slots()[i * SlotRecord.BYTES] == SlotStatus.HIT) {
                    hits++;
                    assertArrayEquals(StoreFixture.content(i, LENGTH), fixture.read(result.slots(), i), "seed " + seed);
                }
            }
            assertEquals(hits, result.hitChunks());
            assertTrue(store.admin().leasedBytes() <= 8 << 20, "within the quota");
            release(fixture.holder, result.lease());
            release(fixture.holder, beside);
            assertEquals(0, store.admin().leases());
            nothingHeldBut(0);
        }
    }

    /** Whenever between its steps others take of the quota. */
    @Test
    void shouldLeaseWithinWhatOthersLeaveOfTheQuota() throws IOException {
        storeAll(StoreFixture.SHARD, all());
        final long[] others = LongStream.range(OBJECTS, OBJECTS + 1000).toArray();
        storeAll(StoreFixture.SHARD, others);
        final long quota = (8 << 20) / SizeClass.dramSlotBytes(LENGTH);
        int cut = 0;
        for (int before = 0; before < 2 * SLICES; before++) {
            final SlicedLookup lookup = stepped(before);
            final LookupAnswer beside = store.engines().lookup(fixture.holder, query(false, false, others));
            final LookupAnswer result = finish(lookup);
            assertTrue(leasedObjects() <= quota, "after " + before + " steps");
            assertEquals(leasedObjects(), beside.hitChunks() + result.hitChunks());
            if (result.hitChunks() < OBJECTS) {
                cut++;
                assertEquals(quota - 1000, result.hitChunks());
                assertTrue(result.quotaRefused());
                assertEquals(0, result.pendingChunks());
            }
            release(fixture.holder, beside.lease());
            release(fixture.holder, result.lease());
        }
        assertTrue(cut > SLICES, "also when all was looked at before");
    }

    @Test
    void shouldNotTellWhatWasRemovedBeforeItWasLeased() throws IOException {
        for (int before = 0; before <= SLICES; before++) {
            storeAll(StoreFixture.SHARD, all());
            final SlicedLookup lookup = stepped(before);
            store.admin().remove(id(700));
            final LookupAnswer result = finish(lookup);
            assertEquals(700, result.hitChunks(), "after " + before + " steps");
            release(fixture.holder, result.lease());
        }
    }

    @Test
    void shouldNotWaitForWhatWasGivenUpMeanwhile() throws IOException {
        storeAll(StoreFixture.SHARD, LongStream.range(0, OBJECTS - 1).toArray());
        for (int before = 0; before <= SLICES; before++) {
            final ReservedSlots reserved = fixture.reserve(LENGTH, OBJECTS - 1);
            final SlicedLookup lookup = stepped(before);
            store.engines().abort(fixture.attachment, reserved.slots());
            final LookupAnswer result = finish(lookup);
            assertEquals(OBJECTS - 1, result.hitChunks());
            // Once it waits it is answered by the wake of what has settled.
            assertTrue(result.pendingChunks() == 0 || before == SLICES, "after " + before + " steps");
            release(fixture.holder, result.lease());
        }
    }

    /** A lookup of everything, so many steps on. */
    private SlicedLookup stepped(final int steps) {
        final SlicedLookup lookup = store.engines().lookupInSlices(fixture.holder, query(false, false, all()), 0);
        for (int i = 0; i < steps; i++) {
            lookup.step();
        }
        return lookup;
    }

    @Test
    void shouldGiveBackTheLeaseThatItReplaces() throws IOException {
        storeAll(StoreFixture.SHARD, all());
        final LookupAnswer first = store.engines().lookup(fixture.holder, query(false, false, all()));
        assertEquals(OBJECTS, first.hitChunks());
        final LookupAnswer second =
                finish(store.engines().lookupInSlices(fixture.holder, query(false, false, all()), first.lease()));
        assertEquals(OBJECTS, second.hitChunks(), "its quota is free for this one");
        assertNull(StoreFixture.resolve(store, fixture.holder, first.lease()));
        assertEquals(1, store.admin().leases());
    }

    @Test
    void shouldResolveAWideLeaseInSteps() throws IOException {
        storeAll(StoreFixture.SHARD, all());
        final LookupAnswer found = store.engines().lookup(fixture.holder, query(false, false, all()));
        final Resolution resolution = store.engines().resolve(fixture.holder, found.lease(), NO_SHARDS);
        int steps = 1;
        while (!resolution.step()) {
            steps++;
        }
        assertTrue(steps >= SLICES, steps + " steps");
        assertArrayEquals(found.slots(), resolution.result().slots());
        assertArrayEquals(found.regions(), resolution.result().regions());
    }

    @Test
    void shouldResolveNothingOfALeaseThatEndsBetweenTwoSteps() throws IOException {
        storeAll(StoreFixture.SHARD, all());
        final LookupAnswer found = store.engines().lookup(fixture.holder, query(false, false, all()));
        final Resolution resolution = store.engines().resolve(fixture.holder, found.lease(), NO_SHARDS);
        assertFalse(resolution.step());
        release(fixture.holder, found.lease());
        assertTrue(resolution.step());
        assertNull(resolution.result());
    }

    @Test
    void shouldCountTheHitsOfAWideAnswerInParts() throws IOException {
        storeAll(StoreFixture.SHARD, all());
        for (final long number : all()) {
            store.dram().came(entry(number), TierKind.SSD);
        }
        final LookupAnswer found = store.engines().lookup(fixture.holder, query(false, false, all()));
        store.engines().answered(fixture.holder, found);
        assertEquals(TierKind.SSD, store.dram().origin(entry(OBJECTS - 1)), "an answer has a bounded cost");
        for (int turn = 0; turn < SLICES; turn++) {
            store.doWork();
        }
        for (final long number : all()) {
            assertEquals(TierKind.DRAM, store.dram().origin(entry(number)), "object " + number);
        }
    }

    private int entry(final long number) {
        return store.dram()
                .find(id(number).namespace(), id(number).key(), id(number).shard());
    }

    @Test
    void shouldLeaveNothingWhenItIsGivenUp() throws IOException {
        storeAll(StoreFixture.SHARD, all());
        for (int most = 0; most < 40; most++) {
            final SlicedLookup lookup = store.engines().lookupInSlices(fixture.holder, query(false, false, all()), 0);
            assertNotNull(lookup);
            boolean done = false;
            for (int i = 0; i < most && !done; i++) {
                done = lookup.step();
            }
            if (done) {
                release(fixture.holder, lookup.result().lease());
            }
            lookup.close();
            nothingHeldBut(0);
            assertEquals(0, store.admin().leases());
        }
    }

    /** So a tenant's wide lookups delay those of others no longer than their turns do. */
    @Test
    void shouldHaveOneOfEachTenantUnderWay() throws IOException {
        storeAll(StoreFixture.SHARD, all());
        final LeaseHolder other = store.engines()
                .openHolder(store.engines().openTenant("another", -1), new ShardSet(List.of(WINDOW), Map.of()));
        final SlicedLookup first = store.engines().lookupInSlices(fixture.holder, query(true, false, all()), 0);
        assertTrue(!store.engines().canSlice(fixture.holder));
        assertNull(store.engines().lookupInSlices(fixture.holder, query(true, false, all()), 0));
        assertTrue(store.engines().canSlice(other));
        final SlicedLookup second = store.engines().lookupInSlices(other, query(true, true, all()), 0);
        boolean done = false;
        while (!done) {
            final boolean firstDone = first.step();
            done = second.step() && firstDone;
        }
        assertEquals(OBJECTS, first.result().hitChunks());
        assertEquals(0, second.result().hitChunks());
        first.close();
        assertTrue(store.engines().canSlice(fixture.holder));
        second.close();
    }

    @Test
    void shouldWaitForWhatIsBeingWritten() throws IOException {
        storeAll(StoreFixture.SHARD, LongStream.range(0, OBJECTS - 1).toArray());
        final ReservedSlots reserved = fixture.reserve(LENGTH, OBJECTS - 1);
        final SlicedLookup lookup = store.engines().lookupInSlices(fixture.holder, query(false, false, all()), 0);
        while (!lookup.step()) {
            // Nobody else uses the store.
        }
        assertEquals(OBJECTS - 1, lookup.result().hitChunks());
        assertEquals(1, lookup.result().pendingChunks());
        final boolean[] woken = {false};
        assertNotEquals(0, lookup.whenSettled(() -> woken[0] = true));
        final long lease = lookup.result().lease();
        lookup.close();
        fixture.commit(reserved.slots());
        fixture.until("woken", () -> woken[0]);
        assertEquals(
                OBJECTS,
                finish(store.engines().lookupInSlices(fixture.holder, query(false, false, all()), lease))
                        .hitChunks());
    }
}
