package io.kvasir.storage.tier.ssd;

import io.kvasir.storage.index.HashIndex;
import io.kvasir.storage.index.ObjectIds;
import io.kvasir.storage.index.ObjectTable;
import io.kvasir.storage.index.SipHash;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.policy.EvictionPolicy;
import java.security.SecureRandom;
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
    private static final int LEAVING = 1 << 16;

    final ReentrantLock lock = new ReentrantLock();
    /** Signalled when slots were freed and when writes became durable. */
    final Condition changed = lock.newCondition();

    final ObjectIds ids;
    final EntryTable entries;
    final ExtentPool pool;
    final SsdOrder policy;
    final SsdShares shares;
    /** What goes when there is no space. */
    final SsdEviction eviction;

    /** Writers of an object that is being written already; they hear when it is durable. */
    final Int2ObjectHashMap<List<Consumer<WriteOutcome>>> followers = new Int2ObjectHashMap<>();

    /** With a secret of its own. */
    private final SipHash hash = new SipHash(new SecureRandom());

    private final HashIndex index;
    private final ChildCounts children;

    /** Makes the loads of {@link #expect} count as used. */
    private final long[] read = new long[1];

    private long sequence;
    private long objects;
    private long usedBytes;
    private int writing;
    private int deleting;

    /** Gets the objects whose removal begins, under the lock. */
    private final Consumer<List<ObjectId>> withdrawn;

    TierState(
            final ObjectIds ids,
            final ExtentPool pool,
            final int maxObjects,
            final SsdShares shares,
            final Consumer<List<ObjectId>> withdrawn) {
        this.shares = shares;
        this.pool = pool;
        this.ids = ids;
        entries = new EntryTable(ids);
        policy = new SsdOrder(entries);
        index = new HashIndex(indexed(maxObjects), this::hash);
        children = new ChildCounts(maxObjects);
        this.withdrawn = withdrawn;
        eviction = new SsdEviction(this);
    }

    /**
     * Bytes of memory for so many objects, all off the heap: entries, index, children, who has each slot, and what a start
     * needs besides.
     */
    static long bytes(final int objects) {
        return objects * (long) (EntryTable.BYTES + Integer.BYTES + FoundObjects.BYTES + EntrySort.BYTES)
                + HashIndex.bytes(indexed(objects))
                + ChildCounts.bytes(objects);
    }

    /** With those that are leaving. */
    private static int indexed(final int objects) {
        return Math.min(ObjectTable.MAX_CAPACITY, objects + LEAVING);
    }

    // ---- looking

    /** The entry of this object, or -1. */
    int find(final ObjectId id) {
        return index.find(hash(id), entry -> entries.is(entry, id));
    }

    /** The durable entry of this object, or -1. */
    int findDurable(final ObjectId id) {
        final int entry = find(id);
        return entry >= 0 && entries.state(entry) == EntryTable.DURABLE ? entry : -1;
    }

    private long hash(final ObjectId id) {
        return hash(hash, id);
    }

    private static long hash(final SipHash with, final ObjectId id) {
        return with.of(id.namespace(), id.key(), id.shard());
    }

    private long hash(final int entry) {
        return hash(entries.id(entry));
    }

    /** The bits under which children are counted; 0: it continues none. */
    private static int parentBits(final SipHash with, final ObjectId id, final Hash256 parent) {
        return parent.equals(Hash256.ZERO) ? 0 : bits(with.of(id.namespace(), parent, id.shard()));
    }

    private static int bits(final long hash) {
        return (int) (hash >>> Integer.SIZE) | 1;
    }

    /** Whether an object here continues it, about. */
    boolean hasChildren(final int entry) {
        return children.has(bits(hash(entry)));
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
    int addWriting(final WriteRequest request, final Extent extent) {
        final ObjectId id = request.id();
        final StoredObject object = request.object();
        final int entry = entries.add(request.hold(ids), object.length(), parentBits(hash, id, object.parent()));
        entries.place(entry, extent.id, extent.take(entry));
        entries.state(entry, EntryTable.WRITING);
        index.put(hash(id), entry);
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

    /** What was found on disk, looked at by the thread that found it; see {@link #recover}. */
    static final class Found {
        private final ObjectId id;
        private final int number;
        private final long length;
        private final long hash;
        private final int parent;

        long length() {
            return length;
        }

        private Found(final ObjectId id, final int number, final long length, final long hash, final int parent) {
            this.id = id;
            this.number = number;
            this.length = length;
            this.hash = hash;
            this.parent = parent;
        }
    }

    /** The hash of {@link #find}, for another thread. */
    SipHash hasher() {
        return hash.copy();
    }

    /** Needs no lock. Null: no number is left for the id. */
    Found found(final ObjectId id, final long length, final Hash256 parent, final SipHash hasher) {
        final int number = ids.take(id);
        return number == ObjectIds.NONE
                ? null
                : new Found(id, number, length, hash(hasher, id), parentBits(hasher, id, parent));
    }

    /** It is not here after all. */
    void forget(final Found found) {
        ids.release(found.number);
    }

    /** Reads what {@link #recover} of these will need, while the loads are independent of each other. */
    void expect(final List<Found> all) {
        long sum = 0;
        for (final Found found : all) {
            sum += found == null ? 0 : index.expect(found.hash) + children.expect(found.parent);
        }
        read[0] = sum;
    }

    /**
     * Puts in what was found on disk; {@link #findOrder} follows.
     *
     * @return its entry, or -1, and it is forgotten: the slot or the id is taken
     */
    int recover(final Extent extent, final int slot, final Found found) {
        final int entry = entries.add(found.number, found.length, found.parent);
        if (index.find(found.hash, other -> entries.is(other, found.id)) >= 0 || !extent.own(slot, entry)) {
            entries.remove(entry);
            return -1;
        }
        entries.place(entry, extent.id, slot);
        entries.state(entry, EntryTable.DURABLE);
        index.put(found.hash, entry);
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
        index.remove(hash(entry), entry);
        countChild(entry, -1);
    }

    private void release(final int entry) {
        final Extent extent = pool.get(entries.extent(entry));
        extent.give(entries.slot(entry));
        usedBytes -= extent.slotBytes;
        entries.remove(entry);
    }

    private void countChild(final int entry, final int by) {
        final int parent = entries.parent(entry);
        if (parent != 0) {
            if (by > 0) {
                children.add(parent);
            } else {
                children.remove(parent);
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
