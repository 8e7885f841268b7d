package io.kvasir.storage.tier.remote;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.StoreFixture;
import io.kvasir.storage.index.ObjectTable;
import io.kvasir.storage.index.SipHash;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.TierKind;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class ReplicaRecordsTest {
    private static final int CAPACITY = 64;
    private static final int OBJECTS = 80;
    private static final long MS = 1_000_000;
    private static final List<ReplicaRecords.Answer> ANSWERS = List.of(ReplicaRecords.Answer.values());
    private static final RemoteTier.Copies COPIES = () -> 1;

    /** What the map had that was there before the table. */
    private record Known(byte state, long untilNs, int event) {
        boolean counts(final long nowNs) {
            return state == ReplicaRecords.ASKED || state == ReplicaRecords.PULLED || nowNs - untilNs < 0;
        }
    }

    private final ObjectTable table = new ObjectTable(OBJECTS + CAPACITY, new SipHash(new Random(1)));
    private final ReplicaRecords records = new ReplicaRecords(table, CAPACITY);
    private final Map<ObjectId, Known> shadow = new HashMap<>();
    private long nowNs;

    @AfterEach
    void close() {
        table.close();
    }

    private static ObjectId id(final int number) {
        return new ObjectId(StoreFixture.NAMESPACE, new Hash256(number, 2, 3, 4), StoreFixture.SHARD);
    }

    @Test
    void shouldSayWhatAMapWouldSay() {
        final Random random = new Random(42);
        for (int step = 0; step < 50_000; step++) {
            final ObjectId id = id(random.nextInt(OBJECTS));
            final int record = records.find(table.find(id));
            final Known known = shadow.get(id);
            switch (random.nextInt(8)) {
                case 0, 1, 2 -> ask(id, record, step);
                case 3 -> {
                    if (known != null && records.isUnderWay(record)) {
                        answer(id, record, ANSWERS.get(random.nextInt(3)));
                    }
                }
                case 4 -> {
                    if (known != null && known.state == ReplicaRecords.FOUND) {
                        records.pull(record, step);
                        shadow.put(id, new Known(ReplicaRecords.PULLED, 0, step));
                    }
                }
                case 5 -> {
                    if (known != null && known.state == ReplicaRecords.PULLED) {
                        records.arrived(record);
                        shadow.remove(id);
                    }
                }
                case 6 -> {
                    // Other tiers come and go beside.
                    final boolean there = table.find(id) >= 0 && table.isIn(table.find(id), TierKind.SSD);
                    if (there) {
                        table.leave(table.find(id), TierKind.SSD);
                    } else {
                        table.in(table.put(id), TierKind.SSD, true);
                    }
                }
                default -> {
                    nowNs += random.nextLong(40 * MS);
                    records.forget(nowNs, Integer.MAX_VALUE);
                    shadow.values().removeIf(each -> !each.counts(nowNs));
                }
            }
            compare();
        }
    }

    private void ask(final ObjectId id, final int record, final int wait) {
        if (record == ReplicaRecords.NONE ? records.hasSpace() : !records.counts(record, nowNs)) {
            records.ask(table.put(id), wait);
            shadow.put(id, new Known(ReplicaRecords.ASKED, 0, wait));
        }
    }

    private void answer(final ObjectId id, final int record, final ReplicaRecords.Answer answer) {
        final boolean found = answer == ReplicaRecords.Answer.FOUND;
        if (found) {
            records.copies(record, COPIES);
        }
        records.answered(record, answer, nowNs);
        final long countsNs = switch (answer) {
            case ABSENT -> 300 * MS;
            case UNKNOWN -> 50 * MS;
            case FOUND -> 2000 * MS;
        };
        shadow.put(
                id,
                new Known(
                        found ? ReplicaRecords.FOUND : ReplicaRecords.ABSENT, nowNs + countsNs, records.wait(record)));
    }

    private void compare() {
        assertEquals(shadow.size(), records.size());
        for (int number = 0; number < OBJECTS; number++) {
            final int object = table.find(id(number));
            final int record = records.find(object);
            final Known known = shadow.get(id(number));
            assertEquals(known == null, record == ReplicaRecords.NONE, "known");
            if (known != null) {
                assertEquals(known.state, records.state(record));
                assertEquals(known.counts(nowNs), records.counts(record, nowNs));
                assertEquals(known.event, records.wait(record));
                final boolean held = known.state == ReplicaRecords.FOUND || known.state == ReplicaRecords.PULLED;
                assertEquals(held, records.copies(record) != null, "who has it");
            } else {
                assertTrue(object < 0 || table.isIn(object, TierKind.SSD), "an entry that nobody needs");
            }
        }
    }

    @Test
    void shouldForgetABoundedNumberAtATime() {
        for (int i = 0; i < CAPACITY; i++) {
            records.answered(records.ask(table.put(id(i)), -1), ReplicaRecords.Answer.ABSENT, i);
        }
        assertFalse(records.hasSpace());
        records.forget(300 * MS - 1, 100);
        assertEquals(CAPACITY, records.size(), "none is too old");
        records.forget(300 * MS + CAPACITY, 10);
        assertEquals(CAPACITY - 10, records.size());
        assertEquals(CAPACITY - 10, table.size());
        assertTrue(records.hasSpace());
    }

    @Test
    void shouldLeaveNamespacesForWhatIsStored() {
        try (ObjectTable small = new ObjectTable(20, new SipHash(new Random(1)))) {
            final ReplicaRecords few = new ReplicaRecords(small, 20);
            for (int number = 1; few.hasSpace(); number++) {
                final Hash256 namespace = new Hash256(number, 0, 0, 0);
                few.ask(small.put(new ObjectId(namespace, namespace, StoreFixture.SHARD)), -1);
            }
            assertEquals(20, small.scopeCapacity());
            assertEquals(10, few.size());
        }
    }
}
