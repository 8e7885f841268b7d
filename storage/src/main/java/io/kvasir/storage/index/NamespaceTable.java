package io.kvasir.storage.index;

import io.kvasir.storage.object.Hash256;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** Small numbers for the namespaces of the objects in the table, so that an entry names its namespace in 4 bytes. */
final class NamespaceTable {
    static final int NONE = -1;

    private static final int OBJECTS = Hash256.BYTES;
    private static final int NEXT_FREE = OBJECTS + 4;
    private static final int BYTES = NEXT_FREE + 4;

    private final MemorySegment records;
    private final ProbeArray probes;
    private final ObjectHash hash;
    private final int capacity;
    private int used;
    private int free = NONE;
    private int live;

    NamespaceTable(final int capacity, final ObjectHash hash, final Arena arena) {
        this.capacity = capacity;
        this.hash = hash;
        records = ProbeArray.zeroes((long) capacity * BYTES, arena);
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

    /** The number of this namespace, which counts one object more; {@link #NONE} when no further one fits. */
    int enter(final Hash256 namespace) {
        final int tag = tag(namespace);
        int number = find(tag, namespace);
        if (number == NONE) {
            number = take();
            if (number == NONE) {
                return NONE;
            }
            namespace.write(records, at(number));
            probes.add(tag, number);
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
            probes.remove(tag(get(number)), number);
            records.set(ValueLayout.JAVA_INT, at(number) + NEXT_FREE, free);
            free = number;
            live--;
        }
    }

    boolean is(final int number, final Hash256 namespace) {
        return ObjectTable.equal(records, at(number), namespace);
    }

    Hash256 get(final int number) {
        return Hash256.read(records, at(number));
    }

    private int find(final int tag, final Hash256 namespace) {
        int at = probes.home(tag);
        for (long word = probes.word(at); word != 0; word = probes.word(at)) {
            final int number = ProbeArray.number(word, tag);
            if (number != NONE && is(number, namespace)) {
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

    private int tag(final Hash256 namespace) {
        return ProbeArray.tag(hash.of(namespace, Hash256.ZERO, ObjectTable.NO_SHARD));
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
