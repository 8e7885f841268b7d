package io.kvasir.storage.tier.dram;

import io.kvasir.storage.index.ObjectTable;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.TierKind;
import io.kvasir.storage.tier.TierListener;

/**
 * Which slot each object has: the node's table, {@link Entries} and the regions say so alike, and change together here.
 * Owned by {@link DramTier}.
 */
final class Places {
    private static final int NONE = Entries.NONE;

    private final ObjectTable table;
    private final Entries entries;
    private final Regions regions;
    private final TierListener listener;
    private long usedBytes;

    Places(final ObjectTable table, final Entries entries, final Regions regions, final TierListener listener) {
        this.table = table;
        this.entries = entries;
        this.regions = regions;
        this.listener = listener;
    }

    /** The entry here of the object that has this entry in the table, expired or not; {@link Entries#NONE}. */
    int entry(final int object) {
        if (object < 0 || !table.isIn(object, TierKind.DRAM)) {
            return NONE;
        }
        final long place = table.dramPlace(object);
        return regions.get(ObjectTable.file(place)).entryOf[ObjectTable.slot(place)];
    }

    int entry(final ObjectId id) {
        return entry(table.find(id));
    }

    /** The object has this slot from now on; its entry. */
    int insert(final Region region, final int slot, final int object, final long hash, final byte state) {
        final int entry = entries.take(region, slot, hash, object, state);
        table.dramPlace(object, ObjectTable.place(region.id, slot));
        table.in(object, TierKind.DRAM, true);
        region.entryOf[slot] = entry;
        usedBytes += region.slotBytes;
        region.tenant.account.dram(region.slotBytes);
        return entry;
    }

    /** The object has another slot of the same size from now on; the one that it had, of the region returned, is the caller's. */
    Region move(final int entry, final Region into, final int slot) {
        final Region from = entries.region[entry];
        from.entryOf[entries.slot[entry]] = Region.NO_ENTRY;
        into.entryOf[slot] = entry;
        entries.region[entry] = into;
        entries.slot[entry] = slot;
        table.dramPlace(entries.object[entry], ObjectTable.place(into.id, slot));
        return from;
    }

    /** The object has no place here any more; its slot is the caller's. */
    void forget(final int entry) {
        table.leave(entries.object[entry], TierKind.DRAM);
        giveUp(entry);
    }

    /** The same, of an object that the table does not find here any more. */
    void giveUp(final int entry) {
        final Region region = entries.region[entry];
        region.entryOf[entries.slot[entry]] = Region.NO_ENTRY;
        usedBytes -= region.slotBytes;
        region.tenant.account.dram(-region.slotBytes);
        entries.give(entry);
        listener.settled(entry);
    }

    /** Bytes of slots that hold or await an object. */
    long usedBytes() {
        return usedBytes;
    }
}
