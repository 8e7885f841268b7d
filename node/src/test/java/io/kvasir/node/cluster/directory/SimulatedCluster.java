package io.kvasir.node.cluster.directory;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.PriorityQueue;
import java.util.SplittableRandom;
import java.util.TreeMap;
import java.util.function.Consumer;
import java.util.stream.LongStream;
import org.agrona.concurrent.NanoClock;

/**
 * A directory for the real announcers and locators, with simulated time and faults: what is sent may be lost, late, come
 * twice, or come although its sender was told that it failed; entries may vanish. Everything follows from the seed.
 */
final class SimulatedCluster implements Directory {
    private record Event(long atNs, long order, Runnable action) {}

    final SplittableRandom random;
    final Map<Long, byte[]> entries = new TreeMap<>();
    private final PriorityQueue<Event> events = new PriorityQueue<>(
            (a, b) -> a.atNs != b.atNs ? Long.compare(a.atNs, b.atNs) : Long.compare(a.order, b.order));
    private long nowNs = 1;
    private long order;
    /** Of a thousand messages, so many meet a fault. */
    int faulty;

    long faults;

    SimulatedCluster(final long seed) {
        random = new SplittableRandom(seed);
    }

    NanoClock clock() {
        return () -> nowNs;
    }

    void after(final long delayNs, final Runnable action) {
        events.add(new Event(nowNs + delayNs, order++, action));
    }

    /** Lets time pass; everything that is due happens. */
    void pass(final long durationNs) {
        final long end = nowNs + durationNs;
        while (!events.isEmpty() && events.peek().atNs <= end) {
            final Event next = events.poll();
            nowNs = Math.max(nowNs, next.atNs);
            next.action.run();
        }
        nowNs = end;
    }

    private boolean fault() {
        final boolean met = random.nextInt(1000) < faulty;
        faults += met ? 1 : 0;
        return met;
    }

    private long delay() {
        return random.nextLong(100_000, 2_000_000);
    }

    @Override
    public void read(final long[] keys, final Consumer<Map<Long, byte[]>> answer) {
        if (fault()) {
            if (random.nextBoolean()) {
                after(delay(), () -> answer.accept(null));
            }
            return;
        }
        after(delay(), () -> {
            final Map<Long, byte[]> found = new HashMap<>();
            for (final long key : keys) {
                final byte[] entry = entries.get(key);
                if (entry != null) {
                    found.put(key, entry);
                }
            }
            after(fault() ? 100 * delay() : delay(), () -> answer.accept(found));
        });
    }

    /** Each key lies on one of two other nodes, which answer by themselves, or do not, or can tell of half of the keys. */
    @Override
    public void readCopies(final long[] keys, final Consumer<Map<Long, byte[]>> answer) {
        final boolean moving = fault();
        for (int node = 0; node < 2; node++) {
            final long copy = node;
            final long[] there = LongStream.of(keys)
                    .filter(key -> (key & 1) == copy && !(moving && (key & 2) == 0))
                    .toArray();
            read(there, entries -> {
                if (entries == null) {
                    answer.accept(null);
                    return;
                }
                final Map<Long, byte[]> told = new HashMap<>(entries);
                LongStream.of(there).forEach(key -> told.putIfAbsent(key, new byte[0]));
                answer.accept(told);
            });
        }
    }

    @Override
    public void update(final Map<Long, byte[]> records, final Consumer<Boolean> done) {
        final Map<Long, byte[]> copy = new TreeMap<>(records);
        if (fault()) {
            switch (random.nextInt(4)) {
                case 0 -> after(delay(), () -> done.accept(false));
                case 1 -> after(5000 * delay(), () -> apply(copy));
                case 2 -> {
                    after(delay(), () -> apply(copy));
                    after(2000 * delay(), () -> apply(copy));
                    after(delay(), () -> done.accept(false));
                }
                default -> {
                    copy.keySet().removeIf(key -> random.nextBoolean());
                    after(delay(), () -> apply(copy));
                    after(2 * delay(), () -> done.accept(false));
                }
            }
            return;
        }
        after(delay(), () -> {
            apply(copy);
            after(delay(), () -> done.accept(true));
        });
    }

    private void apply(final Map<Long, byte[]> records) {
        records.forEach((key, record) -> {
            final byte[] merged = Entry.merge(entries.get(key), record);
            if (merged == null) {
                entries.remove(key);
            } else {
                entries.put(key, merged);
            }
        });
    }

    /** What a node that holds a part of the directory does in one round. */
    void sweep(final java.util.function.LongPredicate live, final Map<Long, Announcer> announcers) {
        for (final long key : List.copyOf(entries.keySet())) {
            final byte[] kept = Entry.without(entries.get(key), holder -> !live.test(holder));
            if (kept == null) {
                entries.remove(key);
                continue;
            }
            entries.put(key, kept);
            for (final Entry.Reader record = new Entry.Reader(kept); record.next(); ) {
                final Announcer announcer = announcers.get(record.holder());
                if (announcer != null && !fault()) {
                    announcer.audited(new long[] {key}, new long[] {record.sequence()});
                }
            }
        }
    }

    void loseSome() {
        faults++;
        final List<Long> keys = new ArrayList<>(entries.keySet());
        keys.removeIf(key -> random.nextInt(10) != 0);
        keys.forEach(entries::remove);
    }
}
