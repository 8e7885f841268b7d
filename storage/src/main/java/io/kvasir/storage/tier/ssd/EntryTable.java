package io.kvasir.storage.tier.ssd;

import static io.kvasir.storage.tier.ssd.SlotHeader.BODY_BYTES;
import static io.kvasir.storage.tier.ssd.SlotHeader.INT;
import static io.kvasir.storage.tier.ssd.SlotHeader.LONG;

import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.Shard;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import org.agrona.collections.IntArrayList;

/**
 * Every object of the tier, off-heap, 168 bytes each: its body (see {@link SlotHeader}), its place, its state and how
 * many read it. Entries are small dense integers. {@link TierState} owns it and holds its lock around every call.
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

    private static final int EXTENT = BODY_BYTES;
    private static final int SLOT = BODY_BYTES + 4;
    private static final int READERS = BODY_BYTES + 8;
    private static final int STATE = BODY_BYTES + 12;
    private static final int BYTES = BODY_BYTES + 16;
    private static final int CHUNK_BITS = 12;
    private static final int CHUNK_MASK = (1 << CHUNK_BITS) - 1;

    private final Arena arena = Arena.ofShared();
    private final List<MemorySegment> chunks = new ArrayList<>();
    private final IntArrayList free = new IntArrayList();
    private int next;

    int add() {
        if (!free.isEmpty()) {
            return free.popInt();
        }
        if ((next & CHUNK_MASK) == 0) {
            chunks.add(arena.allocate((long) BYTES << CHUNK_BITS, 8));
        }
        return next++;
    }

    void remove(final int entry) {
        set(entry, STATE, 0);
        free.addInt(entry);
    }

    MemorySegment chunk(final int entry) {
        return chunks.get(entry >>> CHUNK_BITS);
    }

    static long offset(final int entry) {
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

    /** The first 64 bits of the namespace. */
    long namespace(final int entry) {
        return chunk(entry).get(LONG, offset(entry));
    }

    ObjectId id(final int entry) {
        return SlotHeader.readId(chunk(entry), offset(entry));
    }

    StoredObject object(final int entry) {
        return SlotHeader.readObject(chunk(entry), offset(entry));
    }

    long length(final int entry) {
        return chunk(entry).get(LONG, offset(entry) + SlotHeader.LENGTH);
    }

    long expiry(final int entry) {
        return chunk(entry).get(LONG, offset(entry) + SlotHeader.EXPIRY);
    }

    long sequence(final int entry) {
        return chunk(entry).get(LONG, offset(entry) + SlotHeader.SEQUENCE);
    }

    Hash256 parent(final int entry) {
        return Hash256.read(chunk(entry), offset(entry) + SlotHeader.PARENT);
    }

    /** The parent object's {@link ObjectId#hash64()}; 0 when there is no parent. */
    long parentHash(final int entry) {
        final Hash256 parent = parent(entry);
        if (parent.equals(Hash256.ZERO)) {
            return 0;
        }
        final MemorySegment chunk = chunk(entry);
        final long at = offset(entry);
        return ObjectId.hash64(
                Hash256.read(chunk, at), parent, Shard.of(chunk.get(LONG, at + 64), chunk.get(LONG, at + 72)));
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

    int readers(final int entry) {
        return get(entry, READERS);
    }

    void readers(final int entry, final int value) {
        set(entry, READERS, value);
    }

    int state(final int entry) {
        return get(entry, STATE);
    }

    void state(final int entry, final int value) {
        set(entry, STATE, value);
    }

    @Override
    public void close() {
        arena.close();
    }
}
