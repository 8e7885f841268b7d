package io.kvasir.storage.tier.dram;

import io.kvasir.storage.object.SizeClass;
import io.kvasir.storage.object.StorageException;
import io.kvasir.storage.object.TierKind;
import java.io.IOException;
import java.util.Collection;
import java.util.Iterator;
import java.util.List;
import java.util.function.Consumer;
import org.agrona.collections.Int2ObjectHashMap;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Which regions there are, and where the next slot comes from: a free slot, a new region, memory that {@link Compaction}
 * frees, or what is evicted. A region is made for one pool, with as many slots as that needs. Owned by {@link DramTier}.
 */
final class Regions implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(Regions.class);
    private static final int INSPECTED_AT_ONCE = 64;
    /** How long others leave new regions to a tenant below its minimum that asked for one; it asks again meanwhile. */
    private static final long OWED_MS = 500;
    /** A tenant below its minimum for which others could give nothing looks at them again. */
    private static final long TAKES_AGAIN_MS = 20;
    /** After a region could not be made. */
    private static final long RETRY_MS = 1000;
    /** While so much of the capacity is free, each new region is a whole one. */
    private static final int PLENTY = 4;
    /** A pool's first region, when memory is scarce, is so many times smaller than a whole one. */
    private static final int SMALLEST = 32;
    /** Each takes three of the mappings that a process may have, usually 65,530. */
    private static final int MOST_REGIONS = 8192;
    /** The part of the capacity that is left for {@link Compaction} to move objects into, where there are several pools. */
    private static final int HEADROOM = 128;

    /** So long a pool waits for the memory of what was evicted for it in others. */
    private static final long EVICTED_MS = 20;

    private static final long NEVER = Long.MAX_VALUE;

    /** Takes an object out that nobody holds, so that its slot is free. */
    @FunctionalInterface
    interface Evictor {
        void evict(int entry);
    }

    private final DramContext context;
    private final ArenaFiles files;
    private final RegionMaker maker;
    private final Compaction compaction;
    private final Entries entries;
    private final Victims victims;
    private final Evictor evictor;
    private final Int2ObjectHashMap<Region> byId = new Int2ObjectHashMap<>();
    private Iterator<Region> turn = List.<Region>of().iterator();
    private long bytes;
    /** Of regions that are being made. */
    private long promisedBytes;
    /** Pools with a region. */
    private int pools;

    private boolean arrived;
    private long notBeforeMs;
    private long owedUntilMs;
    /** When those who wait for space are told that there may be some, whatever happens until then. */
    private long tellAtMs = NEVER;

    /** Random at each start: a name of an earlier node's region never comes again. */
    private int next;

    Regions(
            final DramContext context,
            final ArenaFiles files,
            final DramTier dram,
            final Entries entries,
            final Victims victims,
            final Evictor evictor) {
        this.context = context;
        next = context.random().nextInt(1, 1 << 30);
        this.files = files;
        this.entries = entries;
        this.victims = victims;
        this.evictor = evictor;
        maker = new RegionMaker(files, context);
        compaction = new Compaction(context, dram, this);
    }

    Region get(final int id) {
        return byId.get(id);
    }

    Collection<Region> all() {
        return byId.values();
    }

    /** Payload bytes of all regions. */
    long bytes() {
        return bytes;
    }

    /** Capacity that no region has, nor will have. */
    long freeBytes() {
        return context.capacity() - bytes - promisedBytes;
    }

    /** Of the smallest region for this pool. */
    long leastBytes(final Pool pool) {
        return (leastBytes() + pool.slotBytes - 1) / pool.slotBytes * pool.slotBytes;
    }

    /** No region is made smaller, so that their number is bounded. */
    private long leastBytes() {
        final long least = Math.max(context.regionBytes() / SMALLEST, context.capacity() / MOST_REGIONS);
        return Math.min(context.regionBytes(), Math.max(SizeClass.PAGE, least & -SizeClass.PAGE));
    }

    /** A region that an earlier node left. */
    void adopt(final Region region) {
        region.tenant.account.regions(region.dataBytes());
        add(region);
    }

    private void add(final Region region) {
        byId.put(region.id, region);
        region.tenant.regions.add(region);
        bytes += region.dataBytes();
        final Pool pool = region.tenant.pool(region.slotBytes);
        pools += pool.isEmpty() ? 1 : 0;
        pool.add(region);
        region.used(context.clock().time());
    }

    /** Refuses when the file system cannot hold what the capacity promises. */
    void requireSpace() {
        final long usable = files.usableBytes();
        final long missing = context.capacity() - bytes;
        if (missing > usable) {
            throw new StorageException("dram.capacity is " + context.capacity() + " bytes, but " + context.directory()
                    + " has " + bytes + " bytes of regions and " + usable
                    + " bytes free; make the file system larger (mount -o remount,size=...) or dram.capacity smaller");
        }
    }

    void searchBudget(final int steps) {
        victims.budget(steps);
    }

    int searchLeft() {
        return victims.left();
    }

    /** A region of the tenant with a free slot of this size for this writer; null when there is none now. */
    Region withRoom(
            final TenantArena tenant,
            final Attachments.Entry attachment,
            final long writer,
            final long slotBytes,
            final Eviction evicts) {
        final Region last = attachment == null ? null : attachment.last;
        if (last != null && last.slotBytes == slotBytes && last.hasFree() && last.admits(writer)) {
            growAhead(last.pool());
            return last;
        }
        final Pool pool = tenant.pool(slotBytes);
        final Region free = pool.region(writer);
        if (free != null) {
            growAhead(pool);
            return free;
        }
        // Nothing is evicted while the capacity is not used up; the caller waits for the next region.
        final boolean inTime = isInTime(tenant);
        if (pool.growing || grow(pool)) {
            return null;
        }
        final long nowMs = context.clock().time();
        final boolean owed = inTime && tenant.account.isOwed(leastBytes(pool));
        if (owed) {
            owedUntilMs = nowMs + OWED_MS;
        }
        if (evicts == Eviction.NOTHING) {
            return null;
        }
        if (!inTime) {
            // Memory that is freed now would be of no use to it.
            final int victim = victims.find(pool, writer, evicts, Victims.From.ITSELF);
            return victim >= 0 ? evicted(victim, writer) : null;
        }
        final boolean mayGrow = owed || mayGrow(pool);
        if (compaction.start(pool, !mayGrow)) {
            return null;
        }
        if (owed && nowMs >= tenant.takesAgainMs) {
            // Others have what is this tenant's: that goes before its own.
            final Region taken = victims.regionToMove(tenant, evicts, Victims.From.OTHERS);
            if (taken != null) {
                return move(taken, pool);
            }
            tenant.takesAgainMs = nowMs + TAKES_AGAIN_MS;
        }
        return evicting(pool, writer, evicts, mayGrow ? Victims.From.ALL : Victims.From.ITSELF);
    }

    /** A region in which something was evicted for this; null when there is none, or when objects of others are colder. */
    private Region evicting(final Pool pool, final long writer, final Eviction evicts, final Victims.From from) {
        final boolean thorough = victims.left() >= Victims.THOROUGH;
        final int victim = victims.find(pool, writer, evicts, from);
        final long nowMs = context.clock().time();
        final boolean expected = compaction.isExpected(pool) || !pool.mayEvictOthers(nowMs);
        if (expected && victim == Entries.NONE) {
            tellAt(nowMs + EVICTED_MS);
            return null;
        }
        if (!expected && victims.evictColder(evictor)) {
            // Their slots are another pool's; who waits asks again, and then regions are emptied.
            pool.evictedOthers(nowMs, EVICTED_MS);
            compaction.lookAgain();
            context.tierListener().spaceFreed(TierKind.DRAM);
            return null;
        }
        // A search that other keys of the call left little for proves nothing: a later turn has the whole budget.
        if ((victim == Victims.WAIT && evicts != Eviction.AT_ONCE)
                || (victim == Entries.NONE && victims.left() <= 0 && !thorough)) {
            return null;
        }
        if (victim >= 0) {
            return evicted(victim, writer);
        }
        final Region region = victims.regionToMove(pool.tenant, evicts, from);
        return region != null ? move(region, pool) : fromHidden(pool, writer, evicts);
    }

    /** What the searches in the order of eviction did not come to. */
    private Region fromHidden(final Pool pool, final long writer, final Eviction evicts) {
        final int victim = victims.hidden(pool, writer, evicts);
        if (victim >= 0) {
            return evicted(victim, writer);
        }
        final Region region = victims.hiddenRegion(pool.tenant, evicts);
        return region == null ? null : move(region, pool);
    }

    /** The object's region, once it has gone; null when its slot is not given to this writer all the same. */
    private Region evicted(final int victim, final long writer) {
        final Region region = entries.region[victim];
        evictor.evict(victim);
        return region.hasFree() && region.admits(writer) ? region : null;
    }

    /** Regions go where they are needed: what is in this one is evicted, and its memory goes to a new one. */
    private Region move(final Region region, final Pool pool) {
        for (final int entry : region.entryOf.clone()) {
            if (entry != Entries.NONE) {
                evictor.evict(entry);
            }
        }
        discard(region);
        grow(pool);
        return null;
    }

    /** False for a moment when the tenant has damaged regions; who waits for free space is told when that has passed. */
    private boolean isInTime(final TenantArena tenant) {
        if (tenant.pace.mayTake(context.clock().time())) {
            return true;
        }
        tellAt(tenant.pace.nextMs());
        return false;
    }

    /** Who waits for space tries again then. */
    private void tellAt(final long atMs) {
        tellAtMs = Math.min(tellAtMs, atMs);
    }

    /** False at the tenant's maximum, and while another one is owed what there is. */
    private boolean mayGrow(final Pool pool) {
        return pool.tenant.account.mayGrow(leastBytes(pool))
                && (owedUntilMs == 0 || context.clock().time() >= owedUntilMs);
    }

    /** Starts to make a region for the pool, as far as there is capacity for one; whether it did. */
    private boolean grow(final Pool pool) {
        final boolean owed = pool.tenant.account.isOwed(leastBytes(pool));
        if (!(owed || mayGrow(pool)) || !canMake(pool.tenant)) {
            return false;
        }
        final long usable = freeBytes() - (owed || pool.isEmpty() || pools == 1 ? 0 : headroom());
        final long available = Math.min(usable, pool.tenant.account.freeOfMaximum());
        final long least = leastBytes(pool);
        final long wanted = Math.max(least, wantedBytes(pool) + pool.slotBytes / 2) / pool.slotBytes;
        final long slots = Math.min(wanted, available / pool.slotBytes);
        if (slots * pool.slotBytes < least) {
            return false;
        }
        make(pool, slots);
        return true;
    }

    /** False for a while after a region could not be made, and between two of a tenant that has damaged some. */
    boolean canMake(final TenantArena tenant) {
        final long nowMs = context.clock().time();
        return nowMs >= notBeforeMs && tenant.pace.mayTake(nowMs);
    }

    /** While memory is free nobody has to wait for a region: the next one is made before the last one is full. */
    private void growAhead(final Pool pool) {
        if (!pool.growing
                && freeBytes() >= 2 * context.regionBytes()
                && pool.freeSlots() * pool.slotBytes < context.regionBytes() / 2) {
            grow(pool);
        }
    }

    private long wantedBytes(final Pool pool) {
        return freeBytes() >= context.capacity() / PLENTY
                ? context.regionBytes()
                : Math.clamp(pool.bytes(), leastBytes(), context.regionBytes());
    }

    private long headroom() {
        return Math.min(context.regionBytes(), context.capacity() / HEADROOM);
    }

    /** Memory was freed for this pool. */
    void growAgain(final Pool pool) {
        if (pool.growing || !grow(pool)) {
            context.tierListener().spaceFreed(TierKind.DRAM);
        }
    }

    /** The capacity has that much left. */
    void make(final Pool pool, final long slots) {
        final long dataBytes = slots * pool.slotBytes;
        final TenantArena tenant = pool.tenant;
        final int gid = tenant.gid;
        do {
            next++;
        } while (byId.containsKey(next));
        pool.growing = true;
        promisedBytes += dataBytes;
        tenant.account.regions(dataBytes);
        tenant.pace.taken(context.clock().time());
        maker.make(tenant, next, pool.slotBytes, dataBytes, region -> {
            pool.growing = false;
            promisedBytes -= dataBytes;
            arrived = true;
            if (region == null) {
                tenant.account.regions(-dataBytes);
                context.counters().faults.increment();
                notBeforeMs = context.clock().time() + RETRY_MS;
                tellAt(notBeforeMs);
                return;
            }
            add(region);
            if (tenant.gid != gid) {
                shareAnew(tenant);
            }
        });
    }

    /** The tenant was given to another group while a region was made for the one before. */
    private void shareAnew(final TenantArena tenant) {
        try {
            files.shareAnew(tenant, tenant.gid);
        } catch (final IOException failure) {
            LOG.warn("cannot give the files of tenant {} to group {}: {}", tenant.name, tenant.gid, failure.toString());
        }
    }

    /** Gives some regions in each call, all of them within seconds: an engine may have truncated one. */
    void inspectSome(final Consumer<Region> inspect) {
        if (!turn.hasNext()) {
            turn = List.copyOf(byId.values()).iterator();
        }
        for (int i = 0; i < INSPECTED_AT_ONCE && turn.hasNext(); i++) {
            final Region region = turn.next();
            if (byId.get(region.id) == region) {
                inspect.accept(region);
            }
        }
    }

    /** The region has ended, and its files and memory go. */
    void discard(final Region region) {
        if (!region.isIdle()) {
            throw new IllegalStateException("region " + region.id + " is used and cannot be retired");
        }
        final Pool pool = region.pool();
        byId.remove(region.id);
        region.tenant.regions.remove(region);
        bytes -= region.dataBytes();
        region.tenant.account.regions(-region.dataBytes());
        pool.remove(region);
        pools -= pool.isEmpty() ? 1 : 0;
        region.headers.retire();
        context.listener().regionRetired(region.id);
        maker.remove(region);
    }

    /** True when a region has arrived since the last call or could not be made, or when somebody may have the next one now. */
    boolean poll() {
        boolean told = arrived;
        arrived = false;
        if (tellAtMs != NEVER && context.clock().time() >= tellAtMs) {
            tellAtMs = NEVER;
            told = true;
        }
        if (told) {
            context.tierListener().spaceFreed(TierKind.DRAM);
        }
        return told;
    }

    /** Unmaps all regions; their files stay. */
    @Override
    public void close() {
        maker.close();
        byId.values().forEach(Region::close);
    }
}
