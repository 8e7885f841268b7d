package io.kvasir.storage.tier.ssd;

import static io.kvasir.storage.tier.ssd.SlotHeader.INT;
import static io.kvasir.storage.tier.ssd.SlotHeader.LONG;

import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.Shard;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;

/**
 * Every object of the tier, off-heap, 112 bytes each: its id, its length, its place, what it continues, its state, how many
 * read it, and its neighbors in the order of eviction. What else is known of it lies beside it on disk ({@link SlotHeader}).
 * Entries are small dense integers. {@link TierState} owns it and holds its lock around every call.
 */
final class EntryTable implements AutoCloseable {
    /** A slot is taken, its bytes are on the way. */
    static final int WRITING = 1;
    /** Readable, and survives anything. */
    static final int DURABLE = 2;
    /** Not readable any more; its removal is on the way. */
    static final int DELETING = 3;
    /** Its removal is durable; readers still hold its place. */
    static final int DELETED = 4;

    private static final int LENGTH = SlotHeader.ID_BYTES;
    private static final int EXTENT = LENGTH + 4;
    private static final int SLOT = LENGTH + 8;
    /** The state, and above it how many read. */
    private static final int USE = LENGTH + 12;

    private static final int COLDER = LENGTH + 16;
    private static final int WARMER = LENGTH + 20;
    private static final int PARENT = LENGTH + 24;
    static final int BYTES = LENGTH + 32;
    private static final int STATE_BITS = 3;
    private static final int NONE = -1;
    private static final int CHUNK_BITS = 12;
    private static final int CHUNK_MASK = (1 << CHUNK_BITS) - 1;

    private final Arena arena = Arena.ofShared();
    private final List<MemorySegment> chunks = new ArrayList<>();
    /** Entries that can be used again, linked by {@link #COLDER}. */
    private int free = NONE;

    private int next;

    /** An entry in no state, without a place. */
    int add(final ObjectId id, final long length, final Hash256 parent) {
        final int entry = take();
        SlotHeader.writeId(chunk(entry), offset(entry), id);
        describe(entry, length, parent);
        return entry;
    }

    /** As {@link #add}, with an id as it lies on disk. */
    int add(final MemorySegment ids, final long from, final long length, final Hash256 parent) {
        final int entry = take();
        MemorySegment.copy(ids, from, chunk(entry), offset(entry), SlotHeader.ID_BYTES);
        describe(entry, length, parent);
        return entry;
    }

    private int take() {
        if (free != NONE) {
            final int entry = free;
            free = colder(entry);
            return entry;
        }
        if ((next & CHUNK_MASK) == 0) {
            chunks.add(arena.allocate((long) BYTES << CHUNK_BITS, 8));
        }
        return next++;
    }

    private void describe(final int entry, final long length, final Hash256 parent) {
        set(entry, LENGTH, Math.toIntExact(length));
        set(entry, USE, 0);
        chunk(entry).set(LONG, offset(entry) + PARENT, parent.equals(Hash256.ZERO) ? 0 : hash(entry, parent));
    }

    void remove(final int entry) {
        set(entry, USE, 0);
        colder(entry, free);
        free = entry;
    }

    private MemorySegment chunk(final int entry) {
        return chunks.get(entry >>> CHUNK_BITS);
    }

    private static long offset(final int entry) {
        return (long) (entry & CHUNK_MASK) * BYTES;
    }

    private int get(final int entry, final int field) {
        return chunk(entry).get(INT, offset(entry) + field);
    }

    private void set(final int entry, final int field, final int value) {
        chunk(entry).set(INT, offset(entry) + field, value);
    }

    boolean is(final int entry, final ObjectId id) {
        final MemorySegment chunk = chunk(entry);
        final long at = offset(entry);
        return same(chunk, at, id.namespace())
                && same(chunk, at + 32, id.key())
                && chunk.get(LONG, at + 64) == id.shard().first()
                && chunk.get(LONG, at + 72) == id.shard().second();
    }

    private static boolean same(final MemorySegment chunk, final long at, final Hash256 hash) {
        return chunk.get(LONG, at) == hash.a()
                && chunk.get(LONG, at + 8) == hash.b()
                && chunk.get(LONG, at + 16) == hash.c()
                && chunk.get(LONG, at + 24) == hash.d();
    }

    /** {@link ObjectId#hash64()} of its id. */
    long hash(final int entry) {
        return hash(entry, Hash256.read(chunk(entry), offset(entry) + 32));
    }

    private long hash(final int entry, final Hash256 key) {
        final MemorySegment chunk = chunk(entry);
        final long at = offset(entry);
        return ObjectId.hash64(
                Hash256.read(chunk, at), key, Shard.of(chunk.get(LONG, at + 64), chunk.get(LONG, at + 72)));
    }

    /** The first 64 bits of the namespace. */
    long namespace(final int entry) {
        return chunk(entry).get(LONG, offset(entry));
    }

    ObjectId id(final int entry) {
        return SlotHeader.readId(chunk(entry), offset(entry));
    }

    long length(final int entry) {
        return get(entry, LENGTH);
    }

    /** The parent object's {@link ObjectId#hash64()}; 0 when there is no parent. */
    long parentHash(final int entry) {
        return chunk(entry).get(LONG, offset(entry) + PARENT);
    }

    int extent(final int entry) {
        return get(entry, EXTENT);
    }

    int slot(final int entry) {
        return get(entry, SLOT);
    }

    void place(final int entry, final int extent, final int slot) {
        set(entry, EXTENT, extent);
        set(entry, SLOT, slot);
    }

    /** The neighbor that leaves earlier, or -1. */
    int colder(final int entry) {
        return get(entry, COLDER);
    }

    void colder(final int entry, final int other) {
        set(entry, COLDER, other);
    }

    /** The neighbor that leaves later, or -1. */
    int warmer(final int entry) {
        return get(entry, WARMER);
    }

    void warmer(final int entry, final int other) {
        set(entry, WARMER, other);
    }

    int readers(final int entry) {
        return get(entry, USE) >>> STATE_BITS;
    }

    void readers(final int entry, final int value) {
        set(entry, USE, value << STATE_BITS | state(entry));
    }

    int state(final int entry) {
        return get(entry, USE) & (1 << STATE_BITS) - 1;
    }

    void state(final int entry, final int value) {
        set(entry, USE, readers(entry) << STATE_BITS | value);
    }

    @Override
    public void close() {
        arena.close();
    }
}
