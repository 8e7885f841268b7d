package io.kvasir.storage;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.locks.LockSupport;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;

/**
 * Random engines against a simple model. The model knows which objects are reserved, were ever committed, and are
 * leased; it does not know eviction. What must hold: bytes are right or a miss, a leased object stays, a slot has one
 * object, a stamp never returns, the capacity is kept, and a restart loses nothing.
 */
class ObjectStoreModelTest {
    private static final int KIB = 1024;
    private static final int ROOM_TRIES = 100;
    private static final int OBJECTS = 60;
    private static final int[] LENGTHS = {1, 4 * KIB, 5 * KIB, 64 * KIB, 100 * KIB, 48 * KIB};

    /** One step of an engine; numbers are taken modulo what there is. */
    enum Step {
        RESERVE,
        COMMIT,
        ABORT,
        LOAD,
        LEASE,
        RELEASE,
        RESTART,
        COMMIT_TWICE,
        WORK
    }

    record Action(Step step, int object) {}

    @Provide
    Arbitrary<List<Action>> actions() {
        final Arbitrary<Step> steps = Arbitraries.frequency(
                net.jqwik.api.Tuple.of(30, Step.RESERVE),
                net.jqwik.api.Tuple.of(25, Step.COMMIT),
                net.jqwik.api.Tuple.of(6, Step.ABORT),
                net.jqwik.api.Tuple.of(8, Step.LOAD),
                net.jqwik.api.Tuple.of(6, Step.LEASE),
                net.jqwik.api.Tuple.of(2, Step.RELEASE),
                net.jqwik.api.Tuple.of(1, Step.RESTART),
                net.jqwik.api.Tuple.of(3, Step.COMMIT_TWICE),
                net.jqwik.api.Tuple.of(5, Step.WORK));
        return Combinators.combine(steps, Arbitraries.integers().between(0, OBJECTS - 1))
                .as(Action::new)
                .list()
                .ofMinSize(300)
                .ofMaxSize(500);
    }

    @Example
    void shouldKeepItsPromisesForKeptSeeds() throws IOException {
        try (InputStream file = ObjectStoreModelTest.class.getResourceAsStream("model-seeds.txt")) {
            final List<Long> seeds = new String(file.readAllBytes(), StandardCharsets.UTF_8)
                    .lines()
                    .filter(line -> !line.startsWith("#"))
                    .map(Long::valueOf)
                    .toList();
            assertFalse(seeds.isEmpty());
            for (final long seed : seeds) {
                shouldKeepItsPromises(
                        actions().generator(1000).next(new Random(seed)).value());
            }
        }
    }

    @Property(tries = 40)
    void shouldKeepItsPromises(@ForAll("actions") final List<Action> actions) throws IOException {
        final Path directory = StoreFixture.arenaDirectory();
        final Model model = new Model(directory);
        try {
            for (final Action action : actions) {
                model.run(action);
            }
            model.finish();
        } finally {
            model.fixture.close();
            StoreFixture.deleteAll(directory);
        }
    }

    private static int length(final int object) {
        return LENGTHS[object % LENGTHS.length];
    }

    /** The simple truth beside the store. */
    private static final class Model {
        private final Path directory;
        private final Map<Integer, byte[]> reserved = new TreeMap<>();
        private final Set<Integer> everCommitted = new HashSet<>();
        private final List<Leased> leased = new ArrayList<>();
        private final Map<Long, Long> lastStamp = new HashMap<>();
        private StoreFixture fixture;

        private record Leased(int object, long lease, byte[] slots) {}

        Model(final Path directory) throws IOException {
            this.directory = directory;
            fixture = new StoreFixture(context());
        }

        private StoreContext context() {
            return new StoreContext()
                    .dramDirectory(directory.resolve("arena"))
                    .dramCapacity(1 << 20)
                    .regionBytes(64 * KIB);
        }

        void run(final Action action) throws IOException {
            final int object = action.object;
            switch (action.step) {
                case RESERVE -> reserve(object);
                case COMMIT -> commit();
                case COMMIT_TWICE -> commitTwice();
                case ABORT -> abort();
                case LOAD -> load(object);
                case LEASE -> lease(object);
                case RELEASE -> release();
                case RESTART -> restart();
                case WORK -> fixture.store.doWork();
            }
            assertTrue(fixture.store.dramUsedBytes() <= fixture.store.dramCapacityBytes(), "capacity");
        }

        private void reserve(final int object) {
            ObjectStore.ReserveResult result = tryReserve(object);
            for (int i = 0; i < ROOM_TRIES && result.noRoom() > 0; i++) {
                if (fixture.store.doWork() == 0) {
                    LockSupport.parkNanos(50_000);
                }
                result = tryReserve(object);
            }
            switch (result.slots()[SlotRecord.STATUS]) {
                case SlotStatus.GRANTED -> {
                    assertNull(reserved.get(object), "one writer");
                    claim(result.slots());
                    reserved.put(object, result.slots());
                }
                case SlotStatus.IN_FLIGHT -> assertNotNull(reserved.get(object), "in flight is reserved");
                case SlotStatus.EXISTS -> assertTrue(everCommitted.contains(object), "what exists was committed");
                default -> assertTrue(result.slots()[0] == SlotStatus.NO_ROOM || result.slots()[0] == SlotStatus.QUOTA);
            }
        }

        private ObjectStore.ReserveResult tryReserve(final int object) {
            return fixture.store.reserve(
                    fixture.attachment,
                    StoreFixture.NAMESPACE,
                    StoreFixture.SHARD,
                    StoreFixture.key(object),
                    new long[] {length(object)},
                    0);
        }

        /** The slot is nobody else's, and its stamp is newer than any before. */
        private void claim(final byte[] slots) {
            final ByteBuffer record = StoreFixture.record(slots, 0);
            final long place = Integer.toUnsignedLong(record.getInt(SlotRecord.REGION)) << 32
                    | Integer.toUnsignedLong(record.getInt(SlotRecord.SLOT));
            for (final byte[] other : reserved.values()) {
                assertTrue(place != place(other), "a reserved slot was given away");
            }
            for (final Leased other : leased) {
                assertTrue(place != place(other.slots), "a leased slot was given away");
            }
            final Long before = lastStamp.put(place, record.getLong(SlotRecord.STAMP));
            assertTrue(before == null || before < record.getLong(SlotRecord.STAMP), "a stamp came again");
        }

        private static long place(final byte[] slots) {
            final ByteBuffer record = StoreFixture.record(slots, 0);
            return Integer.toUnsignedLong(record.getInt(SlotRecord.REGION)) << 32
                    | Integer.toUnsignedLong(record.getInt(SlotRecord.SLOT));
        }

        private void commit() throws IOException {
            if (!reserved.isEmpty()) {
                final int object = reserved.keySet().iterator().next();
                final byte[] slots = reserved.remove(object);
                fixture.write(slots, 0, StoreFixture.content(object, length(object)));
                assertEquals(SlotStatus.COMMITTED, fixture.commit(slots)[0]);
                everCommitted.add(object);
            }
        }

        private void commitTwice() throws IOException {
            if (!reserved.isEmpty()) {
                final byte[] slots = reserved.values().iterator().next();
                commit();
                assertEquals(SlotStatus.NOT_RESERVED, fixture.commit(slots)[0]);
            }
        }

        private void abort() {
            if (!reserved.isEmpty()) {
                final int object = reserved.keySet().iterator().next();
                final byte[] slots = reserved.remove(object);
                assertEquals(SlotStatus.ABORTED, fixture.store.abort(fixture.attachment, slots)[0]);
            }
        }

        private void load(final int object) throws IOException {
            if (reserved.containsKey(object)) {
                return;
            }
            final byte[] bytes = fixture.load(object);
            if (bytes != null) {
                assertTrue(everCommitted.contains(object), "a hit of what was never committed");
                assertArrayEquals(StoreFixture.content(object, length(object)), bytes);
            }
        }

        private void lease(final int object) {
            if (reserved.containsKey(object)) {
                return;
            }
            final ObjectStore.LookupResult found = fixture.lookup(object);
            if (found.hitChunks() == 1) {
                leased.add(new Leased(object, found.lease(), found.slots()));
            }
        }

        private void release() throws IOException {
            if (!leased.isEmpty()) {
                final Leased one = leased.removeFirst();
                assertStillThere(one);
                assertTrue(fixture.store.release(fixture.holder, one.lease, new int[0]));
            }
        }

        private void assertStillThere(final Leased one) throws IOException {
            assertArrayEquals(
                    StoreFixture.content(one.object, length(one.object)),
                    fixture.read(one.slots, 0),
                    "a leased object changed");
        }

        private void restart() throws IOException {
            final Set<Integer> there = present();
            fixture.killNode();
            fixture.killEngine();
            fixture = new StoreFixture(context());
            reserved.clear();
            leased.clear();
            for (final int object : there) {
                assertArrayEquals(
                        StoreFixture.content(object, length(object)), fixture.load(object), "lost by a restart");
            }
        }

        private Set<Integer> present() {
            final Set<Integer> there = new HashSet<>();
            for (int object = 0; object < OBJECTS; object++) {
                final ObjectStore.LookupResult seen = fixture.store.lookup(fixture.holder, fixture.query(true, object));
                if (seen.hitChunks() == 1) {
                    there.add(object);
                }
            }
            return there;
        }

        void finish() throws IOException {
            for (final Leased one : leased) {
                assertStillThere(one);
            }
            while (!leased.isEmpty()) {
                release();
            }
            while (!reserved.isEmpty()) {
                abort();
            }
            assertEquals(0, fixture.store.leasedBytes(), "leaked leases");
            assertEquals(0, fixture.store.quarantinedBytes(), "leaked quarantine");
        }
    }
}
