package io.kvasir.storage.tier.ssd;

import io.kvasir.storage.policy.EvictionPolicy;
import org.agrona.collections.Int2ObjectHashMap;
import org.agrona.collections.IntArrayList;

/**
 * Chooses what a full SSD tier gives up, in bounded time: cold objects of the size that is written, or an extent of
 * another size. What is warm stays while there is something colder, of whatever size: else a size with few extents
 * would give up what was written last, which DRAM would have to write again at once. {@link TierState}'s lock guards it.
 */
final class SsdEviction {
    /** For {@link #coldest}: slots of any size. */
    static final long ANY_SIZE = 0;

    /** How many of the coldest entries are looked at for an object of one size. */
    private static final int LOOKED_AT = 1024;

    /** How many are looked at to compare extents with each other. */
    private static final int COMPARED = 8 * LOOKED_AT;

    /** Some of the coldest entries of one extent. */
    private static final class Seen {
        private int entries;
        /** Sum of their warmth. */
        private double warmth;
    }

    private static final Seen NOTHING = new Seen();

    private final TierState state;
    private final EntryTable entries;
    private final SsdShares shares;
    private final EvictionPolicy.Scan scan;

    SsdEviction(final TierState state) {
        this.state = state;
        entries = state.entries;
        shares = state.shares;
        scan = state.policy.scan();
    }

    /**
     * What goes for one slot of this size: its coldest object when that is cold, else an extent of another size whose
     * objects are colder, else its coldest object. Empty when nothing can go.
     */
    IntArrayList forSlot(final long slotBytes) {
        final IntArrayList victims = coldestIfCold(slotBytes, 1);
        return victims.isEmpty() ? compare(slotBytes) : victims;
    }

    /** The coldest object that can go, of any size; empty when none can. */
    IntArrayList coldest() {
        return choose(ANY_SIZE, 1, Integer.MAX_VALUE, Long.MAX_VALUE);
    }

    /**
     * Up to {@code most} entries whose slots have this size, coldest first, of the colder half of the tier's bytes and of a
     * bounded number of its coldest entries. What others continue goes last: before it the end of a chain, cold or not,
     * since nobody finds that without what it continues.
     */
    IntArrayList coldestIfCold(final long slotBytes, final int most) {
        return choose(slotBytes, most, LOOKED_AT, state.usedBytes() / 2);
    }

    /** @param withinBytes beyond so many bytes of colder entries only ends of chains go, and only instead of a parent */
    private IntArrayList choose(final long slotBytes, final int most, final int looked, final long withinBytes) {
        final IntArrayList childless = new IntArrayList();
        final IntArrayList parents = new IntArrayList();
        int seen = 0;
        long colder = 0;
        shares.beginChoice();
        scan.restart();
        for (int e = scan.next();
                e != EvictionPolicy.NONE
                        && childless.size() < most
                        && seen < looked
                        && (colder < withinBytes || (childless.isEmpty() && !parents.isEmpty()));
                e = scan.next(), seen++) {
            final boolean cold = colder < withinBytes;
            colder += state.slotBytes(e);
            if (entries.readers(e) > 0
                    || (slotBytes != ANY_SIZE && state.slotBytes(e) != slotBytes)
                    || !(cold || isEndOfChain(e))
                    || !shares.choose(entries.namespace(e), state.slotBytes(e))) {
                continue;
            }
            if (seen < LOOKED_AT && state.hasChildren(e)) {
                parents.addInt(e);
            } else {
                childless.addInt(e);
            }
        }
        for (int i = 0; i < parents.size() && childless.size() < most; i++) {
            childless.addInt(parents.getInt(i));
        }
        return childless;
    }

    private boolean isEndOfChain(final int entry) {
        return entries.parent(entry) != 0 && !state.hasChildren(entry);
    }

    /**
     * Weighs the coldest object of this size against the extents of other sizes. An object's warmth is the bytes of those
     * that are colder, and the same for all that are not among the entries that are looked at; an extent's is the mean
     * over its slots, the empty ones' being 0.
     */
    private IntArrayList compare(final long slotBytes) {
        final Int2ObjectHashMap<Seen> byExtent = new Int2ObjectHashMap<>();
        int own = EvictionPolicy.NONE;
        double ownWarmth = Double.MAX_VALUE;
        double colder = 0;
        int looked = 0;
        shares.beginChoice();
        scan.restart();
        for (int e = scan.next(); e != EvictionPolicy.NONE && looked < COMPARED; e = scan.next(), looked++) {
            final Seen seen = byExtent.computeIfAbsent(entries.extent(e), id -> new Seen());
            seen.entries++;
            seen.warmth += colder;
            if (own == EvictionPolicy.NONE
                    && entries.readers(e) == 0
                    && state.slotBytes(e) == slotBytes
                    && shares.choose(entries.namespace(e), slotBytes)) {
                own = e;
                ownWarmth = colder;
            }
            colder += state.slotBytes(e);
        }
        Extent coldest = null;
        double least = ownWarmth;
        for (final Extent extent : state.pool.all()) {
            if (extent.used() > 0 && extent.slotBytes != slotBytes) {
                final Seen seen = byExtent.getOrDefault(extent.id, NOTHING);
                final double warmth = (seen.warmth + (extent.used() - seen.entries) * colder) / extent.slotCount;
                if (warmth < least && isEvictable(extent)) {
                    coldest = extent;
                    least = warmth;
                }
            }
        }
        if (coldest != null) {
            return all(coldest);
        }
        return own == EvictionPolicy.NONE
                ? choose(slotBytes, 1, Integer.MAX_VALUE, Long.MAX_VALUE)
                : SsdWriter.single(own);
    }

    private boolean isEvictable(final Extent extent) {
        shares.beginChoice();
        for (int slot = 0; slot < extent.slotCount; slot++) {
            final int entry = extent.owner(slot);
            if (entry >= 0
                    && (entries.state(entry) != EntryTable.DURABLE
                            || entries.readers(entry) > 0
                            || !shares.choose(entries.namespace(entry), extent.slotBytes))) {
                return false;
            }
        }
        return true;
    }

    private static IntArrayList all(final Extent extent) {
        final IntArrayList victims = new IntArrayList();
        for (int slot = 0; slot < extent.slotCount; slot++) {
            if (extent.owner(slot) >= 0) {
                victims.addInt(extent.owner(slot));
            }
        }
        return victims;
    }

    /** The coldest entries of tenants that are about to reach their maximum; bounded as every search is. */
    IntArrayList beyondShares() {
        final IntArrayList victims = new IntArrayList();
        for (final SsdShares.Share share : shares.all()) {
            long left = share.excess();
            int seen = 0;
            scan.restart();
            for (int e = left > 0 ? scan.next() : EvictionPolicy.NONE;
                    e != EvictionPolicy.NONE && left > 0 && seen < COMPARED;
                    e = scan.next(), seen++) {
                if (entries.readers(e) == 0 && shares.isOf(entries.namespace(e), share)) {
                    victims.addInt(e);
                    left -= state.slotBytes(e);
                }
            }
        }
        return victims;
    }
}
