package io.kvasir.storage.tier.dram;

import io.kvasir.storage.index.ObjectTable;
import io.kvasir.storage.lease.Reservation;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.RegionInfo;
import io.kvasir.storage.object.Shard;
import io.kvasir.storage.object.SizeClass;
import io.kvasir.storage.object.StorageException;
import io.kvasir.storage.object.TierKind;
import io.kvasir.storage.policy.CopiesFirst;
import io.kvasir.storage.policy.EvictionPolicy;
import io.kvasir.storage.policy.TenantOrder;
import io.kvasir.storage.tenant.Tenant;
import io.kvasir.storage.tenant.TenantAccount;
import io.kvasir.storage.tier.AddressableTier;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.LongSupplier;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The objects in shared memory: slots and their states; the node's object table finds them. The only place where a
 * slot's state changes; only the thread that owns the store calls it.
 */
public final class DramTier implements AddressableTier, AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(DramTier.class);
    /** No entry. */
    public static final int NONE = Entries.NONE;
    /** From {@link #reserve}: nothing could be evicted. */
    public static final int NO_ROOM = -2;
    /** From {@link #reserve}: the attachment, or its tenant, has as much reserved as it may. */
    public static final int QUOTA = -3;

    private final DramContext context;
    private final ArenaFiles files;
    private final Map<String, TenantArena> tenants = new HashMap<>();
    private final Regions regions;
    private final Attachments attachments = new Attachments();
    private final Entries entries = new Entries();
    private final ObjectTable table;
    private final CopiesFirst policy;
    /** Null: no tenant has a minimum or a maximum. */
    private final TenantOrder order;

    /** For walks that end within the call that began them. */
    private final EvictionPolicy.Scan coldestFirst;

    /** Regions whose files engines have damaged, until nobody uses them. */
    private final List<Region> ruined = new ArrayList<>();

    private long usedBytes;
    private int held;
    private int writing;

    /** @param table has space for {@link #mostObjects} */
    public DramTier(final DramContext context, final ObjectTable table) {
        this.context = context.conclude();
        this.table = table;
        policy = new CopiesFirst(context.policy().get());
        coldestFirst = policy.scan();
        order = context.accounts().sharesDram()
                ? new TenantOrder(context.accounts().configured())
                : null;
        files = new ArenaFiles(context.directory());
        regions = new Regions(context, files, this, entries, new Victims(entries, policy, order, context), this::evict);
        try {
            final Adoption adoption = new Adoption(this, context, files, regions, attachments);
            for (final String tenant : files.tenants()) {
                final TenantArena adopted = openTenant(tenant, files.group(tenant));
                adopted.adopted = true;
                adoption.adopt(adopted);
            }
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

    public TenantArena openTenant(final String name, final int gid) {
        final TenantArena known = tenants.get(name);
        if (known != null) {
            share(known, gid);
            return known;
        }
        final TenantArena tenant = new TenantArena(context.accounts().of(name), files.tenantDirectory(name), gid);
        try {
            files.createTenant(tenant);
        } catch (final IOException failure) {
            throw new StorageException("cannot make the directory of tenant " + name + ": " + failure, failure);
        }
        tenants.put(name, tenant);
        return tenant;
    }

    /**
     * An earlier node's files may be of another group than the tenant has now, and those made before anybody came of the
     * node's own. Later the first group stays: two users of one tenant would else take it from each other.
     */
    private void share(final TenantArena tenant, final int gid) {
        if (gid < 0 || !(tenant.adopted || tenant.gid < 0)) {
            return;
        }
        try {
            files.shareAnew(tenant, gid);
            tenant.gid = gid;
            tenant.adopted = false;
        } catch (final IOException failure) {
            throw new StorageException(
                    "cannot give the files of tenant " + tenant.name + " to group " + gid + ": " + failure, failure);
        }
    }

    /** Null when nobody has opened it. */
    public TenantArena tenant(final String name) {
        return tenants.get(name);
    }

    public Attachments.Entry openAttachment(final TenantArena tenant) {
        long secret = context.random().nextLong();
        long id = Attachments.idOf(secret);
        while (secret == 0 || id == Region.NODE || attachments.mayTouch(id)) {
            secret = context.random().nextLong();
            id = Attachments.idOf(secret);
        }
        try {
            files.createLock(tenant, id);
        } catch (final IOException failure) {
            throw new StorageException("cannot make an attachment's lock file: " + failure.getMessage(), failure);
        }
        tenant.account.connected(1);
        return attachments.open(secret, tenant);
    }

    /** The connection is gone: what it had reserved is quarantined, and other writers may store those objects anew. */
    public void depart(final Attachments.Entry attachment) {
        if (attachment.departed) {
            return;
        }
        attachment.tenant.account.connected(-1);
        attachment.slots.forEachLong((place, reservation) -> {
            reservation.cancel();
            quarantine(place);
        });
        attachments.depart(attachment);
        endIfStopped(attachment);
    }

    /** A slot is no object's any more, but its writer may still copy into it. False when that is so already. */
    private boolean quarantine(final long place) {
        final Region region = regions.get((int) (place >>> 32));
        final int slot = (int) place;
        if (region.entryOf[slot] == Region.NO_ENTRY) {
            return false;
        }
        writing--;
        region.tenant.account.reserved(-region.slotBytes);
        forget(region.entryOf[slot]);
        region.quarantined();
        region.unreserved();
        return true;
    }

    /**
     * For slots that a process will reserve; the caller sees to its deadline once it has some.
     *
     * @param writingNs from a reserve to the deadline
     */
    public Reservation<Attachments.Entry> reservation(
            final Attachments.Entry writer, final long nowNs, final long writingNs) {
        if (writer.latest == null || !writer.latest.takes(nowNs, writingNs)) {
            writer.latest = new Reservation<>(writer, this::overdue, nowNs);
        }
        return writer.latest;
    }

    /** What is neither committed nor aborted by now is quarantined, and others may store those objects. */
    private void overdue(final Reservation<Attachments.Entry> reservation) {
        final Attachments.Entry writer = reservation.writer();
        for (int i = 0; i < reservation.count(); i++) {
            final long place = reservation.place(i);
            if (writer.slots.get(place) == reservation && quarantine(place)) {
                attachments.quarantine(writer, regions.get((int) (place >>> 32)).slotBytes);
                context.counters().reservationsOverdue.increment();
            }
        }
    }

    /**
     * The process is done with a slot that was taken from it: its commit or abort comes too late, and says that its copy
     * has stopped. Does nothing for a record of another slot.
     */
    public void doneTooLate(final Attachments.Entry attachment, final int regionId, final int slot, final long stamp) {
        final long place = Attachments.place(regionId, slot);
        if (!isReserved(attachment, regionId, slot, stamp)) {
            return;
        }
        final Region region = regions.get(regionId);
        if (region.entryOf[slot] != Region.NO_ENTRY) {
            return;
        }
        attachment.slots.remove(place);
        attachment.reservedBytes -= region.slotBytes;
        attachments.quarantine(attachment, -region.slotBytes);
        region.free(slot);
        region.unquarantined();
        context.tierListener().spaceFreed(TierKind.DRAM);
    }

    /** The process says that its copies have stopped. */
    public void quiesced(final TenantArena tenant, final long secret) {
        final Attachments.Entry attachment = attachments.departed(Attachments.idOf(secret));
        if (attachment != null && attachment.tenant == tenant) {
            end(attachment);
        }
    }

    /** Frees what departed processes had, as far as their locks are free. */
    public void probeAttachments() {
        attachments.stopped().forEach(this::end);
        for (final Attachments.Entry attachment : attachments.endedBehindTheirSocket()) {
            depart(attachment);
            context.listener().processEnded(attachment);
        }
        regions.inspectSome(region -> inspect(region));
    }

    /** Ends what a departed process had, if its lock is free. */
    void endIfStopped(final Attachments.Entry attachment) {
        if (!attachment.isHeld()) {
            end(attachment);
        }
    }

    private void end(final Attachments.Entry attachment) {
        attachment.slots.forEachLong((place, reservation) -> {
            final Region region = regions.get((int) (place >>> 32));
            region.free((int) place);
            region.unquarantined();
        });
        final boolean roomMade = !attachment.slots.isEmpty();
        attachment.slots.clear();
        attachments.forget(attachment);
        files.delete(attachment.tenant.path.resolve(attachment.lockFile()));
        context.listener().attachmentEnded(attachment.id);
        if (roomMade) {
            context.tierListener().spaceFreed(TierKind.DRAM);
        }
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
        return dropIfExpired(entryOf(object));
    }

    /** The entry of this entry's object in the table. */
    @Override
    public int object(final int entry) {
        return entries.object[entry];
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
        policy.expect(hashes, hashes.length);
        final long[] coldest = new long[hashes.length];
        final int[] objects = new int[hashes.length];
        int count = 0;
        coldestFirst.restart();
        for (int entry = coldestFirst.next(); entry != NONE && count < coldest.length; entry = coldestFirst.next()) {
            coldest[count] = entries.hash[entry];
            objects[count++] = entries.object[entry];
        }
        table.expectRemoval(objects, count);
        policy.expect(coldest, count);
    }

    private int entryOf(final int object) {
        if (object < 0 || !table.isIn(object, TierKind.DRAM)) {
            return NONE;
        }
        final long place = table.dramPlace(object);
        return regions.get(ObjectTable.file(place)).entryOf[ObjectTable.slot(place)];
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

    @Override
    public boolean isReadable(final int entry) {
        return entries.state[entry] == Entries.COMMITTED;
    }

    @Override
    public boolean isWriting(final int entry) {
        return entries.state[entry] == Entries.WRITING;
    }

    @Override
    public boolean isCondemned(final int entry) {
        return entries.state[entry] == Entries.CONDEMNED;
    }

    /** True while the entry number stands for an object. */
    public boolean isLive(final int entry) {
        return entries.region[entry] != null;
    }

    @Override
    public boolean isUnverified(final int entry) {
        return entries.state[entry] == Entries.UNVERIFIED;
    }

    @Override
    public int serial(final int entry) {
        return entries.serial[entry];
    }

    @Override
    public boolean is(final int entry, final int serial) {
        return entries.is(entry, serial);
    }

    @Override
    public int region(final int entry) {
        return entries.region[entry].id;
    }

    @Override
    public int slot(final int entry) {
        return entries.slot[entry];
    }

    /** What {@link #stamp} gives, from any thread, as long as the entry is held. */
    public LongSupplier stampReader(final int entry) {
        final HeaderTable headers = headers(entry);
        final int slot = entries.slot[entry];
        return () -> headers.stamp(slot);
    }

    @Override
    public long stamp(final int entry) {
        return headers(entry).stamp(entries.slot[entry]);
    }

    @Override
    public long length(final int entry) {
        return headers(entry).length(entries.slot[entry]);
    }

    @Override
    public long slotBytes(final int entry) {
        return entries.region[entry].slotBytes;
    }

    public ObjectId id(final int entry) {
        return headers(entry).id(entries.slot[entry]);
    }

    public long hash(final int entry) {
        return entries.hash[entry];
    }

    public Hash256 parent(final int entry) {
        return headers(entry).parent(entries.slot[entry]);
    }

    public int chunkIndex(final int entry) {
        return headers(entry).chunkIndex(entries.slot[entry]);
    }

    public int codec(final int entry) {
        return headers(entry).codec(entries.slot[entry]);
    }

    public int priority(final int entry) {
        return headers(entry).priority(entries.slot[entry]);
    }

    public long expiry(final int entry) {
        return headers(entry).expiry(entries.slot[entry]);
    }

    public boolean isSummed(final int entry) {
        return headers(entry).isSummed(entries.slot[entry]);
    }

    public int crc32c(final int entry) {
        return headers(entry).crc32c(entries.slot[entry]);
    }

    /** The payload, or the first {@code bytes} of its slot. Valid while the entry is held. */
    @Override
    public Payload payload(final int entry, final long bytes) {
        return entries.region[entry].payload(entries.slot[entry], bytes);
    }

    /** A walk over committed objects from the coldest on, for one purpose of the caller. */
    public EvictionPolicy.Scan scan() {
        return policy.scan();
    }

    /** Whether the object gives way before what is no copy. */
    public boolean isCopied(final int entry) {
        return policy.isCopied(entry);
    }

    /** The committed object is one of several in the cluster and gives way first, or is so no longer. */
    public void copied(final int entry, final boolean copied) {
        policy.copied(entry, copied);
    }

    // ---- reading

    @Override
    public void touch(final int entry) {
        entries.uses[entry]++;
        policy.touch(entry);
        if (order != null) {
            order.touch(entry);
        }
        if (policy.isCopied(entry) && !context.copyGivesWay().test(entries.uses[entry])) {
            policy.copied(entry, false);
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

    /** Times that it was leased since it came to DRAM. */
    public int uses(final int entry) {
        return entries.uses[entry];
    }

    public boolean isPinned(final int entry) {
        return entries.pinned[entry];
    }

    public void pin(final int entry, final boolean pinned) {
        entries.pinned[entry] = pinned;
    }

    // ---- writing

    /** False when such an object fits into no region that the tenant could ever have. */
    public boolean canFit(final TenantArena tenant, final long length) {
        return SizeClass.slotBytes(length)
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
        final long slotBytes = SizeClass.slotBytes(length);
        if (!canFit(tenant, length) || (attachment != null && attachment.departed)) {
            return NO_ROOM;
        }
        if (attachment != null
                && (attachment.reservedBytes + slotBytes > context.reserveQuota()
                        || !tenant.account.mayReserve(slotBytes))) {
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
        final int slot = take(region, namespace, key, shard, length, writer, codec);
        region.used(context.clock().time());
        if (attachment != null) {
            attachment.reservedBytes += region.slotBytes;
            tenant.account.reserved(region.slotBytes);
            attachment.slots.put(Attachments.place(region.id, slot), reservation);
            reservation.add(Attachments.place(region.id, slot));
            attachment.last = region;
            writing++;
        }
        return insert(region, slot, object, ObjectId.hash64(namespace, key, shard), Entries.WRITING);
    }

    private int take(
            final Region region,
            final Hash256 namespace,
            final Hash256 key,
            final Shard shard,
            final long length,
            final long writer,
            final int codec) {
        final int slot = region.takeFree();
        region.headers.describe(slot, namespace, key, shard, length, writer, codec);
        final long generation = HeaderTable.generation(region.headers.stamp(slot)) + 1;
        region.headers.setStamp(slot, HeaderTable.stamp(generation, HeaderTable.RESERVED));
        region.reserved(writer);
        return slot;
    }

    /**
     * The entry that a record of {@link #reserve} names, if this attachment has it reserved under this stamp;
     * {@link #NONE} for others, and for one that is quarantined.
     */
    public int reserved(final Attachments.Entry attachment, final int regionId, final int slot, final long stamp) {
        return isReserved(attachment, regionId, slot, stamp) ? regions.get(regionId).entryOf[slot] : NONE;
    }

    private boolean isReserved(
            final Attachments.Entry attachment, final int regionId, final int slot, final long stamp) {
        final Region region = regions.get(regionId);
        return region != null
                && slot >= 0
                && slot < region.slots
                && attachment.slots.containsKey(Attachments.place(regionId, slot))
                && region.headers.stamp(slot) == stamp;
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
        final long generation = HeaderTable.generation(region.headers.stamp(slot)) + 1;
        region.headers.seal(slot, parent, chunkIndex, priority, expiryUnixMs, generation);
        region.headers.setStamp(slot, HeaderTable.stamp(generation, HeaderTable.COMMITTED));
        unreserve(attachment, region, slot);
        entries.state[entry] = Entries.COMMITTED;
        policy.add(entry, entries.hash[entry], region.slotBytes, chunkIndex, priority);
        inOrder(entry);
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
        unreserve(attachment, region, slot);
        forget(entry);
        region.free(slot);
        context.tierListener().spaceFreed(TierKind.DRAM);
    }

    private void unreserve(final Attachments.Entry attachment, final Region region, final int slot) {
        if (attachment != null) {
            attachment.reservedBytes -= region.slotBytes;
            attachment.tenant.account.reserved(-region.slotBytes);
            attachment.slots.remove(Attachments.place(region.id, slot)).closed();
            writing--;
        }
        region.unreserved();
    }

    /** The object came from this tier. */
    public void came(final int entry, final TierKind tier) {
        entries.origin[entry] = tier.code();
    }

    /** The tier from which it came, until a hit of it was counted; {@link TierKind#DRAM} from then on. */
    @Override
    public TierKind origin(final int entry) {
        final byte code = entries.origin[entry];
        return code == TierKind.SSD.code()
                ? TierKind.SSD
                : code == TierKind.REMOTE.code() ? TierKind.REMOTE : TierKind.DRAM;
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
        policy.remove(entry);
        if (order != null) {
            order.remove(entry);
        }
        table.leave(entries.object[entry], TierKind.DRAM);
        if (!isCondemned(entry)) {
            leaving(entry);
        }
        if (entries.pinned[entry]) {
            context.listener().pinnedIsGone(entry);
        }
        giveUp(entry);
        region.free(slot);
    }

    private void leaving(final int entry) {
        context.tierListener().leaving(TierKind.DRAM, tenantName(entry), id(entry), uses(entry));
    }

    // ---- room

    private void evict(final int entry) {
        if (policy.isCopied(entry)) {
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
        if (!ruined.isEmpty()) {
            ruined.removeIf(this::discard);
        }
        return regions.poll();
    }

    // ---- moving

    /** True when it can get another slot: nobody holds it, and its bytes can be checked. */
    boolean isMovable(final int entry) {
        return isReadable(entry) && entries.holds[entry] == 0 && isSummed(entry);
    }

    /** A slot into which the object is copied. Until {@link #move} or {@link #abortMove} it is the node's own to write. */
    int reserveMove(final int entry, final Region into) {
        final ObjectId id = id(entry);
        return take(into, id.namespace(), id.key(), id.shard(), length(entry), Region.NODE, codec(entry));
    }

    /** The copy is whole: from now on the object has the new slot, and the old one is free. The entry stays what it was. */
    void move(final int entry, final Region into, final int slot) {
        assert isMovable(entry) : "an object was moved from under its reader";
        final Region from = entries.region[entry];
        final int old = entries.slot[entry];
        final HeaderTable headers = into.headers;
        final long generation = HeaderTable.generation(headers.stamp(slot)) + 1;
        headers.setCrc32c(slot, crc32c(entry));
        headers.seal(slot, parent(entry), chunkIndex(entry), priority(entry), expiry(entry), generation);
        // A node that ends between here and the end of this call leaves the object twice, and the next one takes one.
        headers.setStamp(slot, HeaderTable.stamp(generation, HeaderTable.COMMITTED));
        into.unreserved();
        into.entryOf[slot] = entry;
        from.entryOf[old] = Region.NO_ENTRY;
        entries.region[entry] = into;
        entries.slot[entry] = slot;
        table.dramPlace(entries.object[entry], ObjectTable.place(into.id, slot));
        from.free(old);
        context.counters().moved.increment();
    }

    void abortMove(final Region into, final int slot) {
        into.unreserved();
        into.free(slot);
    }

    // ---- damage

    /**
     * The bytes of this entry's slot could not be read or written: an engine may have truncated the region's file, or
     * punched holes in it. Then nothing in the region counts any more.
     *
     * @return whether that is so
     */
    public boolean inspect(final int entry) {
        return isLive(entry) && inspect(entries.region[entry]);
    }

    /** The region of this reserved slot was damaged: whatever was written there must not be committed. */
    public boolean isRuined(final int entry) {
        return entries.region[entry].isRuined();
    }

    boolean inspect(final Region region) {
        if (region.isRuined()) {
            return true;
        }
        final String damage = region.damage();
        if (damage.isEmpty()) {
            return false;
        }
        region.ruined();
        ruined.add(region);
        region.tenant.pace.damaged(context.clock().time());
        context.counters().regionsRuined.increment();
        int dropped = 0;
        for (final int entry : region.entryOf.clone()) {
            // What is being written ends with its commit or abort.
            if (entry != NONE && !isWriting(entry) && !isCondemned(entry)) {
                dropOrCondemn(entry);
                dropped++;
            }
        }
        LOG.error(
                "{} of tenant {} {}: a process of this tenant did that. The {} objects in it are dropped;"
                        + " all other regions are as they were",
                region.dataFile,
                region.tenant.name,
                damage,
                dropped);
        return true;
    }

    private boolean discard(final Region region) {
        // A region that is being emptied ends with what is under way.
        if (!region.isIdle() || region.isEmptying()) {
            return false;
        }
        regions.discard(region);
        context.tierListener().spaceFreed(TierKind.DRAM);
        return true;
    }

    // ---- entries and slots

    private int insert(final Region region, final int slot, final int object, final long hash, final byte state) {
        final int entry = entries.take(region, slot, hash, object, state);
        table.dramPlace(object, ObjectTable.place(region.id, slot));
        table.in(object, TierKind.DRAM, true);
        region.entryOf[slot] = entry;
        usedBytes += region.slotBytes;
        region.tenant.account.dram(region.slotBytes);
        return entry;
    }

    /** The object has no place here any more; its slot is the caller's. */
    private void forget(final int entry) {
        table.leave(entries.object[entry], TierKind.DRAM);
        giveUp(entry);
    }

    private void giveUp(final int entry) {
        final Region region = entries.region[entry];
        region.entryOf[entries.slot[entry]] = Region.NO_ENTRY;
        usedBytes -= region.slotBytes;
        region.tenant.account.dram(-region.slotBytes);
        entries.give(entry);
        context.tierListener().settled(entry);
    }

    /** The entry is a child of its parent, when that is here. */
    void link(final int entry, final Hash256 parent) {
        if (parent.equals(Hash256.ZERO)) {
            return;
        }
        final ObjectId id = id(entry);
        final int above = find(id.namespace(), parent, id.shard());
        if (above != NONE && above != entry) {
            entries.chains.link(entry, above);
            if (!isWriting(above)) {
                policy.extended(above);
            }
        }
    }

    private HeaderTable headers(final int entry) {
        return entries.region[entry].headers;
    }

    // ---- restart

    /** A committed object of an earlier node, to be verified before it is readable; false: it gets no place here. */
    boolean adopted(final Region region, final int slot, final ObjectId id) {
        final int object = table.put(id);
        if (object == ObjectTable.FULL || table.isIn(object, TierKind.DRAM)) {
            return false;
        }
        final long hash = id.hash64();
        final int entry = insert(region, slot, object, hash, Entries.UNVERIFIED);
        policy.add(entry, hash, region.slotBytes, chunkIndex(entry), priority(entry));
        inOrder(entry);
        return true;
    }

    private void inOrder(final int entry) {
        if (order != null) {
            order.add(entry, entries.region[entry].tenant.account.number());
        }
    }

    /** The entry of this object, whether it has expired or not. */
    int search(final ObjectId id) {
        return entryOf(table.find(id));
    }

    Entries entries() {
        return entries;
    }

    Regions regions() {
        return regions;
    }

    ObjectTable table() {
        return table;
    }

    /** Entries that wait for their first verification, in no order; for the background check after a restart. */
    public List<Integer> unverified() {
        final List<Integer> found = new ArrayList<>();
        coldestFirst.restart();
        for (int entry = coldestFirst.next(); entry != NONE; entry = coldestFirst.next()) {
            if (entries.state[entry] == Entries.UNVERIFIED) {
                found.add(entry);
            }
        }
        return found;
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

    public int objects() {
        return entries.live();
    }

    /** Objects that leases or the node's own work keep. */
    public int heldObjects() {
        return held;
    }

    /** Slots that engines have reserved; the quarantined ones do not count. */
    public int slotsBeingWritten() {
        return writing;
    }

    /** Bytes of slots that hold or await an object. */
    public long usedBytes() {
        return usedBytes;
    }

    public long capacity() {
        return context.capacity();
    }

    public long quarantinedBytes() {
        return attachments.quarantinedBytes();
    }

    public TenantAccount account(final int entry) {
        return entries.region[entry].tenant.account;
    }

    public String tenantName(final int entry) {
        return entries.region[entry].tenant.name;
    }

    @Override
    public void close() {
        regions.close();
        files.close();
    }
}
