package io.kvasir.storage.tier.ssd;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.kvasir.storage.TestObjects;
import io.kvasir.storage.index.ObjectIds;
import io.kvasir.storage.policy.EvictionPolicy;
import io.kvasir.storage.policy.LruPolicy;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class SsdOrderTest {
    private static final int ENTRIES = 200;

    private final ObjectIds ids = new ObjectIds(20_000);
    private final EntryTable entries = new EntryTable(ids);
    private final SsdOrder order = new SsdOrder(entries);

    @AfterEach
    void close() {
        entries.close();
        ids.close();
    }

    @Test
    void shouldOrderAsTheListOnTheHeapDoes() {
        final EvictionPolicy model = new LruPolicy();
        final EvictionPolicy.Scan expected = model.scan();
        final EvictionPolicy.Scan scan = order.scan();
        final EvictionPolicy.Scan expectedSlow = model.scan();
        final EvictionPolicy.Scan slow = order.scan();
        final Set<Integer> live = new HashSet<>();
        final Random random = new Random(3);
        for (int step = 0; step < 20_000; step++) {
            switch (random.nextInt(4)) {
                case 0 -> {
                    final int entry = entries.add(ids.take(TestObjects.id(step)), 1, 0);
                    live.add(entry);
                    order.add(entry);
                    model.add(entry, 0, 0, 0, 0);
                }
                case 1 -> {
                    if (!live.isEmpty() && (live.size() > ENTRIES || random.nextBoolean())) {
                        final int entry = any(live, random);
                        live.remove(entry);
                        order.remove(entry);
                        model.remove(entry);
                        entries.remove(entry);
                    }
                }
                case 2 -> {
                    if (!live.isEmpty()) {
                        final int entry = any(live, random);
                        order.touch(entry);
                        model.touch(entry);
                    }
                }
                default -> assertEquals(expectedSlow.next(), slow.next());
            }
            if (random.nextInt(50) == 0) {
                slow.restart();
                expectedSlow.restart();
            }
            if (random.nextInt(20) == 0) {
                final List<Integer> all = all(expected);
                assertEquals(all, all(scan));
                assertEquals(all.reversed(), fromWarmest());
            }
        }
    }

    private List<Integer> fromWarmest() {
        final List<Integer> met = new ArrayList<>();
        for (int e = order.warmest(); e != EvictionPolicy.NONE; e = entries.colder(e)) {
            met.add(e);
        }
        return met;
    }

    private static List<Integer> all(final EvictionPolicy.Scan scan) {
        final List<Integer> met = new ArrayList<>();
        scan.restart();
        for (int e = scan.next(); e != EvictionPolicy.NONE; e = scan.next()) {
            met.add(e);
        }
        return met;
    }

    private static int any(final Set<Integer> live, final Random random) {
        return new ArrayList<>(live).get(random.nextInt(live.size()));
    }

    @Test
    void shouldSortEntriesByTheirSequence() {
        final Random random = new Random(4);
        for (final long range : new long[] {1, 1000, 1L << 20, 1L << 40, Long.MAX_VALUE}) {
            final List<Integer> all = new ArrayList<>();
            final Map<Integer, Long> sequences = new HashMap<>();
            for (int i = 0; i < 500; i++) {
                sequences.put(i, range == 1 ? i : random.nextLong(range));
                all.add(i);
            }
            final List<Integer> sorted = new ArrayList<>();
            try (EntrySort sort = new EntrySort(all.size(), sequences::get)) {
                all.forEach(sort::add);
                sort.sort();
                for (long i = 0; i < sort.size(); i++) {
                    sorted.add(sort.get(i));
                }
            }
            all.sort(Comparator.comparing(sequences::get));
            assertEquals(all, sorted);
        }
    }
}
