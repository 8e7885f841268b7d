package io.kvasir.storage.tier.ssd;

import io.kvasir.storage.index.HashIndex;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.policy.EvictionPolicy;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Consumer;
import java.util.function.IntToLongFunction;
import org.agrona.collections.Int2ObjectHashMap;
import org.agrona.collections.IntArrayList;

/**
 * What the tier holds and where: entries, their index, their order for eviction, the extents. Reader, writer and
 * committer share it under {@link #lock}, which is held for microseconds and never over I/O: a thread that owned it
 * alone would cost each read two more wake-ups.
 */
final class TierState implements AutoCloseable {
    final ReentrantLock lock = new ReentrantLock();
    /** Signalled when slots were freed and when writes became durable. */
    final Condition changed = lock.newCondition();

    final EntryTable entries = new EntryTable();
    final ExtentPool pool;
    final SsdOrder policy;
    final SsdShares shares;
    /** What goes when there is no space. */
    final SsdEviction eviction;

    /** Writers of an object that is being written already; they hear when it is durable. */
    final Int2ObjectHashMap<List<Consumer<WriteOutcome>>> followers = new Int2ObjectHashMap<>();

    private final HashIndex index;
    /** How many objects here continue one, by its hash; those of equal hash bits are counted together. */
    private final HashIndex children;

    private long sequence;
    private long objects;
    private long usedBytes;
    private int writing;
    private int deleting;

    /** Gets the objects whose removal begins, under the lock. */
    private final Consumer<List<ObjectId>> withdrawn;

    TierState(
            final ExtentPool pool,
            final int maxObjects,
            final SsdShares shares,
            final Consumer<List<ObjectId>> withdrawn) {
        this.shares = shares;
        this.pool = pool;
        policy = new SsdOrder(entries);
        index = new HashIndex(maxObjects, (entry, hash) -> entries.hash(entry) == hash);
        children = new HashIndex(maxObjects, (count, hash) -> true);
        this.withdrawn = withdrawn;
        eviction = new SsdEviction(this);
    }

    /**
     * Bytes of memory for so many objects, all off the heap: entries, index, children, who has each slot, and what a start
     * needs besides.
     */
    static long bytes(final int objects) {
        return objects * (long) (EntryTable.BYTES + Integer.BYTES + FoundObjects.BYTES + EntrySort.BYTES)
                + 2 * HashIndex.bytes(objects);
    }

    // ---- looking

    /** The entry under the id's hash, or -1; the caller confirms it with {@link EntryTable#is}. */
    int find(final long hash) {
        return index.find(hash);
    }

    /** The durable entry of this object, or -1. */
    int findDurable(final ObjectId id) {
        final int entry = find(id.hash64());
        return entry >= 0 && entries.state(entry) == EntryTable.DURABLE && entries.is(entry, id) ? entry : -1;
    }

    /** Whether an object here continues it. */
    boolean hasChildren(final int entry) {
        return children.find(entries.hash(entry)) > 0;
    }

    long objects() {
        return objects;
    }

    long usedBytes() {
        return usedBytes;
    }

    /** Objects that are here or on their way; those that leave do not count. */
    long occupants() {
        return objects + writing;
    }

    int writing() {
        return writing;
    }

    int deleting() {
        return deleting;
    }

    // ---- writing

    /** Puts a new object into a free slot of the extent; its state is {@link EntryTable#WRITING}. */
    int addWriting(final ObjectId id, final StoredObject object, final Extent extent) {
        final int entry = entries.add(id, object.length(), object.parent());
        entries.place(entry, extent.id, extent.take(entry));
        entries.state(entry, EntryTable.WRITING);
        index.put(id.hash64(), entry);
        countChild(entry, 1);
        usedBytes += extent.slotBytes;
        writing++;
        return entry;
    }

    void becameDurable(final int entry) {
        entries.state(entry, EntryTable.DURABLE);
        policy.add(entry);
        shares.add(entries.namespace(entry), slotBytes(entry));
        objects++;
        writing--;
    }

    /** A write failed; nothing of it is in RocksDB. */
    void abandonWriting(final int entry) {
        unlink(entry);
        writing--;
        release(entry);
    }

    /**
     * Puts in what was found on disk; {@link #findOrder} follows.
     *
     * @param bodies where its id lies, at {@code from}
     * @return its entry, or -1: the slot or the id is taken
     */
    int recover(
            final Extent extent,
            final int slot,
            final MemorySegment bodies,
            final long from,
            final StoredObject object) {
        final int entry = entries.add(bodies, from, object.length(), object.parent());
        final long hash = entries.hash(entry);
        if (index.find(hash) != HashIndex.NONE || !extent.own(slot, entry)) {
            entries.remove(entry);
            return -1;
        }
        entries.place(entry, extent.id, slot);
        entries.state(entry, EntryTable.DURABLE);
        index.put(hash, entry);
        countChild(entry, 1);
        usedBytes += slotBytes(entry);
        shares.add(entries.namespace(entry), slotBytes(entry));
        objects++;
        return entry;
    }

    /** The number of the next write; larger than those of all before, also of earlier nodes. */
    long nextSequence() {
        return ++sequence;
    }

    /** An object that is here was written under this number. */
    void sawSequence(final long of) {
        sequence = Math.max(sequence, of);
    }

    /** Undoes {@link #recover}. */
    void forget(final int entry) {
        shares.remove(entries.namespace(entry), slotBytes(entry));
        unlink(entry);
        objects--;
        release(entry);
    }

    // ---- deleting

    /**
     * From here on the objects are misses, and the listener is told so: before the removal can be durable, since nobody
     * may count on an object that the next start does not find. The caller hands the entries to the committer before it
     * gives the lock back.
     */
    void beginDelete(final IntArrayList victims) {
        final List<ObjectId> ids = new ArrayList<>(victims.size());
        for (int i = 0; i < victims.size(); i++) {
            final int entry = victims.getInt(i);
            if (entries.state(entry) != EntryTable.DURABLE) {
                throw new IllegalStateException("entry " + entry + " is not durable");
            }
            ids.add(entries.id(entry));
            shares.remove(entries.namespace(entry), slotBytes(entry));
            unlink(entry);
            policy.remove(entry);
            entries.state(entry, EntryTable.DELETING);
            objects--;
            deleting++;
        }
        withdrawn.accept(ids);
    }

    /** The removal is durable: the slot is free once nobody reads it. */
    void deleteCommitted(final int entry) {
        if (entries.readers(entry) == 0) {
            deleting--;
            release(entry);
        } else {
            entries.state(entry, EntryTable.DELETED);
        }
    }

    void beginRead(final int entry) {
        entries.readers(entry, entries.readers(entry) + 1);
    }

    void endRead(final int entry) {
        final int readers = entries.readers(entry) - 1;
        entries.readers(entry, readers);
        if (entries.state(entry) == EntryTable.DURABLE) {
            policy.touch(entry);
        } else if (readers == 0 && entries.state(entry) == EntryTable.DELETED) {
            deleting--;
            release(entry);
            changed.signalAll();
        }
    }

    private void unlink(final int entry) {
        index.remove(entries.hash(entry), entry);
        countChild(entry, -1);
    }

    private void release(final int entry) {
        final Extent extent = pool.get(entries.extent(entry));
        extent.give(entries.slot(entry));
        usedBytes -= extent.slotBytes;
        entries.remove(entry);
    }

    private void countChild(final int entry, final int by) {
        final long parent = entries.parentHash(entry);
        if (parent != 0) {
            final int before = children.find(parent);
            if (before != HashIndex.NONE) {
                children.remove(parent, before);
            }
            final int count = Math.max(0, before) + by;
            if (count > 0) {
                children.put(parent, count);
            }
        }
    }

    long slotBytes(final int entry) {
        return pool.get(entries.extent(entry)).slotBytes;
    }

    /** @param most at most so many */
    List<ObjectId> hottestFirst(final int most) {
        final List<ObjectId> found = new ArrayList<>();
        for (int e = policy.warmest(); e != EvictionPolicy.NONE && found.size() < most; e = entries.colder(e)) {
            found.add(entries.id(e));
        }
        return found;
    }

    /** Orders the entries that were recovered by when they were written. */
    void findOrder(final IntToLongFunction sequenceOf) {
        try (EntrySort found = new EntrySort(objects, sequenceOf)) {
            for (final Extent extent : pool.all()) {
                for (int slot = 0; slot < extent.slotCount; slot++) {
                    if (extent.owner(slot) >= 0) {
                        found.add(extent.owner(slot));
                    }
                }
            }
            found.sort();
            for (long i = 0; i < found.size(); i++) {
                policy.add(found.get(i));
            }
        }
    }

    @Override
    public void close() {
        pool.close();
        entries.close();
    }
}
