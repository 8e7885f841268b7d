package io.kvasir.storage.tier;

import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.RegionInfo;
import io.kvasir.storage.object.TierKind;
import io.kvasir.storage.tenant.Tenant;

/**
 * A tier of regions that engines map, so that they copy its objects themselves. An object in it has an entry, a small
 * number which is another one's when the object has gone; a serial tells one use of a number from the next.
 *
 * <p>A slot has one owner: from {@link #reserve} to {@link #commit} the one that writes, then its object. It is another
 * object's only when that has left and nobody holds it, and then under another stamp.
 */
public interface AddressableTier extends Tier, AutoCloseable {
    /** No entry. */
    int NONE = -1;
    /** From {@link #reserve}: nothing could be evicted. */
    int NO_SPACE = -2;

    /** Entries have numbers below this. */
    int entryLimit();

    /** The entry here of the object that has this entry in the table, or {@link #NONE}. Drops it when it has expired. */
    int entry(int object);

    /** The entry of this entry's object in the table. */
    int object(int entry);

    int serial(int entry);

    /** Engines may copy it. */
    boolean isReadable(int entry);

    boolean isWriting(int entry);

    /** An earlier node left it here, and nobody has compared it with its checksum since. */
    default boolean isUnverified(final int entry) {
        return false;
    }

    /** It has left, and keeps its slot only because somebody holds it. */
    boolean isCondemned(int entry);

    /** The object that had the entry when its serial was this is still there. */
    default boolean is(final int entry, final int serial) {
        return serial(entry) == serial;
    }

    // ---- reading

    /** The object keeps its slot until {@link #unhold}, whatever happens to it. */
    void hold(int entry);

    void unhold(int entry);

    /** It was used. */
    void touch(int entry);

    /** The tier from which it came, until a hit of it was counted; this one from then on. */
    default TierKind origin(final int entry) {
        return kind();
    }

    /** The hit of the tier from which it came was counted. */
    default void originCounted(final int entry) {}

    int region(int entry);

    int slot(int entry);

    /** Of the slot: even while its object may be read, and never the same for two objects. */
    long stamp(int entry);

    long length(int entry);

    long slotBytes(int entry);

    /** Null when there is no such region. */
    RegionInfo regionInfo(int region);

    SlotBytes payload(int entry, long bytes);

    // ---- writing, by the node itself

    /**
     * A slot for an object that is not here; evicts for it what nobody holds.
     *
     * @return the entry, or a negative number
     */
    int reserve(Tenant tenant, ObjectId id, long length, int codec);

    /** Makes a reserved object readable, in one step. */
    void commit(int entry, int crc32c, Hash256 parent, int chunkIndex, int priority, long expiryUnixMs);

    /** Gives a reserved slot back; the writer has stopped. */
    void abort(int entry);

    /** It leaves; while somebody holds it, it keeps its slot. */
    void dropOrCondemn(int entry);

    @Override
    void close();

    // ---- as any tier: there is nothing to fetch

    @Override
    default Answer answer(final ObjectRef object, final long nowNs) {
        final int entry = entry(object.object());
        return entry != NONE && isReadable(entry) ? Answer.PRESENT : Answer.ABSENT;
    }

    @Override
    default long bytes(final ObjectRef object) {
        final int entry = entry(object.object());
        return entry == NONE ? 0 : length(entry);
    }

    @Override
    default long busyNs() {
        return 0;
    }

    @Override
    default long latencyNs(final ObjectRef object) {
        return 0;
    }

    @Override
    default long transferNs(final ObjectRef object) {
        return 0;
    }

    @Override
    default int fetch(final Tenant tenant, final ObjectRef object, final long worthNs, final long nowNs) {
        final int entry = entry(object.object());
        return entry == NONE ? NOT_HERE : entry;
    }
}
