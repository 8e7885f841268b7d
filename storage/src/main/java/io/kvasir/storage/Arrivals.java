package io.kvasir.storage;

import io.kvasir.storage.dram.DramTier;
import io.kvasir.storage.dram.Eviction;
import io.kvasir.storage.dram.TenantArena;
import io.kvasir.storage.policy.EvictionPolicy;
import io.kvasir.storage.ssd.StoredObject;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.function.Consumer;
import org.agrona.collections.IntArrayList;

/** Objects that did not come from an engine of this node: sent by another node, or left by an earlier one. */
final class Arrivals {
    private final DramTier dram;
    private final SsdShelf ssd;
    private final StorageCounters counters;
    private final EvictionPolicy.Scan byHeat;

    Arrivals(final DramTier dram, final SsdShelf ssd, final StorageCounters counters) {
        this.dram = dram;
        this.ssd = ssd;
        this.counters = counters;
        byHeat = dram.scan();
    }

    Reception receive(
            final TenantArena tenant,
            final ObjectId id,
            final StoredObject object,
            final boolean copy,
            final boolean mayEvict) {
        final long hash = id.hash64();
        final int there = dram.find(hash, id.namespace(), id.key(), id.shard());
        if (there != DramTier.NONE) {
            final boolean busy = dram.isWriting(there) || dram.isCondemned(there);
            return new Reception(busy ? SlotStatus.IN_FLIGHT : SlotStatus.EXISTS, null);
        }
        if (ssd.has(hash)) {
            return new Reception(SlotStatus.EXISTS, null);
        }
        final Eviction evicts =
                mayEvict ? Eviction.ANYTHING : ssd.freeBytes() > object.length() ? Eviction.SAFE : Eviction.NOTHING;
        final int entry = dram.reserve(
                tenant, null, id.namespace(), id.key(), id.shard(), object.length(), object.codec(), evicts);
        return entry < 0
                ? new Reception(SlotStatus.NO_ROOM, null)
                : new Reception(SlotStatus.GRANTED, new Slot(entry, object, copy));
    }

    private final class Slot implements Incoming {
        private final int entry;
        private final int serial;
        private final StoredObject object;
        private final boolean copy;

        Slot(final int entry, final StoredObject object, final boolean copy) {
            this.copy = copy;
            this.entry = entry;
            this.object = object;
            serial = dram.serial(entry);
        }

        @Override
        public MemorySegment bytes() {
            return dram.payload(entry, object.length());
        }

        @Override
        public void commit() {
            assert dram.is(entry, serial) : "a slot that another node writes was taken away";
            dram.setCrc32c(entry, object.crc32c());
            dram.came(entry, TierKind.REMOTE);
            dram.commit(null, entry, object.parent(), object.chunkIndex(), object.priority(), object.expiryUnixMs());
            dram.copied(entry, copy);
            counters.received.increment();
        }

        @Override
        public void abort() {
            assert dram.is(entry, serial) : "a slot that another node writes was taken away";
            dram.abort(null, entry);
        }
    }

    /** Tells what the arena had when it was opened: of each chain the parents first. */
    void adopted(final Holdings holdings) {
        final List<Integer> found = new ArrayList<>(dram.unverified());
        found.sort(Comparator.comparingInt(dram::chunkIndex));
        for (final int entry : found) {
            holdings.held(
                    dram.id(entry), TierKind.DRAM, dram.length(entry), dram.parent(entry), dram.chunkIndex(entry));
        }
    }

    void forgetCopies() {
        final IntArrayList all = new IntArrayList();
        byHeat.restart();
        for (int entry = byHeat.next(); entry != DramTier.NONE; entry = byHeat.next()) {
            all.addInt(entry);
        }
        for (int i = 0; i < all.size(); i++) {
            dram.copied(all.getInt(i), false);
        }
    }

    void eachByHeat(final Consumer<ObjectId> each) {
        final IntArrayList coldestFirst = new IntArrayList();
        byHeat.restart();
        for (int entry = byHeat.next(); entry != DramTier.NONE; entry = byHeat.next()) {
            coldestFirst.addInt(entry);
        }
        for (int i = coldestFirst.size() - 1; i >= 0; i--) {
            each.accept(dram.id(coldestFirst.getInt(i)));
        }
    }
}
