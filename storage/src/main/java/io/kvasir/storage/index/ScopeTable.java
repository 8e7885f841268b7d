package io.kvasir.storage.index;

import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.Shard;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * Small numbers for what most objects have in common, namespace and shard, so that an id names both in 3 bytes. Changes are
 * {@link ObjectIds}' to guard; what a number stands for may be read meanwhile by whoever has an object of it.
 */
final class ScopeTable {
    static final int NONE = -1;
    /** Numbers have so many bits. */
    static final int BITS = 24;

    private static final int SHARD = Hash256.BYTES;
    private static final int OBJECTS = SHARD + Shard.BYTES;
    private static final int NEXT_FREE = OBJECTS + 4;
    private static final int BYTES = NEXT_FREE + 4;

    private final MemorySegment records;
    private final ProbeArray probes;
    private final ObjectHash hash;
    private final int capacity;
    private int used;
    private int free = NONE;
    private int live;

    ScopeTable(final int capacity, final ObjectHash hash, final Arena arena) {
        this.capacity = capacity;
        this.hash = hash;
        records = OffHeap.zeroes((long) capacity * BYTES, arena);
        probes = new ProbeArray(capacity, arena);
    }

    static long bytes(final int capacity) {
        return (long) capacity * BYTES + ProbeArray.bytes(capacity);
    }

    int capacity() {
        return capacity;
    }

    int live() {
        return live;
    }

    /** The number of this scope, which counts one object more; {@link #NONE} when no further one fits. */
    int enter(final Hash256 namespace, final Shard shard) {
        final long bits = hash(namespace, shard);
        int number = find(bits, namespace, shard);
        if (number == NONE) {
            number = take();
            if (number == NONE) {
                return NONE;
            }
            namespace.write(records, at(number));
            records.set(ValueLayout.JAVA_LONG, at(number) + SHARD, shard.first());
            records.set(ValueLayout.JAVA_LONG, at(number) + SHARD + 8, shard.second());
            probes.add(bits, number);
            live++;
        }
        setObjects(number, objects(number) + 1);
        return number;
    }

    /** One object less; the last one's leaving frees the number. */
    void leave(final int number) {
        final int left = objects(number) - 1;
        setObjects(number, left);
        if (left == 0) {
            probes.remove(highOf(number), number, this::highOf);
            records.set(ValueLayout.JAVA_INT, at(number) + NEXT_FREE, free);
            free = number;
            live--;
        }
    }

    boolean is(final int number, final Hash256 namespace, final Shard shard) {
        final long at = at(number);
        return ObjectIds.equal(records, at, namespace)
                && records.get(ValueLayout.JAVA_LONG, at + SHARD) == shard.first()
                && records.get(ValueLayout.JAVA_LONG, at + SHARD + 8) == shard.second();
    }

    Hash256 namespace(final int number) {
        return Hash256.read(records, at(number));
    }

    /** The namespace's first 64 bits. */
    long namespaceBits(final int number) {
        return records.get(ValueLayout.JAVA_LONG, at(number));
    }

    Shard shard(final int number) {
        return Shard.of(
                records.get(ValueLayout.JAVA_LONG, at(number) + SHARD),
                records.get(ValueLayout.JAVA_LONG, at(number) + SHARD + 8));
    }

    private int find(final long bits, final Hash256 namespace, final Shard shard) {
        int at = probes.home(ProbeArray.high(bits));
        for (int word = probes.word(at); word != 0; word = probes.word(at)) {
            final int number = probes.number(word, bits);
            if (number != NONE && is(number, namespace, shard)) {
                return number;
            }
            at = probes.next(at);
        }
        return NONE;
    }

    private int take() {
        if (free == NONE) {
            return used < capacity ? used++ : NONE;
        }
        final int number = free;
        free = records.get(ValueLayout.JAVA_INT, at(number) + NEXT_FREE);
        return number;
    }

    private long hash(final Hash256 namespace, final Shard shard) {
        return hash.of(namespace, Hash256.ZERO, shard);
    }

    private int highOf(final int number) {
        return ProbeArray.high(hash(namespace(number), shard(number)));
    }

    private int objects(final int number) {
        return records.get(ValueLayout.JAVA_INT, at(number) + OBJECTS);
    }

    private void setObjects(final int number, final int count) {
        records.set(ValueLayout.JAVA_INT, at(number) + OBJECTS, count);
    }

    private static long at(final int number) {
        return (long) number * BYTES;
    }
}
