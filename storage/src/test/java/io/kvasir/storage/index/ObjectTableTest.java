package io.kvasir.storage.index;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.Shard;
import io.kvasir.storage.object.TierKind;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SplittableRandom;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.junit.jupiter.api.Test;

class ObjectTableTest {
    private static final int OBJECTS = 60;
    private static final List<TierKind> TIERS = List.of(TierKind.values());
    private static final Shard SHARD = new Shard(0, 32, 0, 8, 0, 0, 1, 0, 1);

    /** Where the search for objects begins: all hashes equal, a few places, those around the end, or everywhere. */
    enum Hashes {
        ONE {
            @Override
            ObjectHash create() {
                return (namespace, key, shard) -> 0x1234_5678_0000_0000L;
            }
        },
        FEW {
            @Override
            ObjectHash create() {
                return (namespace, key, shard) -> (key.a() % 3) << 61;
            }
        },
        LAST {
            @Override
            ObjectHash create() {
                return (namespace, key, shard) -> -1L - ((key.a() % 5) << 58);
            }
        },
        CLOSE {
            @Override
            ObjectHash create() {
                return (namespace, key, shard) -> (key.a() * 7 + namespace.a()) << 57;
            }
        },
        KEYED {
            @Override
            ObjectHash create() {
                return new SipHash(new SplittableRandom(5));
            }
        };

        abstract ObjectHash create();
    }

    enum Step {
        PUT,
        REMOVE,
        FIND,
        CHANGE
    }

    record Action(Step step, int object, int value) {}

    /** What the table is told of one object. */
    private static final class Model {
        final int entry;
        final int serial;
        int length;
        long dramPlace;
        int replicas;
        final Set<TierKind> tiers = new HashSet<>();

        Model(final int entry, final int serial) {
            this.entry = entry;
            this.serial = serial;
        }
    }

    private static ObjectId id(final int number) {
        // Neighbors differ in one part of the id only.
        return new ObjectId(
                new Hash256(number % 3, 0, 0, number % 2),
                new Hash256(number / 6, 1, 2, 3),
                new Shard(0, 32, 0, 8, number % 6 / 3, 0, 1, 0, 1));
    }

    private static int find(final ObjectTable table, final ObjectId id) {
        return table.find(hash(table, id), id.namespace(), id.key(), id.shard());
    }

    private static int put(final ObjectTable table, final ObjectId id) {
        return table.put(hash(table, id), id.namespace(), id.key(), id.shard());
    }

    private static long hash(final ObjectTable table, final ObjectId id) {
        return table.hash(id.namespace(), id.key(), id.shard());
    }

    @Provide
    Arbitrary<List<Action>> actions() {
        return Combinators.combine(
                        Arbitraries.frequency(
                                net.jqwik.api.Tuple.of(4, Step.PUT),
                                net.jqwik.api.Tuple.of(3, Step.REMOVE),
                                net.jqwik.api.Tuple.of(1, Step.FIND),
                                net.jqwik.api.Tuple.of(2, Step.CHANGE)),
                        Arbitraries.integers().between(0, OBJECTS - 1),
                        Arbitraries.integers())
                .as(Action::new)
                .list()
                .ofMinSize(50)
                .ofMaxSize(400);
    }

    @Property(tries = 300)
    void shouldKnowWhatAMapKnows(
            @ForAll final Hashes hashes,
            @ForAll("capacities") final int capacity,
            @ForAll("actions") final List<Action> actions) {
        final Map<ObjectId, Model> model = new HashMap<>();
        final Map<Integer, Integer> lastSerial = new HashMap<>();
        try (ObjectTable table = new ObjectTable(capacity, hashes.create())) {
            for (final Action action : actions) {
                final ObjectId id = id(action.object);
                final Model known = model.get(id);
                switch (action.step) {
                    case PUT -> {
                        final int entry = put(table, id);
                        if (known != null) {
                            assertEquals(known.entry, entry, "put twice");
                        } else if (model.size() == capacity) {
                            assertEquals(ObjectTable.FULL, entry);
                        } else {
                            assertTrue(entry >= 0 && entry < capacity, "a number within the capacity");
                            final Integer before = lastSerial.put(entry, table.serial(entry));
                            assertNotEquals(before, table.serial(entry), "a serial tells a reuse");
                            model.put(id, new Model(entry, table.serial(entry)));
                        }
                    }
                    case REMOVE -> {
                        if (known != null) {
                            table.remove(known.entry);
                            assertFalse(table.is(known.entry, known.serial));
                            assertFalse(table.isLive(known.entry));
                            model.remove(id);
                        }
                    }
                    case FIND -> assertEquals(known == null ? ObjectTable.NONE : known.entry, find(table, id));
                    case CHANGE -> {
                        if (known != null) {
                            change(table, known, action.value);
                        }
                    }
                }
                compare(table, model);
            }
        }
    }

    @Provide
    Arbitrary<Integer> capacities() {
        return Arbitraries.of(1, 2, 7, 30, OBJECTS);
    }

    private static void change(final ObjectTable table, final Model known, final int value) {
        final TierKind tier = TIERS.get(value & 3);
        if (known.tiers.remove(tier)) {
            table.in(known.entry, tier, false);
        } else {
            known.tiers.add(tier);
            table.in(known.entry, tier, true);
        }
        known.length = value >>> 1;
        table.length(known.entry, known.length);
        known.dramPlace = ObjectTable.place(value, ~value);
        table.dramPlace(known.entry, known.dramPlace);
        known.replicas = value + 1;
        table.replicas(known.entry, known.replicas);
    }

    private static void compare(final ObjectTable table, final Map<ObjectId, Model> model) {
        assertEquals(model.size(), table.size());
        assertEquals(
                model.keySet().stream()
                        .map(id -> List.of(id.namespace(), id.shard()))
                        .distinct()
                        .count(),
                table.scopes(),
                "scopes");
        final long[] hashes = new long[OBJECTS];
        final int[] candidates = new int[OBJECTS];
        for (int number = 0; number < OBJECTS; number++) {
            hashes[number] = hash(table, id(number));
        }
        table.expect(hashes, OBJECTS);
        table.probe(hashes, candidates, 0, OBJECTS);
        for (int number = 0; number < OBJECTS; number++) {
            final ObjectId id = id(number);
            final Model known = model.get(id);
            final int expected = known == null ? ObjectTable.NONE : known.entry;
            assertEquals(expected, find(table, id), "find");
            assertEquals(
                    expected,
                    table.confirm(candidates[number], hashes[number], id.namespace(), id.key(), id.shard()),
                    "probe and confirm");
            if (known != null) {
                assertTrue(table.isLive(known.entry));
                assertTrue(table.is(known.entry, known.serial), "the serial stays");
                assertEquals(id, table.id(known.entry));
                assertEquals(known.length, table.length(known.entry));
                assertEquals(known.dramPlace, known.dramPlace == 0 ? 0 : table.dramPlace(known.entry));
                assertEquals(known.replicas, known.replicas == 0 ? 0 : table.replicas(known.entry));
                for (final TierKind tier : TierKind.values()) {
                    assertEquals(known.tiers.contains(tier), table.isIn(known.entry, tier));
                }
                assertEquals(!known.tiers.isEmpty(), table.isAnywhere(known.entry));
            }
        }
    }

    @Test
    void shouldCloseTheGapsOfRemovalsInACluster() {
        // Each of 40 neighbors is taken out of a cluster that goes round the end; all others stay found.
        for (int removed = 0; removed < 40; removed++) {
            try (ObjectTable table = new ObjectTable(64, (namespace, key, shard) -> -1L - ((key.a() & 3) << 57))) {
                final List<Integer> entries = new ArrayList<>();
                for (int number = 0; number < 40; number++) {
                    entries.add(put(table, key(number)));
                }
                table.remove(entries.get(removed));
                for (int number = 0; number < 40; number++) {
                    assertEquals(
                            number == removed ? ObjectTable.NONE : entries.get(number),
                            find(table, key(number)),
                            number + " without " + removed);
                }
            }
        }
    }

    private static ObjectId key(final long number) {
        return new ObjectId(new Hash256(1, 2, 3, 4), new Hash256(number, 0, 0, 0), SHARD);
    }

    @Test
    void shouldSearchNoFurtherAfterAMillionRemovals() {
        // Tombstones would fill the places that a search looks at: after so many it would not end.
        try (ObjectTable table = new ObjectTable(100, new SipHash(new SplittableRandom(3)))) {
            for (long number = 0; number < 1_000_000; number++) {
                final int entry = put(table, key(number));
                assertTrue(entry >= 0);
                if (number >= 99) {
                    table.remove(find(table, key(number - 99)));
                }
            }
            assertEquals(99, table.size());
            assertEquals(1, table.scopes());
        }
    }

    @Test
    void shouldAnswerThatItIsFull() {
        try (ObjectTable table = new ObjectTable(3, new SipHash(new SplittableRandom(3)))) {
            final Set<Integer> entries = new HashSet<>();
            for (int number = 0; number < 3; number++) {
                assertTrue(entries.add(put(table, key(number))));
            }
            assertEquals(Set.of(0, 1, 2), entries, "dense numbers");
            assertEquals(ObjectTable.FULL, put(table, key(3)));
            assertEquals(find(table, key(1)), put(table, key(1)), "what is there is found");
            table.remove(find(table, key(1)));
            assertTrue(put(table, key(3)) >= 0);
            assertEquals(ObjectTable.NONE, find(table, key(1)));
        }
    }

    @Test
    void shouldAnswerThatItHasNoNumberForAnotherNamespaceAndShard() {
        try (ObjectTable table = new ObjectTable(20_000, new SipHash(new SplittableRandom(3)))) {
            final int most = table.scopeCapacity();
            assertEquals(16_384, most);
            for (int number = 0; number < most; number++) {
                assertTrue(put(table, inNamespace(number)) >= 0);
            }
            assertEquals(ObjectTable.FULL, put(table, inNamespace(most)));
            assertEquals(most, table.size(), "nothing is left of what was refused");
            assertTrue(put(table, new ObjectId(inNamespace(0).namespace(), key(1).key(), SHARD)) >= 0);
            table.remove(find(table, inNamespace(17)));
            assertTrue(put(table, inNamespace(most)) >= 0, "a namespace without objects gives its number back");
            assertEquals(inNamespace(most), table.id(find(table, inNamespace(most))));
        }
    }

    private static ObjectId inNamespace(final long number) {
        return new ObjectId(new Hash256(number, 9, 9, 9), new Hash256(1, 0, 0, 0), SHARD);
    }

    @Test
    void shouldForgetACandidateThatWasRemoved() {
        try (ObjectTable table = new ObjectTable(8, new SipHash(new SplittableRandom(3)))) {
            final int entry = put(table, key(1));
            final long[] hashes = {hash(table, key(1))};
            final int[] candidates = new int[1];
            table.probe(hashes, candidates, 0, 1);
            assertEquals(entry, candidates[0]);
            table.remove(entry);
            assertEquals(ObjectTable.NONE, table.confirm(entry, hashes[0], key(1).namespace(), key(1).key(), SHARD));
        }
    }

    @Test
    void shouldTakeAtMost80BytesForAnObject() {
        for (final int capacity : new int[] {1 << 17, 1_000_000, 10_000_000, 100_000_000, ObjectTable.MAX_CAPACITY}) {
            final long bytes = ObjectTable.bytes(capacity);
            assertTrue(
                    bytes <= (long) capacity * ObjectTable.BYTES_FOR_EACH,
                    bytes + " bytes for " + capacity + " objects");
        }
        assertTrue(ObjectTable.bytes(256) <= 256 * 192, "a small table");
    }

    @Test
    void shouldRefuseACapacityThatItCannotHave() {
        final ObjectHash hash = new SipHash(new SplittableRandom(3));
        assertThrows(IllegalArgumentException.class, () -> new ObjectTable(0, hash).close());
        assertThrows(IllegalArgumentException.class, () -> new ObjectTable(ObjectTable.MAX_CAPACITY + 1, hash).close());
    }

    @Test
    void shouldAllocateNothingForASearch() {
        final int objects = 512;
        try (ObjectTable table = new ObjectTable(objects * 2, new SipHash(new SplittableRandom(3)))) {
            final ObjectId[] ids = new ObjectId[objects];
            for (int number = 0; number < objects; number++) {
                ids[number] = key(number);
                if (number % 2 == 0) {
                    put(table, ids[number]);
                }
            }
            final long[] hashes = new long[objects];
            final int[] candidates = new int[objects];
            // The first rounds load classes and are interpreted.
            for (int round = 0; round < 50; round++) {
                search(table, ids, hashes, candidates);
            }
            final ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
            final long thread = Thread.currentThread().threadId();
            final long before = threads.getThreadAllocatedBytes(thread);
            int found = 0;
            for (int round = 0; round < 100; round++) {
                found += search(table, ids, hashes, candidates);
            }
            final long allocated = threads.getThreadAllocatedBytes(thread) - before;
            assertEquals(100 * objects / 2, found);
            // 51,200 searches: an object of the smallest size for each would be 819,200 bytes.
            assertTrue(allocated < 10_000, allocated + " bytes");
        }
    }

    private static int search(
            final ObjectTable table, final ObjectId[] ids, final long[] hashes, final int[] candidates) {
        for (int i = 0; i < ids.length; i++) {
            hashes[i] = table.hash(ids[i].namespace(), ids[i].key(), ids[i].shard());
        }
        table.probe(hashes, candidates, 0, ids.length);
        int found = 0;
        for (int i = 0; i < ids.length; i++) {
            final int entry = table.confirm(candidates[i], hashes[i], ids[i].namespace(), ids[i].key(), ids[i].shard());
            final boolean here = entry != ObjectTable.NONE && table.isLive(entry) && !table.isIn(entry, TierKind.SSD);
            found += here ? 1 : 0;
        }
        return found;
    }
}
