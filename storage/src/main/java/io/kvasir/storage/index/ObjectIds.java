package io.kvasir.storage.index;

import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.Shard;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;
import java.security.SecureRandom;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * The ids of objects, off the heap, by small numbers: each is in memory once, however many know the object. Whoever holds a
 * number may read its id, which does not change; with the last hold the number is another id's. {@link ObjectTable} keeps
 * its own facts of an object beside the id, so that a search meets both in one cache line.
 *
 * <p>Any thread may take, hold, release and read. Only {@link #take} waits, for another one that takes.
 */
public final class ObjectIds implements AutoCloseable {
    /** No number. */
    public static final int NONE = -1;

    private static final int KEY = 0;
    /** Of a free number: the next one. */
    private static final int NEXT = 0;

    /** Three bytes, and one that is the table's. */
    private static final int SCOPE = 32;

    static final int FLAGS = 35;
    private static final int HOLDS = 36;
    /** From here on the table's. */
    static final int FACTS = 40;

    static final int BYTES = 64;
    private static final int SCOPE_MASK = (1 << ScopeTable.BITS) - 1;
    private static final ValueLayout.OfInt LITTLE = ValueLayout.JAVA_INT.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final VarHandle COUNT = ValueLayout.JAVA_INT.varHandle();

    /** Scopes: as many as objects in a small table, one for so many objects in a large one, and a limit. */
    private static final int OBJECTS_OF_A_SCOPE = 16;

    private static final int FEWEST_SCOPES = 1 << 14;
    private static final int MOST_SCOPES = 1 << 18;

    private final Arena arena = Arena.ofShared();
    private final int capacity;
    final MemorySegment records;
    private final ScopeTable scopes;
    /** Numbers that nobody holds and whose scopes still count them. */
    private final AtomicInteger returned = new AtomicInteger(NONE);

    private int used;
    private int free = NONE;

    /** @param capacity ids that are held at once at most */
    public ObjectIds(final int capacity) {
        this.capacity = capacity;
        try {
            records = OffHeap.zeroes((long) capacity * BYTES, arena);
            // A hash of its own: several threads come here, one at a time.
            scopes = new ScopeTable(scopes(capacity), new SipHash(new SecureRandom()), arena);
        } catch (final RuntimeException failure) {
            arena.close();
            throw failure;
        }
    }

    /** Bytes of memory for so many. */
    static long bytes(final int capacity) {
        return (long) capacity * BYTES + ScopeTable.bytes(scopes(capacity));
    }

    private static int scopes(final int capacity) {
        return Math.min(capacity, Math.clamp(capacity / OBJECTS_OF_A_SCOPE, FEWEST_SCOPES, MOST_SCOPES));
    }

    int capacity() {
        return capacity;
    }

    /** Pairs of namespace and shard that objects may have together. */
    int scopeCapacity() {
        return scopes.capacity();
    }

    /** Above all numbers that were ever taken. */
    synchronized int used() {
        return used;
    }

    synchronized int scopes() {
        collect();
        return scopes.live();
    }

    /** A number for this id, held once; {@link #NONE}: all are held, or no further namespace and shard fit. */
    public synchronized int take(final Hash256 namespace, final Hash256 key, final Shard shard) {
        collect();
        if (free == NONE && used == capacity) {
            return NONE;
        }
        final int scope = scopes.enter(namespace, shard);
        if (scope == ScopeTable.NONE) {
            return NONE;
        }
        final int number;
        if (free == NONE) {
            number = used++;
        } else {
            number = free;
            free = next(number);
        }
        key.write(records, at(number) + KEY);
        records.set(LITTLE, at(number) + SCOPE, scope);
        records.set(ValueLayout.JAVA_INT, at(number) + HOLDS, 1);
        return number;
    }

    public int take(final ObjectId id) {
        return take(id.namespace(), id.key(), id.shard());
    }

    /** Once more, by somebody who knows that it is held. */
    public void hold(final int number) {
        final int before = (int) COUNT.getAndAdd(records, at(number) + HOLDS, 1);
        assert before > 0 : "nobody holds it";
    }

    public void release(final int number) {
        final int before = (int) COUNT.getAndAdd(records, at(number) + HOLDS, -1);
        assert before > 0 : "released once too often";
        if (before == 1) {
            int head;
            do {
                head = returned.get();
                next(number, head);
            } while (!returned.compareAndSet(head, number));
        }
    }

    /** Makes what was released free. Whoever releases very many calls it, so that the next {@link #take} is short. */
    public synchronized void collect() {
        int number = returned.get() == NONE ? NONE : returned.getAndSet(NONE);
        while (number != NONE) {
            final int next = next(number);
            scopes.leave(scope(number));
            next(number, free);
            free = number;
            number = next;
        }
    }

    private int next(final int number) {
        return records.get(ValueLayout.JAVA_INT, at(number) + NEXT);
    }

    private void next(final int number, final int other) {
        records.set(ValueLayout.JAVA_INT, at(number) + NEXT, other);
    }

    // ---- an id that is held

    public boolean is(final int number, final ObjectId id) {
        return is(number, id.namespace(), id.key(), id.shard());
    }

    boolean is(final int number, final Hash256 namespace, final Hash256 key, final Shard shard) {
        return equal(records, at(number) + KEY, key) && scopes.is(scope(number), namespace, shard);
    }

    public ObjectId id(final int number) {
        return new ObjectId(namespace(number), key(number), shard(number));
    }

    public Hash256 namespace(final int number) {
        return scopes.namespace(scope(number));
    }

    /** The namespace's first 64 bits. */
    public long namespaceBits(final int number) {
        return scopes.namespaceBits(scope(number));
    }

    public Hash256 key(final int number) {
        return Hash256.read(records, at(number) + KEY);
    }

    public Shard shard(final int number) {
        return scopes.shard(scope(number));
    }

    private int scope(final int number) {
        return records.get(LITTLE, at(number) + SCOPE) & SCOPE_MASK;
    }

    static boolean equal(final MemorySegment segment, final long at, final Hash256 hash) {
        return segment.get(ValueLayout.JAVA_LONG, at) == hash.a()
                && segment.get(ValueLayout.JAVA_LONG, at + 8) == hash.b()
                && segment.get(ValueLayout.JAVA_LONG, at + 16) == hash.c()
                && segment.get(ValueLayout.JAVA_LONG, at + 24) == hash.d();
    }

    static long at(final int number) {
        return (long) number * BYTES;
    }

    @Override
    public void close() {
        arena.close();
    }
}
