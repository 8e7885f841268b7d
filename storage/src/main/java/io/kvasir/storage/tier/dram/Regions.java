package io.kvasir.storage.tier.dram;

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
 * Which regions there are, and where the next slot comes from: a free slot, a region cut from a spare file, or what gives
 * way. Owned by {@link DramTier}.
 */
final class Regions implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(Regions.class);
    private static final int INSPECTED_AT_ONCE = 64;
    /** How long others leave new regions to a tenant below its minimum that asked for one; it asks again meanwhile. */
    private static final long OWED_MS = 500;
    /** A tenant below its minimum for which others could give nothing looks at them again. */
    private static final long TAKES_AGAIN_MS = 20;

    private static final long NEVER = Long.MAX_VALUE;

    /** Takes an object out that nobody holds, so that its slot is free. */
    @FunctionalInterface
    interface Evictor {
        void evict(int entry);
    }

    private final DramContext context;
    private final ArenaFiles files;
    private final SpareRegions spares;
    private final Entries entries;
    private final Victims victims;
    private final Evictor evictor;
    private final Int2ObjectHashMap<Region> byId = new Int2ObjectHashMap<>();
    private Iterator<Region> turn = List.<Region>of().iterator();
    private long bytes;
    private long owedUntilMs;
    /** When a tenant that waits for its next region may have it. */
    private long tellAtMs = NEVER;

    /** Random at each start: a name of an earlier node's region never comes again. */
    private int next;

    Regions(
            final DramContext context,
            final ArenaFiles files,
            final Entries entries,
            final Victims victims,
            final Evictor evictor) {
        this.context = context;
        next = context.random().nextInt(1, 1 << 30);
        this.files = files;
        this.entries = entries;
        this.victims = victims;
        this.evictor = evictor;
        spares = new SpareRegions(files, context);
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

    void add(final Region region) {
        byId.put(region.id, region);
        region.tenant.regions.add(region);
        bytes += region.dataBytes();
        region.tenant.account.regions(region.dataBytes());
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
        if (attachment != null
                && attachment.last != null
                && byId.get(attachment.last.id) == attachment.last
                && attachment.last.slotBytes == slotBytes
                && attachment.last.hasFree()
                && attachment.last.admits(writer)) {
            return attachment.last;
        }
        Region empty = null;
        for (final Region region : tenant.regions) {
            if (region.slotBytes == slotBytes && region.hasFree() && region.admits(writer)) {
                return region;
            }
            if (region.isEmpty() && region.isIdle() && region.dataBytes() >= slotBytes) {
                empty = region;
            }
        }
        final boolean inTime = isInTime(tenant);
        final boolean owed = inTime && tenant.account.isOwed(spares.fileBytes(slotBytes));
        final boolean mayGrow = owed || (inTime && mayGrow(tenant, slotBytes));
        final ArenaFiles.Spare spare = mayGrow ? spares.take(slotBytes, tenant.account.freeOfMaximum()) : null;
        if (spare != null) {
            final Region region = cut(spare, tenant, slotBytes);
            if (region != null) {
                tenant.pace.taken(context.clock().time());
                return region;
            }
        }
        if (empty != null) {
            return cut(retire(empty), tenant, slotBytes);
        }
        if (owed) {
            owedUntilMs = context.clock().time() + OWED_MS;
        }
        // Nothing is evicted while the capacity is not used up; the caller waits for the next region.
        if (mayGrow && spares.mayGrow(slotBytes, bytes)) {
            spares.want(slotBytes);
            return null;
        }
        if (evicts == Eviction.NOTHING) {
            return null;
        }
        if (owed && context.clock().time() >= tenant.takesAgainMs) {
            // Others have what is this tenant's: that goes before its own.
            final Region taken = victims.regionToMove(tenant, evicts, Victims.From.OTHERS);
            if (taken != null) {
                return move(taken, tenant, slotBytes);
            }
            tenant.takesAgainMs = context.clock().time() + TAKES_AGAIN_MS;
        }
        final boolean thorough = victims.left() >= Victims.THOROUGH;
        final int victim = victims.find(tenant, slotBytes, writer, evicts);
        // A search that other keys of the call left little for proves nothing: a later turn has the whole budget.
        if ((victim == Victims.WAIT && evicts != Eviction.AT_ONCE)
                || (victim == Entries.NONE && victims.left() <= 0 && !thorough)) {
            return null;
        }
        if (victim >= 0) {
            final Region region = entries.region[victim];
            evictor.evict(victim);
            return region;
        }
        final Region region = victims.regionToMove(tenant, evicts, mayGrow ? Victims.From.ALL : Victims.From.ITSELF);
        return region != null ? move(region, tenant, slotBytes) : fromHidden(tenant, writer, slotBytes, evicts);
    }

    /** What the searches in the order of eviction did not come to. */
    private Region fromHidden(
            final TenantArena tenant, final long writer, final long slotBytes, final Eviction evicts) {
        final int victim = victims.hidden(tenant, slotBytes, writer, evicts);
        if (victim != Entries.NONE) {
            final Region region = entries.region[victim];
            evictor.evict(victim);
            return region;
        }
        final Region region = victims.hiddenRegion(tenant, evicts);
        return region == null ? null : move(region, tenant, slotBytes);
    }

    /** False for a moment when the tenant has damaged regions; who waits for free space is told when that has passed. */
    private boolean isInTime(final TenantArena tenant) {
        if (tenant.pace.mayTake(context.clock().time())) {
            return true;
        }
        tellAtMs = Math.min(tellAtMs, tenant.pace.nextMs());
        return false;
    }

    /** False at the tenant's maximum, and while another one is owed what there is. */
    private boolean mayGrow(final TenantArena tenant, final long slotBytes) {
        return tenant.account.mayGrow(spares.fileBytes(slotBytes))
                && (owedUntilMs == 0 || context.clock().time() >= owedUntilMs);
    }

    /** Regions go where they are needed: this one is emptied and cut anew. */
    private Region move(final Region region, final TenantArena tenant, final long slotBytes) {
        for (final int entry : region.entryOf.clone()) {
            if (entry != Entries.NONE) {
                evictor.evict(entry);
            }
        }
        final boolean sameTenant = region.tenant == tenant;
        final ArenaFiles.Spare spare = retire(region);
        if (sameTenant && spare.bytes() >= slotBytes) {
            return cut(spare, tenant, slotBytes);
        }
        // Another tenant's bytes, or too small a file: the memory goes back and a new file is allocated.
        spares.delete(spare);
        if (spares.mayGrow(slotBytes, bytes)) {
            spares.want(slotBytes);
        }
        return null;
    }

    private Region cut(final ArenaFiles.Spare spare, final TenantArena tenant, final long slotBytes) {
        try {
            do {
                next++;
            } while (byId.containsKey(next));
            final Region region = files.cut(spare, tenant, next, slotBytes);
            add(region);
            return region;
        } catch (final IOException failure) {
            LOG.warn("cannot cut a region of {}-byte slots: {}", slotBytes, failure.toString());
            context.counters().faults.increment();
            files.delete(spare.file());
            return null;
        }
    }

    /** Looks at some regions in each call, all of them within seconds; an engine may have truncated one. */
    void inspectSome(final Consumer<Region> ruined) {
        if (!turn.hasNext()) {
            turn = List.copyOf(byId.values()).iterator();
        }
        for (int i = 0; i < INSPECTED_AT_ONCE && turn.hasNext(); i++) {
            final Region region = turn.next();
            if (byId.get(region.id) == region
                    && !region.isRuined()
                    && !region.damage().isEmpty()) {
                ruined.accept(region);
            }
        }
    }

    /** The file goes, and with it what an engine did to it. */
    void discard(final Region region) {
        spares.delete(retire(region));
    }

    private ArenaFiles.Spare retire(final Region region) {
        byId.remove(region.id);
        region.tenant.regions.remove(region);
        bytes -= region.dataBytes();
        region.tenant.account.regions(-region.dataBytes());
        context.listener().regionRetired(region.id);
        final ArenaFiles.Spare spare = files.retire(region);
        spares.close(region);
        return spare;
    }

    /** Polls the allocation of further regions; true when somebody may get one now. */
    boolean poll() {
        boolean told = spares.poll(bytes);
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
        spares.close();
        byId.values().forEach(Region::close);
    }
}
