package io.kvasir.storage.tier.ssd;

import static io.kvasir.storage.tier.ssd.SlotHeader.INT;

import io.kvasir.storage.index.ObjectIds;
import io.kvasir.storage.object.ObjectId;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;

/**
 * Every object of the tier, off-heap, 32 bytes each: the number of its id, its length, its place, hash bits of what it continues,
 * its state, how many read it, and its neighbors in the order of eviction. What else is known of it lies beside it on disk
 * ({@link SlotHeader}). Entries are small dense integers; each holds its id. {@link TierState} owns it and holds its lock
 * around every call.
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

    private static final int ID = 0;
    private static final int LENGTH = 4;
    private static final int EXTENT = 8;
    private static final int SLOT = 12;
    /** The state, and above it how many read. */
    private static final int USE = 16;

    private static final int COLDER = 20;
    private static final int WARMER = 24;
    private static final int PARENT = 28;
    static final int BYTES = 32;
    private static final int STATE_BITS = 3;
    private static final int NONE = -1;
    private static final int CHUNK_BITS = 12;
    private static final int CHUNK_MASK = (1 << CHUNK_BITS) - 1;

    private final ObjectIds ids;
    private final Arena arena = Arena.ofShared();
    private final List<MemorySegment> chunks = new ArrayList<>();
    /** Entries that can be used again, linked by {@link #COLDER}. */
    private int free = NONE;

    private int next;

    EntryTable(final ObjectIds ids) {
        this.ids = ids;
    }

    /**
     * An entry in no state, without a place.
     *
     * @param id its number, of which one hold is the entry's from now on
     * @param parent hash bits of the object that it continues; 0: of none
     */
    int add(final int id, final long length, final int parent) {
        final int entry = take();
        set(entry, ID, id);
        set(entry, LENGTH, Math.toIntExact(length));
        set(entry, USE, 0);
        set(entry, PARENT, parent);
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

    void remove(final int entry) {
        ids.release(get(entry, ID));
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

    /** The number of its id. */
    int number(final int entry) {
        return get(entry, ID);
    }

    boolean is(final int entry, final ObjectId id) {
        return ids.is(number(entry), id);
    }

    /** The first 64 bits of the namespace. */
    long namespace(final int entry) {
        return ids.namespaceBits(number(entry));
    }

    ObjectId id(final int entry) {
        return ids.id(number(entry));
    }

    long length(final int entry) {
        return get(entry, LENGTH);
    }

    /** Hash bits of the object that it continues; 0: of none. */
    int parent(final int entry) {
        return get(entry, PARENT);
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
