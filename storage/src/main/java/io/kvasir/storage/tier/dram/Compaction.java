package io.kvasir.storage.tier.dram;

import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.TierKind;
import io.kvasir.storage.posix.PosixException;
import java.util.Arrays;
import org.agrona.collections.IntArrayList;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Frees memory without losing an object: moves the objects of a region with many free slots into free slots of other
 * regions of the same tenant and size, and retires the region. One region at a time; the bytes are copied on the thread
 * that makes regions, and checked there against the object's checksum. An object that is leased, is being written, or has
 * no checksum yet is not moved, and keeps its region. Owned by {@link DramTier}.
 */
final class Compaction {
    private static final Logger LOG = LoggerFactory.getLogger(Compaction.class);
    /** No region was found: so long none is looked for. */
    private static final long REST_MS = 20;
    /** A region that came to have an object just now is being filled. */
    private static final long FILLING_MS = 50;
    /** What one turn of the owner prepares. */
    private static final int OBJECTS_AT_ONCE = 512;

    private static final long BYTES_AT_ONCE = 16 << 20;
    /** A region is worth emptying when its objects are no more than so many times what is gained. */
    private static final int COST = 8;

    /** Objects under way: from the slots that they have to reserved ones. Arrays by position, the first {@code count} used. */
    private static final class Batch {
        final int[] entries = new int[OBJECTS_AT_ONCE];
        final int[] serials = new int[OBJECTS_AT_ONCE];
        final Region[] regions = new Region[OBJECTS_AT_ONCE];
        final int[] slots = new int[OBJECTS_AT_ONCE];
        final Payload[] from = new Payload[OBJECTS_AT_ONCE];
        final Payload[] into = new Payload[OBJECTS_AT_ONCE];
        final long[] sums = new long[OBJECTS_AT_ONCE];
        int count;

        Batch() {
            Arrays.fill(sums, LOST);
        }
    }

    /** In place of a checksum: the bytes could not be copied. */
    private static final long LOST = -1;

    private final DramContext context;
    private final DramTier dram;
    private final Regions regions;
    /** Null: no region is being emptied. */
    private Region emptying;
    /** For whom. */
    private Pool wanting;

    private long notBeforeMs;
    /** The last choice passed over a region only because it is being filled. */
    private boolean fillingSeen;

    private long fillingUntilMs;

    Compaction(final DramContext context, final DramTier dram, final Regions regions) {
        this.context = context;
        this.dram = dram;
        this.regions = regions;
    }

    /**
     * Starts to empty a region, or does so already for this pool.
     *
     * @param own only regions of the pool's own tenant
     * @return whether memory is on its way to this pool
     */
    boolean start(final Pool pool, final boolean own) {
        if (emptying != null) {
            return wanting == pool;
        }
        final long nowMs = context.clock().time();
        if (nowMs < notBeforeMs) {
            return false;
        }
        final Region region = choose(pool, own, nowMs);
        if (region == null) {
            fillingUntilMs = fillingSeen ? nowMs + FILLING_MS : 0;
            notBeforeMs = nowMs + REST_MS;
            return false;
        }
        final Pool home = region.pool();
        final int live = region.liveSlots();
        if (live > 0 && home.freeSlots() - region.freeCount() < live) {
            // Its objects move once there is a region of the right size for them.
            regions.make(home, smaller(home, live));
            return true;
        }
        wanting = pool;
        emptying = region;
        region.emptying(true);
        return next();
    }

    /** Objects were evicted: there may be a region to empty now. */
    void lookAgain() {
        notBeforeMs = 0;
    }

    /** Memory is being freed, or there will be a region to empty in a moment: nothing has to be evicted for that. */
    boolean isExpected(final Pool pool) {
        if (emptying != null) {
            return true;
        }
        final long nowMs = context.clock().time();
        return nowMs < fillingUntilMs && pool.mayWait(nowMs, 2 * FILLING_MS);
    }

    private Region choose(final Pool pool, final boolean own, final long nowMs) {
        Region best = null;
        long most = Long.MIN_VALUE;
        fillingSeen = false;
        for (final Region region : regions.all()) {
            if (region.freeCount() == 0
                    || region.pool() == pool
                    || !region.isIdle()
                    || region.isRuined()
                    || (own && region.tenant != pool.tenant)) {
                continue;
            }
            final long cost = region.liveSlots() * region.slotBytes;
            final long gain = gain(region, region.pool());
            if (gain <= 0 || gain * COST < cost) {
                continue;
            }
            if (nowMs - region.usedMs() < FILLING_MS) {
                fillingSeen = true;
            } else if (gain - cost / 4 > most) {
                best = region;
                most = gain - cost / 4;
            }
        }
        return best;
    }

    /** Bytes that emptying the region gives; 0 when it cannot be emptied. */
    private long gain(final Region region, final Pool home) {
        final int live = region.liveSlots();
        if (home.freeSlots() - region.freeCount() >= live) {
            return region.dataBytes();
        }
        final long smaller = smaller(home, live) * home.slotBytes;
        return home.growing
                        || !regions.canMake(home.tenant)
                        || smaller > regions.freeBytes()
                        || !home.tenant.account.mayGrow(smaller)
                ? 0
                : region.dataBytes() - smaller;
    }

    private long smaller(final Pool home, final int live) {
        return Math.max(live, regions.leastBytes(home) / home.slotBytes);
    }

    /** Goes on with the region that is being emptied; false when that has ended. */
    private boolean next() {
        final IntArrayList objects = new IntArrayList();
        for (int slot = 0; slot < emptying.slots; slot++) {
            if (emptying.entryOf[slot] != Region.NO_ENTRY) {
                final int entry = dram.dropIfExpired(emptying.entryOf[slot]);
                if (entry != DramTier.NONE) {
                    if (!isMovable(entry)) {
                        giveUp();
                        return false;
                    }
                    objects.addInt(entry);
                }
            }
        }
        if (emptying.isEmpty() && emptying.isIdle()) {
            final Region empty = emptying;
            final Pool pool = wanting;
            emptying = null;
            wanting = null;
            regions.discard(empty);
            regions.growAgain(pool);
            return true;
        }
        final Batch batch = prepare(objects);
        if (batch.count == 0) {
            giveUp();
            return false;
        }
        context.allocator().execute(() -> {
            try {
                copy(batch);
            } finally {
                context.completions().execute(() -> finish(batch));
            }
        });
        return true;
    }

    private Batch prepare(final IntArrayList objects) {
        final Batch batch = new Batch();
        long bytes = 0;
        for (int i = 0; i < objects.size() && i < OBJECTS_AT_ONCE && bytes < BYTES_AT_ONCE; i++) {
            final Region region = emptying.pool().region(Region.NODE);
            if (region == null) {
                break;
            }
            final int entry = objects.getInt(i);
            final long length = dram.length(entry);
            final int slot = reserve(entry, region);
            dram.hold(entry);
            batch.entries[i] = entry;
            batch.serials[i] = dram.serial(entry);
            batch.regions[i] = region;
            batch.slots[i] = slot;
            batch.from[i] = dram.payload(entry, length);
            batch.into[i] = region.payload(slot, length);
            batch.count++;
            bytes += length;
        }
        return batch;
    }

    private static void copy(final Batch batch) {
        for (int i = 0; i < batch.count; i++) {
            try {
                batch.sums[i] = Integer.toUnsignedLong(batch.from[i].copy(batch.into[i], batch.from[i].byteSize()));
            } catch (final PosixException gone) {
                LOG.debug("payload cannot be moved", gone);
            }
        }
    }

    private void finish(final Batch batch) {
        boolean all = true;
        for (int i = 0; i < batch.count; i++) {
            all &= finish(batch, i);
        }
        if (!all || emptying.isRuined()) {
            giveUp();
        } else {
            next();
        }
    }

    private boolean finish(final Batch batch, final int i) {
        final int entry = batch.entries[i];
        final Region into = batch.regions[i];
        final long sum = batch.sums[i];
        final boolean ruined = sum == LOST && inspect(entry, into);
        final boolean sound = sum != LOST && (int) sum == dram.crc32c(entry);
        dram.unhold(entry);
        if (!dram.is(entry, batch.serials[i]) || ruined || into.isRuined() || !isMovable(entry)) {
            // It was removed, or somebody leases it by now.
            abort(into, batch.slots[i]);
            return false;
        }
        if (!sound) {
            abort(into, batch.slots[i]);
            LOG.warn("{} does not fit its checksum; dropped", dram.id(entry));
            context.counters().corrupt.increment();
            dram.dropOrCondemn(entry);
            return false;
        }
        move(entry, into, batch.slots[i]);
        return true;
    }

    /** True when it can get another slot: nobody holds it, and its bytes can be checked. */
    private boolean isMovable(final int entry) {
        return dram.isReadable(entry) && !dram.isHeld(entry) && dram.isSummed(entry);
    }

    /** A slot into which the object is copied. Until {@link #move} or {@link #abort} it is the node's own to write. */
    private int reserve(final int entry, final Region into) {
        final ObjectId id = dram.id(entry);
        return into.reserve(id.namespace(), id.key(), id.shard(), dram.length(entry), Region.NODE, dram.codec(entry));
    }

    /** The copy is whole: from now on the object has the new slot, and the old one is free. The entry stays what it was. */
    private void move(final int entry, final Region into, final int slot) {
        assert isMovable(entry) : "an object was moved from under its reader";
        final int old = dram.slot(entry);
        into.headers.setCrc32c(slot, dram.crc32c(entry));
        // A node that ends between here and the end of this call leaves the object twice, and the next one takes one.
        into.commit(slot, dram.parent(entry), dram.chunkIndex(entry), dram.priority(entry), dram.expiry(entry));
        final Region from = dram.places().move(entry, into, slot);
        from.free(old);
        context.counters().moved.increment();
    }

    private static void abort(final Region into, final int slot) {
        into.unreserved();
        into.free(slot);
    }

    /** Whether an engine has damaged one of the two regions. */
    private boolean inspect(final int entry, final Region into) {
        final boolean from = dram.inspect(entry);
        return dram.inspect(into) || from;
    }

    private void giveUp() {
        final long nowMs = context.clock().time();
        emptying.emptying(false);
        emptying.used(nowMs);
        emptying = null;
        wanting = null;
        context.tierListener().spaceFreed(TierKind.DRAM);
    }
}
