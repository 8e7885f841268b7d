package io.kvasir.storage;

import io.kvasir.storage.metrics.StorageCounters;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.SlotStatus;
import io.kvasir.storage.object.TierKind;
import io.kvasir.storage.policy.EvictionPolicy;
import io.kvasir.storage.posix.PosixException;
import io.kvasir.storage.tier.TierListener;
import io.kvasir.storage.tier.dram.DramTier;
import io.kvasir.storage.tier.dram.Eviction;
import io.kvasir.storage.tier.dram.Payload;
import io.kvasir.storage.tier.dram.TenantArena;
import io.kvasir.storage.tier.ssd.StoredObject;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.agrona.collections.Int2ObjectHashMap;
import org.agrona.collections.IntArrayList;
import org.agrona.concurrent.NanoClock;

/**
 * Objects that did not come from an engine of this node: sent by another node, or left by an earlier one.
 *
 * <p>What a lookup had pulled stays until it is leased, within a time and a share of DRAM: it is a copy, and copies give way
 * first, so that in a full DRAM the chunks of one prefix would drive each other out before the last of them is here.
 */
final class Arrivals {
    /** A lookup that is still waiting, or an engine that asks again, has come by then. */
    private static final long KEPT_NS = TimeUnit.SECONDS.toNanos(3);
    /** Part of DRAM that may be kept so; as much as pulls may have on their way. */
    private static final int KEPT_PART = 4;

    private record Kept(int entry, long bytes, long untilNs) {}

    private final DramTier dram;
    private final SsdShelf ssd;
    private final StorageCounters counters;
    private final NanoClock clock;
    private final EvictionPolicy.Scan byHeat;
    /** Oldest first; those that were leased since are no longer in the map. */
    private final ArrayDeque<Kept> kept = new ArrayDeque<>();

    private final Int2ObjectHashMap<Kept> keptByEntry = new Int2ObjectHashMap<>();
    private long keptBytes;

    Arrivals(final DramTier dram, final SsdShelf ssd, final NanoClock clock, final StorageCounters counters) {
        this.dram = dram;
        this.ssd = ssd;
        this.clock = clock;
        this.counters = counters;
        byHeat = dram.scan();
    }

    Reception receive(
            final TenantArena tenant,
            final ObjectId id,
            final StoredObject object,
            final boolean copy,
            final boolean mayEvict) {
        final int there = dram.find(id.namespace(), id.key(), id.shard());
        if (there != DramTier.NONE) {
            final boolean busy = dram.isWriting(there) || dram.isCondemned(there);
            return new Reception(busy ? SlotStatus.IN_FLIGHT : SlotStatus.EXISTS, null);
        }
        if (ssd.has(id)) {
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
        private final Payload bytes;

        Slot(final int entry, final StoredObject object, final boolean copy) {
            this.copy = copy;
            this.entry = entry;
            this.object = object;
            serial = dram.serial(entry);
            bytes = dram.payload(entry, object.length());
        }

        @Override
        public void write(final long position, final MemorySegment from) {
            try {
                bytes.write(position, from);
            } catch (final PosixException gone) {
                throw new UncheckedIOException(gone);
            }
        }

        @Override
        public void commit() {
            assert dram.is(entry, serial) : "a slot that another node writes was taken away";
            if (dram.isRuined(entry)) {
                dram.abort(null, entry);
                return;
            }
            dram.setCrc32c(entry, object.crc32c());
            dram.came(entry, TierKind.REMOTE);
            dram.commit(null, entry, object.parent(), object.chunkIndex(), object.priority(), object.expiryUnixMs());
            dram.copied(entry, copy);
            if (copy) {
                keep(entry);
            }
            counters.received.increment();
        }

        @Override
        public void abort() {
            assert dram.is(entry, serial) : "a slot that another node writes was taken away";
            dram.inspect(entry);
            dram.abort(null, entry);
        }
    }

    private void keep(final int entry) {
        final Kept arrival = new Kept(entry, dram.slotBytes(entry), clock.nanoTime() + KEPT_NS);
        dram.hold(entry);
        kept.add(arrival);
        keptByEntry.put(entry, arrival);
        keptBytes += arrival.bytes;
        while (keptBytes > dram.capacity() / KEPT_PART) {
            letGo(kept.poll());
        }
    }

    private int letGo(final Kept arrival) {
        if (!keptByEntry.remove(arrival.entry, arrival)) {
            return 0;
        }
        keptBytes -= arrival.bytes;
        dram.unhold(arrival.entry);
        return 1;
    }

    /** A lease holds the entry from here on. */
    void leased(final int entry) {
        final Kept arrival = keptByEntry.get(entry);
        if (arrival != null) {
            letGo(arrival);
        }
    }

    int doWork(final long nowNs) {
        int done = 0;
        while (!kept.isEmpty() && nowNs - kept.peek().untilNs >= 0) {
            done += letGo(kept.poll());
        }
        return done;
    }

    /** Tells what the arena had when it was opened: of each chain the parents first. */
    void adopted(final TierListener listener) {
        final List<Integer> found = new ArrayList<>(dram.unverified());
        found.sort(Comparator.comparingInt(dram::chunkIndex));
        for (final int entry : found) {
            listener.found(
                    TierKind.DRAM, dram.id(entry), dram.length(entry), dram.parent(entry), dram.chunkIndex(entry));
        }
        listener.warm(TierKind.DRAM, found.isEmpty());
    }

    void forgetCopies() {
        final IntArrayList all = coldestFirst();
        for (int i = 0; i < all.size(); i++) {
            dram.copied(all.getInt(i), false);
        }
    }

    void eachByHeat(final Consumer<ObjectId> each) {
        final IntArrayList all = coldestFirst();
        for (int i = all.size() - 1; i >= 0; i--) {
            each.accept(dram.id(all.getInt(i)));
        }
    }

    private IntArrayList coldestFirst() {
        final IntArrayList all = new IntArrayList();
        byHeat.restart();
        for (int entry = byHeat.next(); entry != DramTier.NONE; entry = byHeat.next()) {
            all.addInt(entry);
        }
        return all;
    }
}
