package io.kvasir.storage.index;

import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.Shard;
import io.kvasir.storage.object.TierKind;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.function.IntUnaryOperator;

/**
 * Every object that the node knows: in which tiers it is, and where there. An object is an entry with a small number,
 * which stays the same as long as the entry does; a serial tells one use of a number from the next. Entries are found by
 * a keyed hash ({@link ObjectHash}) and confirmed by the whole id, so that no two objects are ever taken for one.
 *
 * <p>Off the heap, at most {@link #BYTES_FOR_EACH} bytes for each object, the search included, and never more than its
 * capacity: {@link #FULL} is an answer. Memory is taken as entries are first used. Searching allocates nothing. For the
 * thread that owns the store alone; the threads of tiers get places in their requests and never look here.
 */
public final class ObjectTable implements AutoCloseable {
    /** No entry. */
    public static final int NONE = -1;
    /** From {@link #put}: the capacity is used up. */
    public static final int FULL = -2;

    /** Without what small tables take for namespaces and shards, 63 bytes a pair. */
    public static final int BYTES_FOR_EACH = 80;

    public static final int MAX_CAPACITY = 1 << 30;

    // Facts beside the id; the owner's alone.
    /** The high bits of its hash. */
    private static final int HIGH = ObjectIds.FACTS;

    private static final int SERIAL = ObjectIds.FACTS + 4;
    private static final int LENGTH = ObjectIds.FACTS + 8;
    private static final int REPLICAS = ObjectIds.FACTS + 12;
    private static final int DRAM_PLACE = ObjectIds.FACTS + 16;
    /** A bit for each tier, and one that says that the number is an entry here. */
    private static final int FLAGS = ObjectIds.FLAGS;

    private static final int LIVE = 1 << 7;

    private final Arena arena = Arena.ofShared();
    private final ObjectHash hash;
    private final int capacity;
    private final ObjectIds ids;
    private final MemorySegment entries;
    private final ProbeArray probes;
    private final IntUnaryOperator highOf = this::high;
    private int live;
    private long removals;
    /** Makes the loads of {@link #probe} and {@link #expect} count as used. */
    private final long[] read = new long[1];

    /** @param capacity objects that it holds at most */
    public ObjectTable(final int capacity, final ObjectHash hash) {
        if (capacity < 1 || capacity > MAX_CAPACITY) {
            throw new IllegalArgumentException(
                    "an object table is for 1 to " + MAX_CAPACITY + " objects, not " + capacity);
        }
        this.capacity = capacity;
        this.hash = hash;
        try {
            ids = new ObjectIds(capacity);
            try {
                probes = new ProbeArray(capacity, arena);
            } catch (final RuntimeException failure) {
                ids.close();
                throw failure;
            }
        } catch (final RuntimeException failure) {
            arena.close();
            throw failure;
        }
        entries = ids.records;
    }

    /** Bytes of memory that a table for so many objects takes when it is full. */
    public static long bytes(final int capacity) {
        return ObjectIds.bytes(capacity) + ProbeArray.bytes(capacity);
    }

    /** The ids of its objects: an entry's number is its id's, and the table holds it. Others may hold it too. */
    public ObjectIds ids() {
        return ids;
    }

    public int capacity() {
        return capacity;
    }

    /** Pairs of namespace and shard that objects may have together; {@link #put} answers {@link #FULL} to a further one. */
    public int scopeCapacity() {
        return ids.scopeCapacity();
    }

    public int scopes() {
        return ids.scopes();
    }

    /** Objects that have an entry. */
    public int size() {
        return live;
    }

    /** Entries that were removed so far: while this stays the same, an entry that was found is still the object's. */
    public long removals() {
        return removals;
    }

    // ---- finding

    /** What {@link #find} and {@link #put} need; differs from node to node and from start to start. */
    public long hash(final Hash256 namespace, final Hash256 key, final Shard shard) {
        return hash.of(namespace, key, shard);
    }

    /** The entry of this object, or {@link #NONE}. */
    public int find(final long objectHash, final Hash256 namespace, final Hash256 key, final Shard shard) {
        int at = probes.home(ProbeArray.high(objectHash));
        for (int word = probes.word(at); word != 0; word = probes.word(at)) {
            final int entry = probes.number(word, objectHash);
            if (entry != NONE && is(entry, namespace, key, shard)) {
                return entry;
            }
            at = probes.next(at);
        }
        return NONE;
    }

    public int find(final ObjectId id) {
        return find(hash(id.namespace(), id.key(), id.shard()), id.namespace(), id.key(), id.shard());
    }

    /**
     * The first step of {@link #find} for many objects at once: loops without dependent loads, so that the processor waits
     * for many cache lines at a time. {@link #confirm} is the second step.
     */
    public void probe(final long[] hashes, final int[] candidates, final int from, final int to) {
        for (int i = from; i < to; i++) {
            candidates[i] = probes.first(hashes[i]);
        }
        long sum = 0;
        for (int i = from; i < to; i++) {
            if (candidates[i] != NONE) {
                sum += serial(candidates[i]);
            }
        }
        read[0] = sum;
    }

    /** Reads what {@link #find} and {@link #put} of these will need of the search; changes nothing. */
    public void expect(final long[] hashes, final int count) {
        long sum = 0;
        for (int i = 0; i < count; i++) {
            sum += probes.word(probes.home(ProbeArray.high(hashes[i])));
        }
        read[0] = sum;
    }

    /** Reads what {@link #remove} of these entries will need; changes nothing. */
    public void expectRemoval(final int[] some, final int count) {
        long sum = 0;
        for (int i = 0; i < count; i++) {
            sum += probes.word(probes.home(high(some[i])));
        }
        read[0] = sum;
    }

    /** The candidate that {@link #probe} gave, when it is this object, or another entry that is; nothing was put since. */
    public int confirm(
            final int candidate, final long objectHash, final Hash256 namespace, final Hash256 key, final Shard shard) {
        // Without a candidate no entry has these hash bits. One that was removed since is none.
        return candidate == NONE || is(candidate, namespace, key, shard)
                ? candidate
                : find(objectHash, namespace, key, shard);
    }

    private boolean is(final int entry, final Hash256 namespace, final Hash256 key, final Shard shard) {
        return isLive(entry) && ids.is(entry, namespace, key, shard);
    }

    // ---- putting in and taking out

    /**
     * The entry of this object: the one that is there, or a new one, in no tier, of length 0.
     *
     * @return {@link #FULL} when there is none and no further one fits
     */
    public int put(final long objectHash, final Hash256 namespace, final Hash256 key, final Shard shard) {
        final int known = find(objectHash, namespace, key, shard);
        if (known != NONE) {
            return known;
        }
        final int entry = ids.take(namespace, key, shard);
        if (entry == ObjectIds.NONE) {
            return FULL;
        }
        begin(entry, objectHash);
        return entry;
    }

    /**
     * As {@link #put}, of an id that somebody else has found: its own number becomes the entry when there is none.
     *
     * @param number one of {@link #ids}, held by the caller
     * @param id what it stands for
     */
    public int adopt(final int number, final long objectHash, final ObjectId id) {
        final int known = find(objectHash, id.namespace(), id.key(), id.shard());
        if (known != NONE) {
            return known;
        }
        ids.hold(number);
        begin(number, objectHash);
        return number;
    }

    private void begin(final int entry, final long objectHash) {
        final long at = at(entry);
        entries.set(ValueLayout.JAVA_INT, at + HIGH, ProbeArray.high(objectHash));
        entries.set(ValueLayout.JAVA_INT, at + SERIAL, serial(entry) + 1);
        entries.set(ValueLayout.JAVA_INT, at + LENGTH, 0);
        entries.set(ValueLayout.JAVA_BYTE, at + FLAGS, (byte) LIVE);
        probes.add(objectHash, entry);
        live++;
    }

    /** The object is no longer in this tier, and in none: its number may be another one's from now on. */
    public void leave(final int entry, final TierKind tier) {
        in(entry, tier, false);
        if (!isAnywhere(entry)) {
            remove(entry);
        }
    }

    /** No object is in this tier any more. Looks at every entry. */
    public void leaveAll(final TierKind tier) {
        final int end = ids.used();
        for (int entry = 0; entry < end; entry++) {
            if (isLive(entry) && isIn(entry, tier)) {
                leave(entry, tier);
            }
        }
    }

    public int put(final ObjectId id) {
        return put(hash(id.namespace(), id.key(), id.shard()), id.namespace(), id.key(), id.shard());
    }

    /** The object is in no tier any more; its number may be another one's from now on. */
    public void remove(final int entry) {
        final long at = at(entry);
        assert isLive(entry) : "an entry was removed twice";
        probes.remove(high(entry), entry, highOf);
        entries.set(ValueLayout.JAVA_BYTE, at + FLAGS, (byte) 0);
        entries.set(ValueLayout.JAVA_INT, at + SERIAL, serial(entry) + 1);
        live--;
        removals++;
        ids.release(entry);
    }

    // ---- an entry

    private int high(final int entry) {
        return entries.get(ValueLayout.JAVA_INT, at(entry) + HIGH);
    }

    /** True while the number stands for an object. */
    public boolean isLive(final int entry) {
        return entry >= 0 && entry < capacity && (flags(entry) & LIVE) != 0;
    }

    /** Changes with each use of the number. */
    public int serial(final int entry) {
        return entries.get(ValueLayout.JAVA_INT, at(entry) + SERIAL);
    }

    /** Whether the number still stands for the object that it stood for when it had this serial. */
    public boolean is(final int entry, final int expectedSerial) {
        return serial(entry) == expectedSerial;
    }

    public ObjectId id(final int entry) {
        return ids.id(entry);
    }

    /** Whether the object has a place in this tier. */
    public boolean isIn(final int entry, final TierKind tier) {
        return (flags(entry) & bit(tier)) != 0;
    }

    /** Whether it has a place in any tier. */
    public boolean isAnywhere(final int entry) {
        return (flags(entry) & ~LIVE) != 0;
    }

    public void in(final int entry, final TierKind tier, final boolean present) {
        final int before = flags(entry);
        final int after = present ? (before | bit(tier)) : (before & ~bit(tier));
        entries.set(ValueLayout.JAVA_BYTE, at(entry) + FLAGS, (byte) after);
    }

    private int flags(final int entry) {
        return entries.get(ValueLayout.JAVA_BYTE, at(entry) + FLAGS) & 0xff;
    }

    private static int bit(final TierKind tier) {
        return 1 << (tier.code() - 1);
    }

    /** Bytes of the object. */
    public int length(final int entry) {
        return entries.get(ValueLayout.JAVA_INT, at(entry) + LENGTH);
    }

    public void length(final int entry, final int bytes) {
        entries.set(ValueLayout.JAVA_INT, at(entry) + LENGTH, bytes);
    }

    /** Region and slot in DRAM, see {@link #place}; only while it is there. */
    public long dramPlace(final int entry) {
        return entries.get(ValueLayout.JAVA_LONG, at(entry) + DRAM_PLACE);
    }

    public void dramPlace(final int entry, final long place) {
        entries.set(ValueLayout.JAVA_LONG, at(entry) + DRAM_PLACE, place);
    }

    /** A file of a tier and a slot in it, as one number. */
    public static long place(final int file, final int slot) {
        return ((long) file << Integer.SIZE) | Integer.toUnsignedLong(slot);
    }

    public static int file(final long place) {
        return (int) (place >>> Integer.SIZE);
    }

    public static int slot(final long place) {
        return (int) place;
    }

    /** What is known of other nodes' replicas: a number of the remote tier's, only while it says that it has the object. */
    public int replicas(final int entry) {
        return entries.get(ValueLayout.JAVA_INT, at(entry) + REPLICAS);
    }

    public void replicas(final int entry, final int record) {
        entries.set(ValueLayout.JAVA_INT, at(entry) + REPLICAS, record);
    }

    private static long at(final int entry) {
        return ObjectIds.at(entry);
    }

    @Override
    public void close() {
        arena.close();
        ids.close();
    }
}
