package io.kvasir.storage;

import io.kvasir.storage.budget.StoreLimits;
import io.kvasir.storage.catalog.Remembered;
import io.kvasir.storage.lease.LeaseHolder;
import io.kvasir.storage.lease.LeaseTable;
import io.kvasir.storage.lease.SessionHolder;
import io.kvasir.storage.lookup.LookupAnswer;
import io.kvasir.storage.lookup.LookupCells;
import io.kvasir.storage.lookup.LookupQuery;
import io.kvasir.storage.lookup.Lookups;
import io.kvasir.storage.lookup.Resolution;
import io.kvasir.storage.lookup.SlicedLookup;
import io.kvasir.storage.lookup.Waiters;
import io.kvasir.storage.metrics.StorageCounters;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectEvent;
import io.kvasir.storage.object.RegionInfo;
import io.kvasir.storage.object.Shard;
import io.kvasir.storage.object.ShardSet;
import io.kvasir.storage.object.SlotStatus;
import io.kvasir.storage.tenant.Tenant;
import io.kvasir.storage.tenant.TenantAccount;
import io.kvasir.storage.tenant.TenantAccounts;
import io.kvasir.storage.tier.AddressableTiers;
import io.kvasir.storage.tier.Attachment;
import io.kvasir.storage.tier.ReservedSlots;
import io.kvasir.storage.tier.dram.Attachments;
import io.kvasir.storage.tier.dram.DramTier;
import io.kvasir.storage.tier.dram.TenantArena;
import io.kvasir.storage.tier.ssd.SsdAccounts;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Consumer;
import org.agrona.concurrent.EpochClock;

/** The store as engines see it: what the engine server calls, on the owner's thread. Part of {@link StoreAgent}. */
public final class EngineStore {
    private final StoreAgent agent;
    private final EpochClock clock;
    private final StorageCounters counters;
    private final TenantAccounts accounts;
    private final AddressableTiers slots;
    private final DramTier dram;
    private final LeaseTable leases;
    private final Lookups lookups;
    private final Reservations reservations;
    private final Waiters waiters;
    private final Pins pins;
    private final Remembered remembered;
    private final SsdAccounts ssdAccounts;
    private final Events events;

    EngineStore(
            final StoreAgent agent,
            final EpochClock clock,
            final StorageCounters counters,
            final TenantAccounts accounts,
            final AddressableTiers slots,
            final DramTier dram,
            final LeaseTable leases,
            final Lookups lookups,
            final Reservations reservations,
            final Waiters waiters,
            final Pins pins,
            final Remembered remembered,
            final SsdAccounts ssdAccounts,
            final Events events) {
        this.agent = agent;
        this.clock = clock;
        this.counters = counters;
        this.accounts = accounts;
        this.slots = slots;
        this.dram = dram;
        this.leases = leases;
        this.lookups = lookups;
        this.reservations = reservations;
        this.waiters = waiters;
        this.pins = pins;
        this.remembered = remembered;
        this.ssdAccounts = ssdAccounts;
        this.events = events;
    }

    /** Runs it on the owner's thread; from any thread. */
    public void execute(final Runnable task) {
        agent.execute(task);
    }

    // ---- tenants and attachments

    /**
     * The tenant's part of the arena, made when it is not there.
     *
     * @param gid group that may read its directory; -1: the node's own
     */
    public Tenant openTenant(final String name, final int gid) {
        return dram.openTenant(name, gid);
    }

    /** A new attachment and its lock file; the process must take the lock before {@link #isAlive}. */
    public Attachment openAttachment(final Tenant tenant) {
        return dram.writers().open((TenantArena) tenant);
    }

    /** True while some process holds the attachment's lock. */
    public boolean isAlive(final Attachment attachment) {
        return ((Attachments.Entry) attachment).isHeld();
    }

    /** The process says that all its copies as the attachment with this secret have stopped. Unknown ones are ignored. */
    public void quiesced(final Tenant tenant, final long secret) {
        dram.writers().quiesced((TenantArena) tenant, secret);
    }

    /**
     * The connection is gone. What it had reserved is quarantined until the lock is free or {@link #quiesced} is said;
     * the caller ends the session's leases by {@link #closeHolder} with the session's last connection.
     */
    public void closeAttachment(final Attachment attachment) {
        dram.writers().depart((Attachments.Entry) attachment);
    }

    public RegionInfo region(final int region) {
        return slots.regionInfo(region);
    }

    public List<RegionInfo> regions(final Tenant tenant) {
        return dram.regionInfos((TenantArena) tenant);
    }

    /** What the tenant has of this node, and may have. */
    public TenantAccount account(final String tenant) {
        return accounts.of(tenant);
    }

    /** Told when a region ends, so that a connection forgets that its engine knows it. */
    public void onRegionRetired(final Consumer<Integer> consumer) {
        events.onRegionRetired(consumer);
    }

    /** Told when the process behind an attachment has ended though its connection is open; the caller closes that. */
    public void onProcessEnded(final Consumer<Attachment> consumer) {
        events.onProcessEnded(consumer);
    }

    /** True while some engine may be copying: it holds a lease, or slots to write into. */
    public boolean isInUse() {
        return leases.count() > 0 || dram.writers().slotsBeingWritten() > 0;
    }

    // ---- reading

    public LeaseHolder openHolder(final Tenant tenant, final ShardSet shards) {
        return new SessionHolder(tenant, leases.open(accounts.of(tenant.name())), shards);
    }

    /** An attachment joins the session: leases that are not released stay protected while one of these lives. */
    public void joinHolder(final LeaseHolder holder, final Attachment attachment) {
        leases.join(
                ((SessionHolder) holder).leases,
                attachment.id(),
                Path.of(attachment.tenant().directory(), attachment.lockFile()));
    }

    /** Ends all leases; slots whose readers may still copy are not reused while an attachment's lock is held. */
    public void closeHolder(final LeaseHolder holder) {
        ((SessionHolder) holder).close();
        leases.close(((SessionHolder) holder).leases);
    }

    /** Answered from memory; starts fetches of what is pending unless it peeks. */
    public LookupAnswer lookup(final LeaseHolder holder, final LookupQuery query) {
        return lookups.lookup((SessionHolder) holder, query);
    }

    /** Whether {@link #lookupInSlices} can begin: the tenant has none under way, and not all that can be are. */
    public boolean canSlice(final LeaseHolder holder) {
        return lookups.canSlice((SessionHolder) holder);
    }

    /**
     * Like {@link #lookup}, of any number of keys, in steps between which the store may be used otherwise. What it answers
     * holds when its last step is done. Null while {@link #canSlice} says no.
     *
     * @param replacedLease is given back as soon as this lookup holds what it covers; 0: none
     */
    public SlicedLookup lookupInSlices(final LeaseHolder holder, final LookupQuery query, final long replacedLease) {
        return lookups.lookupInSlices((SessionHolder) holder, query, replacedLease);
    }

    /**
     * Runs {@code wake} once, from {@link StoreAgent#doWork()}, when none of the query's objects that are pending now is
     * pending any more. Returns a handle for {@link #cancelWait}; 0 when nothing is pending ({@code wake} is not run).
     */
    public long whenSettled(final LeaseHolder holder, final LookupQuery query, final Runnable wake) {
        return lookups.whenSettled((SessionHolder) holder, query, wake);
    }

    public void cancelWait(final long handle) {
        waiters.cancel(handle);
    }

    /** The lookup's result goes to its engine: counts it, once for each request however often it was looked up. */
    public void answered(final LeaseHolder holder, final LookupAnswer result) {
        lookups.answered((SessionHolder) holder, result);
    }

    /** Chunks of a lease; 0 when the lease ended or is not this holder's. */
    public int leasedChunks(final LeaseHolder holder, final long lease) {
        final int found = leases.find(((SessionHolder) holder).leases, lease);
        return found == LeaseTable.NONE ? 0 : leases.cells(found) / leases.shards(found);
    }

    /** Packs the records of a lease, chunk-major, in steps; null when the lease ended or is not this holder's. */
    public Resolution resolve(final LeaseHolder holder, final long lease, final int[] shardIndices) {
        return lookups.resolve((SessionHolder) holder, lease, shardIndices);
    }

    public boolean renew(final LeaseHolder holder, final long lease, final long leaseNs) {
        return lookups.renew((SessionHolder) holder, lease, leaseNs);
    }

    /** Gives back the named shards (empty: all). False when the lease is not there or not this holder's. */
    public boolean release(final LeaseHolder holder, final long lease, final int[] shardIndices) {
        return leases.release(((SessionHolder) holder).leases, lease, shardIndices);
    }

    /**
     * Does a part of what releases of the holder's large leases left to do; {@link StoreAgent#doWork()} does too. True
     * when nothing is left, so that its quota is free.
     */
    public boolean letGo(final LeaseHolder holder) {
        return leases.letGo(((SessionHolder) holder).leases, StoreLimits.CELLS_IN_A_SLICE);
    }

    // ---- writing

    /**
     * What is neither committed nor aborted by {@link StoreContext#reserveDeadline} is quarantined: its commit is
     * answered NOT_RESERVED, and others may store those objects.
     *
     * @param keys n x 32 bytes
     * @param lengths n values, or one for all
     */
    public ReservedSlots reserve(
            final Attachment attachment,
            final Hash256 namespace,
            final Shard shard,
            final byte[] keys,
            final long[] lengths,
            final int codec) {
        return reservations.reserve((Attachments.Entry) attachment, namespace, shard, keys, lengths, codec, null);
    }

    /** Tries the records again that say NO_ROOM, in place; the others are kept. */
    public ReservedSlots retryReserve(
            final Attachment attachment,
            final Hash256 namespace,
            final Shard shard,
            final byte[] keys,
            final long[] lengths,
            final int codec,
            final ReservedSlots before) {
        return reservations.reserve((Attachments.Entry) attachment, namespace, shard, keys, lengths, codec, before);
    }

    /**
     * Runs {@code wake} once when room was made. Returns a handle for {@link #cancelWait}.
     *
     * @param place what the request's first such call returned: it keeps its place among those that wait; 0: none
     */
    public long whenRoom(final long place, final Runnable wake) {
        return waiters.awaitRoom(place, wake);
    }

    /** Counts a request that is answered with records that say {@link SlotStatus#NO_ROOM}. */
    public void answeredNoRoom() {
        counters.noRoom.increment();
    }

    /**
     * @param records n x 32 bytes as {@link #reserve} gave them
     * @param parents empty, or n x 32 bytes
     * @param crc32c empty, or n x 4 bytes little-endian
     * @param chunkIndex empty, one value for the first, or n values
     * @param ttlNs 0: no limit
     * @return a {@link SlotStatus} for each
     */
    public byte[] commit(
            final Attachment attachment,
            final byte[] records,
            final byte[] parents,
            final byte[] crc32c,
            final int[] chunkIndex,
            final int priority,
            final long ttlNs) {
        return reservations.commit(
                (Attachments.Entry) attachment, records, parents, crc32c, chunkIndex, priority, ttlNs);
    }

    public byte[] abort(final Attachment attachment, final byte[] records) {
        return reservations.abort((Attachments.Entry) attachment, records);
    }

    // ---- pins, namespaces, events

    /** Pins what is in DRAM of these keys in every shard of the holder; returns how many keys that was. */
    public int pin(
            final LeaseHolder holder,
            final Hash256 namespace,
            final byte[] keys,
            final long ttlNs,
            final int priority) {
        final long nowMs = clock.time();
        return pins.pin(here(holder, namespace, keys), Math.max(nowMs, nowMs + ttlNs / 1_000_000), priority);
    }

    public int unpin(final LeaseHolder holder, final Hash256 namespace, final byte[] keys) {
        return pins.unpin(here(holder, namespace, keys));
    }

    private LookupCells here(final LeaseHolder holder, final Hash256 namespace, final byte[] keys) {
        return lookups.here((SessionHolder) holder, namespace, keys);
    }

    /**
     * Remembers the readable fields of a namespace; the catalog has them a moment later. Does not block.
     *
     * @return false: the catalog's disk is too far behind to take another one now
     */
    public boolean rememberNamespace(final Hash256 namespace, final String tenant, final byte[] fields) {
        final boolean taken = remembered.namespace(namespace, tenant, fields);
        ssdAccounts.namespaceFound(namespace);
        events.tellUntold();
        return taken;
    }

    /**
     * Runs {@code wake} once, on the owner's thread, when the catalog has all pins and unpins up to now, so that they
     * survive the node; false, and it does not run, when it has them, or there is no catalog.
     */
    public boolean whenPinsAreKept(final Runnable wake) {
        return remembered.whenWritten(wake);
    }

    /** Set once, before the store works. */
    public void onEvent(final Consumer<ObjectEvent> consumer) {
        events.onEvent(consumer, dram.objects() == 0);
    }
}
