package io.kvasir.storage.tier.dram;

import io.kvasir.storage.index.ObjectTable;
import io.kvasir.storage.lease.Reservation;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.RegionInfo;
import io.kvasir.storage.object.Shard;
import io.kvasir.storage.object.SizeClass;
import io.kvasir.storage.object.TierKind;
import io.kvasir.storage.policy.EvictionPolicy;
import io.kvasir.storage.tenant.Tenant;
import java.util.List;

/**
 * The objects in shared memory, from the slot that one gets until it is evicted or dropped; the node's object table finds
 * them. {@link Places} has the slot of each, {@link Writers} those that processes may write, {@link Regions} the space,
 * {@link EvictionOrder} what is coldest. Only the thread that owns the store calls it.
 */
public final class DramTier extends DramObjects implements AutoCloseable {
    /** No entry. */
    public static final int NONE = Entries.NONE;
    /** From {@link #reserve}: nothing could be evicted. */
    public static final int NO_ROOM = -2;
    /** From {@link #reserve}: the attachment, or its tenant, has as much reserved as it may. */
    public static final int QUOTA = -3;

    private final DramContext context;
    private final ArenaFiles files;
    private final TenantArenas tenants;
    private final Regions regions;
    private final Places places;
    private final Writers writers;
    private final Damage damage;
    private final ObjectTable table;
    private final EvictionOrder order;

    private int held;

    /** @param table has space for {@link #mostObjects} */
    public DramTier(final DramContext context, final ObjectTable table) {
        this.context = context.conclude();
        this.table = table;
        order = new EvictionOrder(context, entries);
        files = new ArenaFiles(context.directory());
        regions = new Regions(context, files, this, entries, new Victims(entries, order, context), this::evict);
        places = new Places(table, entries, regions, context.tierListener());
        tenants = new TenantArenas(context, files);
        final Attachments attachments = new Attachments();
        writers = new Writers(context, files, regions, attachments, places::forget);
        damage = new Damage(context, this, regions);
        try {
            new Adoption(this, context, files, regions, attachments, writers).adoptAll(tenants);
            regions.requireSpace();
        } catch (final RuntimeException failure) {
            regions.close();
            files.close();
            throw failure;
        }
    }

    /** Objects that a tier of this capacity holds at most; the table has to hold as many. */
    public static int mostObjects(final long capacity) {
        return (int) Math.min(ObjectTable.MAX_CAPACITY, Math.max(1, capacity / SizeClass.PAGE));
    }

    // ---- tenants, attachments

    /** @param gid group that may read the tenant's files; below 0: the node's own */
    public TenantArena openTenant(final String name, final int gid) {
        return tenants.open(name, gid);
    }

    /** Null when nobody has opened it. */
    public TenantArena tenant(final String name) {
        return tenants.get(name);
    }

    /** What processes may write. */
    public Writers writers() {
        return writers;
    }

    /** Frees what departed processes had, as far as their locks are free, and looks for damaged regions. */
    public void probeAttachments() {
        writers.probe();
        regions.inspectSome(damage::inspect);
    }

    // ---- index

    @Override
    public TierKind kind() {
        return TierKind.DRAM;
    }

    @Override
    public int entryLimit() {
        return ObjectTable.MAX_CAPACITY;
    }

    /** The entry of an object that is here or being written here, or {@link #NONE}. Drops it when it has expired. */
    public int find(final Hash256 namespace, final Hash256 key, final Shard shard) {
        return find(tableHash(namespace, key, shard), namespace, key, shard);
    }

    /** @param hash see {@link #tableHash} */
    public int find(final long hash, final Hash256 namespace, final Hash256 key, final Shard shard) {
        return entry(table.find(hash, namespace, key, shard));
    }

    /**
     * The entry here of the object that has this entry in the table, or {@link #NONE}. Drops it when it has expired; then
     * the table's entry may be nobody's.
     */
    @Override
    public int entry(final int object) {
        return dropIfExpired(places.entry(object));
    }

    /** By which the table finds an object. */
    public long tableHash(final Hash256 namespace, final Hash256 key, final Shard shard) {
        return table.hash(namespace, key, shard);
    }

    /**
     * Slots for these objects will be asked for one after the other. Reads what that will need of the index, for them and
     * for what has to go, while the loads still are independent of each other; changes nothing.
     *
     * @param tableHashes see {@link #tableHash}
     * @param hashes see {@link ObjectId#hash64()}
     */
    public void expect(final long[] tableHashes, final long[] hashes) {
        table.expect(tableHashes, tableHashes.length);
        order.policy().expect(hashes, hashes.length);
        final int[] objects = new int[hashes.length];
        final int count = order.expectRemoval(objects);
        table.expectRemoval(objects, count);
    }

    /** The entry, or {@link #NONE} when it had expired and is gone. */
    int dropIfExpired(final int entry) {
        if (entry != NONE && entries.state[entry] == Entries.COMMITTED) {
            final long expiry = headers(entry).expiry(entries.slot[entry]);
            if (expiry != 0
                    && entries.holds[entry] == 0
                    && expiry <= context.clock().time()) {
                drop(entry);
                return NONE;
            }
        }
        return entry;
    }

    /** A walk over committed objects from the coldest on, for one purpose of the caller. */
    public EvictionPolicy.Scan scan() {
        return order.scan();
    }

    /** Whether the object gives way before what is no copy. */
    public boolean isCopied(final int entry) {
        return order.policy().isCopied(entry);
    }

    /** The committed object is one of several in the cluster and gives way first, or is so no longer. */
    public void copied(final int entry, final boolean copied) {
        order.policy().copied(entry, copied);
    }

    // ---- reading

    @Override
    public void touch(final int entry) {
        entries.uses[entry]++;
        order.touch(entry);
        if (order.policy().isCopied(entry) && !context.copyGivesWay().test(entries.uses[entry])) {
            order.policy().copied(entry, false);
        }
    }

    @Override
    public void hold(final int entry) {
        if (entries.holds[entry]++ == 0) {
            held++;
            entries.region[entry].held();
        }
    }

    @Override
    public void unhold(final int entry) {
        assert entries.holds[entry] > 0 : "a hold was given back twice";
        if (--entries.holds[entry] == 0) {
            held--;
            entries.region[entry].unheld();
            if (entries.state[entry] == Entries.CONDEMNED) {
                drop(entry);
            }
            context.tierListener().spaceFreed(TierKind.DRAM);
        }
    }

    public void pin(final int entry, final boolean pinned) {
        entries.pinned[entry] = pinned;
    }

    // ---- writing

    /** False when such an object fits into no region that the tenant could ever have. */
    public boolean canFit(final TenantArena tenant, final long length) {
        return SizeClass.dramSlotBytes(length)
                <= Math.min(context.capacity(), tenant.account.share().dramMax());
    }

    /** What searches for eviction candidates may still look at; a search that has used it up finds no more space. */
    public void searchBudget(final int steps) {
        regions.searchBudget(steps);
    }

    /** What {@link #searchBudget} left; below 1 when a search ended early. */
    public int searchLeft() {
        return regions.searchLeft();
    }

    /**
     * A slot for an object that is not here; another one gets none.
     *
     * @param reservation of the process that will write; null: the node itself
     * @param evicts what may give way for it
     * @return the entry, {@link #NO_ROOM} or {@link #QUOTA}
     */
    public int reserve(
            final TenantArena tenant,
            final Reservation<Attachments.Entry> reservation,
            final Hash256 namespace,
            final Hash256 key,
            final Shard shard,
            final long length,
            final int codec,
            final Eviction evicts) {
        final Attachments.Entry attachment = reservation == null ? null : reservation.writer();
        final long slotBytes = SizeClass.dramSlotBytes(length);
        if (!canFit(tenant, length) || (attachment != null && attachment.departed)) {
            return NO_ROOM;
        }
        if (attachment != null && !writers.mayReserve(attachment, slotBytes)) {
            return QUOTA;
        }
        final long writer = attachment == null ? Region.NODE : attachment.id;
        final Region region = regions.withRoom(tenant, attachment, writer, slotBytes, evicts);
        if (region == null) {
            return NO_ROOM;
        }
        final int object = table.put(tableHash(namespace, key, shard), namespace, key, shard);
        if (object == ObjectTable.FULL || table.isIn(object, TierKind.DRAM)) {
            return NO_ROOM;
        }
        final int slot = region.reserve(namespace, key, shard, length, writer, codec);
        region.used(context.clock().time());
        if (reservation != null) {
            writers.reserved(reservation, region, slot);
        }
        return places.insert(region, slot, object, ObjectId.hash64(namespace, key, shard), Entries.WRITING);
    }

    /**
     * The entry that a record of {@link #reserve} names, if this attachment has it reserved under this stamp;
     * {@link #NONE} for others, and for one that is quarantined.
     */
    public int reserved(final Attachments.Entry attachment, final int regionId, final int slot, final long stamp) {
        return writers.isReserved(attachment, regionId, slot, stamp) ? regions.get(regionId).entryOf[slot] : NONE;
    }

    @Override
    public int reserve(final Tenant tenant, final ObjectId id, final long length, final int codec) {
        return reserve(
                (TenantArena) tenant, null, id.namespace(), id.key(), id.shard(), length, codec, Eviction.ANYTHING);
    }

    @Override
    public void commit(
            final int entry,
            final int crc32c,
            final Hash256 parent,
            final int chunkIndex,
            final int priority,
            final long expiryUnixMs) {
        setCrc32c(entry, crc32c);
        commit(null, entry, parent, chunkIndex, priority, expiryUnixMs);
    }

    @Override
    public void abort(final int entry) {
        abort(null, entry);
    }

    /** Makes a reserved object readable, in one step. */
    public void commit(
            final Attachments.Entry attachment,
            final int entry,
            final Hash256 parent,
            final int chunkIndex,
            final int priority,
            final long expiryUnixMs) {
        final Region region = entries.region[entry];
        final int slot = entries.slot[entry];
        region.commit(slot, parent, chunkIndex, priority, expiryUnixMs);
        if (attachment != null) {
            writers.unreserved(attachment, region, slot);
        }
        entries.state[entry] = Entries.COMMITTED;
        order.add(entry, chunkIndex, priority);
        link(entry, parent);
        context.tierListener().present(TierKind.DRAM, tenantName(entry), id(entry), length(entry), parent, chunkIndex);
        context.tierListener().settled(entry);
    }

    public void setCrc32c(final int entry, final int crc32c) {
        headers(entry).setCrc32c(entries.slot[entry], crc32c);
    }

    /** Gives a reserved slot back; the writer has stopped. */
    public void abort(final Attachments.Entry attachment, final int entry) {
        final Region region = entries.region[entry];
        final int slot = entries.slot[entry];
        if (attachment != null) {
            writers.unreserved(attachment, region, slot);
        }
        region.unreserved();
        places.forget(entry);
        region.free(slot);
        context.tierListener().spaceFreed(TierKind.DRAM);
    }

    /** The object came from this tier. */
    public void came(final int entry, final TierKind tier) {
        entries.origin[entry] = tier.code();
    }

    /** The hit of the tier from which it came was counted. */
    @Override
    public void originCounted(final int entry) {
        entries.origin[entry] = 0;
    }

    /** An adopted object was verified. */
    public void verified(final int entry) {
        entries.state[entry] = Entries.COMMITTED;
        context.tierListener().settled(entry);
    }

    /** Nobody gets it any more; while somebody holds it, it keeps its slot. */
    @Override
    public void dropOrCondemn(final int entry) {
        if (entries.holds[entry] == 0) {
            drop(entry);
            return;
        }
        if (entries.state[entry] != Entries.CONDEMNED) {
            entries.state[entry] = Entries.CONDEMNED;
            headers(entry).condemn(entries.slot[entry]);
            leaving(entry);
        }
        context.tierListener().settled(entry);
    }

    /** Removes a committed object that nobody holds. */
    void drop(final int entry) {
        assert entries.holds[entry] == 0 : "a held object was dropped";
        final Region region = entries.region[entry];
        final int slot = entries.slot[entry];
        order.remove(entry);
        table.leave(entries.object[entry], TierKind.DRAM);
        if (!isCondemned(entry)) {
            leaving(entry);
        }
        if (entries.pinned[entry]) {
            context.listener().pinnedIsGone(entry);
        }
        places.giveUp(entry);
        region.free(slot);
    }

    private void leaving(final int entry) {
        context.tierListener().leaving(TierKind.DRAM, tenantName(entry), id(entry), uses(entry));
    }

    // ---- room

    private void evict(final int entry) {
        if (order.policy().isCopied(entry)) {
            context.counters().evictedCopies.increment();
        } else if (context.durable().test(entries.object[entry])) {
            context.counters().evictedClean.increment();
        } else {
            context.counters().evictedUndemoted.increment();
        }
        drop(entry);
    }

    /** True when something happened. */
    public boolean poll() {
        damage.discardUnused();
        return regions.poll();
    }

    // ---- damage

    /**
     * The bytes of this entry's slot could not be read or written: an engine may have truncated the region's file, or
     * punched holes in it. Then nothing in the region counts any more.
     *
     * @return whether that is so
     */
    public boolean inspect(final int entry) {
        return isLive(entry) && damage.inspect(entries.region[entry]);
    }

    boolean inspect(final Region region) {
        return damage.inspect(region);
    }

    // ---- entries and slots

    /** The entry is a child of its parent, when that is here. */
    void link(final int entry, final Hash256 parent) {
        if (parent.equals(Hash256.ZERO)) {
            return;
        }
        final ObjectId id = id(entry);
        final int above = find(id.namespace(), parent, id.shard());
        if (above != NONE && above != entry) {
            order.link(entry, above);
        }
    }

    // ---- restart

    /** A committed object of an earlier node, to be verified before it is readable; false: it gets no place here. */
    boolean adopted(final Region region, final int slot, final ObjectId id) {
        final int object = table.put(id);
        if (object == ObjectTable.FULL || table.isIn(object, TierKind.DRAM)) {
            return false;
        }
        final int entry = places.insert(region, slot, object, id.hash64(), Entries.UNVERIFIED);
        order.add(entry, chunkIndex(entry), priority(entry));
        return true;
    }

    Places places() {
        return places;
    }

    Regions regions() {
        return regions;
    }

    ObjectTable table() {
        return table;
    }

    /** Entries that wait for their first verification, in no order; for the background check after a restart. */
    public List<Integer> unverified() {
        return order.inState(Entries.UNVERIFIED);
    }

    // ---- what there is

    @Override
    public RegionInfo regionInfo(final int id) {
        final Region region = regions.get(id);
        return region == null ? null : region.info();
    }

    public List<RegionInfo> regionInfos(final TenantArena tenant) {
        return tenant.regions.stream().map(Region::info).toList();
    }

    /** Objects that leases or the node's own work keep. */
    public int heldObjects() {
        return held;
    }

    /** Bytes of slots that hold or await an object. */
    public long usedBytes() {
        return places.usedBytes();
    }

    public long capacity() {
        return context.capacity();
    }

    @Override
    public void close() {
        regions.close();
        files.close();
    }
}
