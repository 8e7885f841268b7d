package io.kvasir.storage;

import io.kvasir.storage.index.ObjectTable;
import io.kvasir.storage.index.SipHash;
import io.kvasir.storage.lease.TimerWheel;
import io.kvasir.storage.metrics.StorageCounters;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectEvent;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.PlanRange;
import io.kvasir.storage.object.RegionInfo;
import io.kvasir.storage.object.Shard;
import io.kvasir.storage.object.ShardSet;
import io.kvasir.storage.object.SlotStatus;
import io.kvasir.storage.object.TierKind;
import io.kvasir.storage.tenant.TenantAccounts;
import io.kvasir.storage.tier.Tier;
import io.kvasir.storage.tier.dram.Attachments;
import io.kvasir.storage.tier.dram.DramContext;
import io.kvasir.storage.tier.dram.DramTier;
import io.kvasir.storage.tier.dram.TenantArena;
import io.kvasir.storage.tier.ssd.SsdMetrics;
import io.kvasir.storage.tier.ssd.SsdTier;
import io.kvasir.storage.tier.ssd.StoredObject;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.function.Consumer;
import org.agrona.concurrent.Agent;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One node's objects in all tiers of this machine. One thread owns it: every method, {@link #doWork()} included, is
 * called by that thread; slow work runs elsewhere and comes back through {@link #doWork()}.
 */
public final class ObjectStore implements Agent, AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(ObjectStore.class);
    private static final long PROBE_NS = 100_000_000;
    private static final long ROOM_NS = 50_000_000;
    private static final int COMPLETIONS_AT_ONCE = 256;
    private static final int TIMERS_AT_ONCE = 256;
    /** Events whose tenant is not known yet; beyond it the oldest are dropped. */
    private static final int MOST_UNTOLD = 16_384;

    private static final long CLOSE_NS = 5_000_000_000L;
    /** What the catalog has at least to write what is queued when the node stops. */
    private static final long FLUSH_NS = 100_000_000;

    /** One process of an engine, and the lock that shows that it lives. */
    public interface Attachment {
        /** Names it in header tables and lock files, where every process of the tenant can read it. */
        long id();

        /** Known to its process alone: proof that it is the one that says {@link #quiesced}. */
        long secret();

        Tenant tenant();

        /** Relative to the tenant's directory. */
        String lockFile();
    }

    /** A tenant's part of the arena. */
    public interface Tenant {
        String name();

        /** Absolute path of the directory that holds its regions. */
        String directory();
    }

    /** Owner of leases: one session. */
    public interface LeaseHolder {
        Tenant tenant();

        ShardSet shards();
    }

    /**
     * @param keys n x 32 bytes
     * @param shardIndices shards of which {@link LookupResult#slots()} has records; empty: all
     * @param leaseNs 0: the default
     * @param recomputeNsPerChunk the engine's time to compute one chunk; 0: unknown
     */
    public record LookupQuery(
            Hash256 namespace,
            byte[] keys,
            int[] shardIndices,
            long leaseNs,
            boolean peek,
            boolean sparse,
            int priority,
            long recomputeNsPerChunk) {}

    /**
     * @param lease 0 when nothing was leased
     * @param slots packed records, chunk-major: hitChunks (sparse: all keys) x shards asked for
     * @param regions distinct regions that {@code slots} names
     * @param quotaRefused a quota left out hits
     */
    public record LookupResult(
            long lease,
            long leaseNs,
            int hitChunks,
            int pendingChunks,
            byte[] slots,
            int[] regions,
            List<PlanRange> plan,
            boolean quotaRefused) {}

    /** A lookup that is worked off in steps. Must be closed. */
    public interface SlicedLookup extends AutoCloseable {
        /** Does a part of it; true when there is a result. */
        boolean step();

        LookupResult result();

        /** As {@link ObjectStore#whenSettled}, for what the result says is pending. */
        long whenSettled(Runnable wake);

        /** Before its result is there, what it has leased is given back. */
        @Override
        void close();
    }

    /**
     * @param slots packed records, one for each key
     * @param noRoom how many records say {@link SlotStatus#NO_ROOM} and may get a slot later
     * @param tooLong how many say so because this DRAM never has a slot of that length
     * @param unfinished there may be room at once: only this turn's work is done
     */
    public record ReserveResult(byte[] slots, int[] regions, int noRoom, int tooLong, boolean unfinished) {}

    private final StoreContext context;
    private final StorageCounters counters = new StorageCounters();
    private final Queue<Runnable> completions = new ConcurrentLinkedQueue<>();
    private final Waiters waiters = new Waiters();
    private final Verifier verifier;
    private final ObjectTable table;
    private final TenantAccounts accounts;
    private final SsdAccounts ssdAccounts;
    private final DramTier dram;
    private final SsdShelf ssd;
    /** From which lookups fetch, the fastest first. */
    private final List<Tier> tiers = new ArrayList<>();

    private final Lending lending;
    private final Arrivals arrivals;
    private final ColdestFirst coldest;
    private final Holdings holdings;
    /** Deadlines of leases and reservations. */
    private final TimerWheel timers;

    private final Leases leases;
    private final Lookups lookups;
    private final Reservations reservations;
    private final Pins pins;
    private final Remembered remembered;
    /** Events of namespaces whose tenant is not known yet. */
    private final Queue<ObjectEvent> untold = new ArrayDeque<>();

    private Consumer<ObjectEvent> events = event -> {};
    private Consumer<Integer> regionRetired = region -> {};
    private Consumer<Attachment> processEnded = attachment -> {};
    private long nextProbeNs;
    private long nextRoomNs;
    private boolean closed;

    /** Opens the arena and indexes what an earlier node left there; the SSD tier warms up in the background. */
    public ObjectStore(final StoreContext context) {
        this.context = context.conclude();
        holdings = context.holdings();
        timers = new TimerWheel(context.nanoClock().nanoTime());
        accounts = new TenantAccounts(context.tenantShares(), context.dramCapacity(), context.regionBytes());
        final DramEvents listener = new DramEvents();
        table = new ObjectTable(context.mostObjects(), new SipHash(context.random()));
        dram = openDram(new DramContext(
                context.dramDirectory(),
                context.dramCapacity(),
                context.regionBytes(),
                context.reserveQuotaBytes(),
                accounts,
                context.policy(),
                this::isDurable,
                () -> context.ssd() != null,
                this::mayDropUndemoted,
                context.copyGivesWay(),
                listener,
                this::complete,
                context.clock(),
                context.random(),
                context.worker("kvasir-region-allocator"),
                counters));
        verifier = new Verifier(
                dram,
                counters,
                context.worker("kvasir-checksums"),
                this::complete,
                context.nanoClock().nanoTime());
        ssdAccounts = new SsdAccounts(accounts, this::tenantNameOf, this::belongs);
        ssd = new SsdShelf(table, dram, counters, this::emit, this::leftSsd, holdings, ssdAccounts);
        leases = new Leases(dram, context.leaseQuotaBytes(), context.random().nextLong());
        if (context.ssd() != null) {
            tiers.add(ssd);
        }
        if (context.remote() != null) {
            tiers.add(new RemoteShelf(dram, context.remote(), waiters, context.nanoClock(), counters));
        }
        lending = new Lending(dram, ssd, verifier::verifyNow, this::arena, this::complete);
        arrivals = new Arrivals(dram, ssd, context.nanoClock(), counters);
        coldest = new ColdestFirst(dram, ssd);
        lookups = new Lookups(
                () -> new LookupTask(table, dram, ssd, tiers, arrivals, leases, waiters, verifier::verifyNow, context),
                dram,
                leases,
                context,
                counters);
        reservations = new Reservations(dram, ssd, verifier, timers, context, counters);
        remembered = new Remembered(
                context.catalogDirectory(),
                context.catalogDirectory() == null ? null : context.worker("kvasir-catalog"),
                this::complete,
                counters,
                this::namespacesFound,
                this::pinsFound);
        pins = new Pins(dram, remembered, context.leaseQuotaBytes());
        try {
            if (context.ssd() != null) {
                ssd.open(SsdTier.open(context.ssd()
                        .completions(this::complete)
                        .listener(ssd)
                        .shares(context.tenantShares())
                        .clock(context.javaClock())));
            }
        } catch (final RuntimeException failure) {
            remembered.close(CLOSE_NS);
            verifier.close();
            dram.close();
            table.close();
            throw failure;
        }
        arrivals.adopted(holdings);
        if (ssd.tier() == null) {
            holdings.complete();
        }
    }

    private DramTier openDram(final DramContext dramContext) {
        try {
            return new DramTier(dramContext, table);
        } catch (final RuntimeException failure) {
            table.close();
            throw failure;
        }
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
        return dram.openAttachment((TenantArena) tenant);
    }

    /** True while some process holds the attachment's lock. */
    public boolean isAlive(final Attachment attachment) {
        return ((Attachments.Entry) attachment).isHeld();
    }

    /** The process says that all its copies as the attachment with this secret have stopped. Unknown ones are ignored. */
    public void quiesced(final Tenant tenant, final long secret) {
        dram.quiesced((TenantArena) tenant, secret);
    }

    /**
     * The connection is gone. What it had reserved is quarantined until the lock is free or {@link #quiesced} is said;
     * the caller ends the session's leases by {@link #closeHolder} with the session's last connection.
     */
    public void closeAttachment(final Attachment attachment) {
        dram.depart((Attachments.Entry) attachment);
    }

    public RegionInfo region(final int region) {
        return dram.regionInfo(region);
    }

    public List<RegionInfo> regions(final Tenant tenant) {
        return dram.regionInfos((TenantArena) tenant);
    }

    /** Told when a region ends, so that a connection forgets that its engine knows it. */
    public void onRegionRetired(final Consumer<Integer> consumer) {
        regionRetired = consumer;
    }

    /** Told when the process behind an attachment has ended though its connection is open; the caller closes that. */
    public void onProcessEnded(final Consumer<Attachment> consumer) {
        processEnded = consumer;
    }

    // ---- reading

    public LeaseHolder openHolder(final Tenant tenant, final ShardSet shards) {
        return new Leases.Holder(tenant, shards);
    }

    /** An attachment joins the session: leases that are not released stay protected while one of these lives. */
    public void joinHolder(final LeaseHolder holder, final Attachment attachment) {
        leases.join((Leases.Holder) holder, attachment.id());
    }

    /** Ends all leases; slots whose readers may still copy are not reused while an attachment's lock is held. */
    public void closeHolder(final LeaseHolder holder) {
        leases.close((Leases.Holder) holder);
    }

    /** Answered from memory; starts fetches of what is pending unless it peeks. */
    public LookupResult lookup(final LeaseHolder holder, final LookupQuery query) {
        return lookups.lookup((Leases.Holder) holder, query);
    }

    /** Whether {@link #lookupInSlices} can begin: the tenant has none under way, and not all that can be are. */
    public boolean canSlice(final LeaseHolder holder) {
        return lookups.canSlice((Leases.Holder) holder);
    }

    /**
     * Like {@link #lookup}, of any number of keys, in steps between which the store may be used otherwise. What it answers
     * holds when its last step is done. Null while {@link #canSlice} says no.
     *
     * @param replacedLease is given back as soon as this lookup holds what it covers; 0: none
     */
    public SlicedLookup lookupInSlices(final LeaseHolder holder, final LookupQuery query, final long replacedLease) {
        return lookups.lookupInSlices((Leases.Holder) holder, query, replacedLease);
    }

    /**
     * Runs {@code wake} once, from {@link #doWork()}, when none of the query's objects that are pending now is pending
     * any more. Returns a handle for {@link #cancelWait}; 0 when nothing is pending ({@code wake} is not run).
     */
    public long whenSettled(final LeaseHolder holder, final LookupQuery query, final Runnable wake) {
        return lookups.whenSettled((Leases.Holder) holder, query, wake);
    }

    public void cancelWait(final long handle) {
        waiters.cancel(handle);
    }

    /** The lookup's result goes to its engine: counts it, once for each request however often it was looked up. */
    public void answered(final LeaseHolder holder, final LookupResult result) {
        lookups.answered((Leases.Holder) holder, result);
    }

    /** Requests that wait, and what they are listed under. */
    public int waits() {
        return waiters.size();
    }

    /** Chunks of a lease; 0 when the lease ended or is not this holder's. */
    public int leasedChunks(final LeaseHolder holder, final long lease) {
        final Leases.Lease found = leases.of((Leases.Holder) holder, lease);
        return found == null ? 0 : found.entries.length / found.shards;
    }

    /** Records of a lease, chunk-major; null when the lease ended or is not this holder's. */
    public LookupResult resolve(final LeaseHolder holder, final long lease, final int[] shardIndices) {
        return lookups.resolve((Leases.Holder) holder, lease, shardIndices);
    }

    public boolean renew(final LeaseHolder holder, final long lease, final long leaseNs) {
        return lookups.renew((Leases.Holder) holder, lease, leaseNs);
    }

    /** Gives back the named shards (empty: all). False when the lease is not there or not this holder's. */
    public boolean release(final LeaseHolder holder, final long lease, final int[] shardIndices) {
        return leases.release((Leases.Holder) holder, lease, shardIndices);
    }

    // ---- writing

    /**
     * What is neither committed nor aborted by {@link StoreContext#reserveDeadline} is quarantined: its commit is
     * answered NOT_RESERVED, and others may store those objects.
     *
     * @param keys n x 32 bytes
     * @param lengths n values, or one for all
     */
    public ReserveResult reserve(
            final Attachment attachment,
            final Hash256 namespace,
            final Shard shard,
            final byte[] keys,
            final long[] lengths,
            final int codec) {
        return reservations.reserve((Attachments.Entry) attachment, namespace, shard, keys, lengths, codec, null);
    }

    /** Tries the records again that say NO_ROOM, in place; the others are kept. */
    public ReserveResult retryReserve(
            final Attachment attachment,
            final Hash256 namespace,
            final Shard shard,
            final byte[] keys,
            final long[] lengths,
            final int codec,
            final ReserveResult before) {
        return reservations.reserve((Attachments.Entry) attachment, namespace, shard, keys, lengths, codec, before);
    }

    /** Runs {@code wake} once when room was made. Returns a handle for {@link #cancelWait}. */
    public long whenRoom(final Runnable wake) {
        return whenRoom(0, wake);
    }

    /** @param place what the request's first such call returned: it keeps its place among those that wait; 0: none */
    public long whenRoom(final long place, final Runnable wake) {
        return waiters.awaitRoom(place, wake);
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

    // ---- other nodes

    /**
     * Holds an object for another node. Answers once, on the owner's thread: null when it is not here, or could not be
     * brought to DRAM and verified before the deadline.
     *
     * @param deadlineNs by the context's nano clock
     */
    public void lend(final ObjectId id, final long deadlineNs, final Consumer<Lent> answer) {
        lending.lend(id, deadlineNs, answer, context.nanoClock().nanoTime());
    }

    /** Another node loads these, parents before children: here they count as used, as if an engine of this node did. */
    public void usedElsewhere(final List<ObjectId> chain) {
        for (int i = chain.size() - 1; i >= 0; i--) {
            final ObjectId id = chain.get(i);
            final int entry = dram.find(id.namespace(), id.key(), id.shard());
            if (entry != DramTier.NONE && !dram.isWriting(entry) && !dram.isCondemned(entry)) {
                dram.touch(entry);
                ssd.used(dram.object(entry), dram.hash(entry));
            }
        }
    }

    /**
     * A slot for an object that another node sends.
     *
     * @param copy its sender keeps it too: it gives way first here
     * @param mayEvict false: only room that nobody has, or that what is elsewhere too has while the SSD has room below
     */
    public Reception receive(
            final Tenant tenant,
            final ObjectId id,
            final StoredObject object,
            final boolean copy,
            final boolean mayEvict) {
        return arrivals.receive((TenantArena) tenant, id, object, copy, mayEvict);
    }

    /** The tenant of a namespace, when it has attached to this node; else null. */
    public Tenant tenantOf(final Hash256 namespace) {
        return arena(namespace);
    }

    private TenantArena arena(final Hash256 namespace) {
        final String name = remembered.tenantOf(namespace);
        return name == null ? null : dram.tenant(name);
    }

    /** Somebody got bytes of this object that do not fit its checksum: sums it, and drops it when that is so here. */
    public void suspect(final ObjectId id) {
        final int entry = dram.find(id.namespace(), id.key(), id.shard());
        if (entry != DramTier.NONE && dram.isReadable(entry)) {
            verifier.verifyNow(entry);
        }
    }

    /** Objects in DRAM, the one used last first. */
    public void eachByHeat(final Consumer<ObjectId> each) {
        arrivals.eachByHeat(each);
    }

    /** Objects on SSD and not in DRAM, the one used last first. */
    public void eachOnSsdOnly(final Consumer<ObjectId> each) {
        ssd.eachByHeat(id -> {
            if (dram.find(id.namespace(), id.key(), id.shard()) == DramTier.NONE) {
                each.accept(id);
            }
        });
    }

    /**
     * The next few of those objects that leave DRAM first and are not on SSD; call after call goes on, until the objects
     * that were passed make {@code withinBytes}.
     *
     * @return false: that is all, and the next call begins anew
     */
    public boolean nextToLeave(final long withinBytes, final Consumer<Leaving> each) {
        return coldest.next(withinBytes, each);
    }

    /** True while what leaves DRAM gets to the SSD before. */
    public boolean isSavedToSsd() {
        return ssd.keepsUp(context.nanoClock().nanoTime());
    }

    /** Bytes of an object that is in DRAM or on SSD; 0 for another. */
    public long bytesOf(final ObjectId id) {
        final int entry = dram.find(id.namespace(), id.key(), id.shard());
        return entry != DramTier.NONE ? dram.length(entry) : ssd.length(ssd.find(id));
    }

    /** Reads and writes that the SSD tier has not answered yet. */
    public int ssdInFlight() {
        return ssd.inFlight();
    }

    /** Bytes of SSD that nothing occupies. */
    public long ssdFreeBytes() {
        return ssd.freeBytes();
    }

    /** Runs it on the owner's thread; from any thread. */
    public void execute(final Runnable task) {
        complete(task);
    }

    // ---- removal, pins, namespaces, events

    /** Removes an object from DRAM and SSD; what is leased goes with its last lease. False when it was in neither. */
    public boolean remove(final ObjectId id) {
        final int entry = dram.find(id.namespace(), id.key(), id.shard());
        final boolean here = entry != DramTier.NONE && !dram.isWriting(entry) && !dram.isCondemned(entry);
        if (here) {
            dram.dropOrCondemn(entry);
        }
        final boolean onSsd = ssd.has(id);
        if (onSsd) {
            ssd.remove(id);
        }
        return here || onSsd;
    }

    /**
     * Says whether another holder has the object's bytes too, so that its copy in DRAM gives way before what is no copy.
     * Every object starts as none. False when it is not in DRAM.
     */
    public boolean copied(final ObjectId id, final boolean copied) {
        final int entry = dram.find(id.namespace(), id.key(), id.shard());
        final boolean here = entry != DramTier.NONE && !dram.isWriting(entry);
        if (here) {
            dram.copied(entry, copied);
        }
        return here;
    }

    /** A node that had copies is gone: until more is known, nothing here counts as one. */
    public void forgetCopies() {
        arrivals.forgetCopies();
    }

    /** True when it is in DRAM or on SSD. */
    public boolean holds(final ObjectId id) {
        final int entry = dram.find(id.namespace(), id.key(), id.shard());
        return (entry != DramTier.NONE && !dram.isWriting(entry)) || ssd.has(id);
    }

    /** Pins what is in DRAM of these keys in every shard of the holder; returns how many keys that was. */
    public int pin(
            final LeaseHolder holder,
            final Hash256 namespace,
            final byte[] keys,
            final long ttlNs,
            final int priority) {
        final long nowMs = context.clock().time();
        return pins.pin(here(holder, namespace, keys), Math.max(nowMs, nowMs + ttlNs / 1_000_000), priority);
    }

    public int unpin(final LeaseHolder holder, final Hash256 namespace, final byte[] keys) {
        return pins.unpin(here(holder, namespace, keys));
    }

    private LookupCells here(final LeaseHolder holder, final Hash256 namespace, final byte[] keys) {
        return lookups.here((Leases.Holder) holder, namespace, keys);
    }

    /**
     * Remembers the readable fields of a namespace; the catalog has them a moment later. Does not block.
     *
     * @return false: the catalog's disk is too far behind to take another one now
     */
    public boolean rememberNamespace(final Hash256 namespace, final String tenant, final byte[] fields) {
        final boolean taken = remembered.namespace(namespace, tenant, fields);
        ssdAccounts.namespaceFound(namespace);
        tellUntold();
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
        events = consumer;
        if (dramObjects() == 0) {
            consumer.accept(ObjectEvent.cleared(TierKind.DRAM));
        }
    }

    private void pinsFound(final List<Remembered.KeptPin> kept) {
        pins.restore(kept, context.clock().time());
    }

    /**
     * Events of the SSD tier name no tenant; its objects' namespaces do. After a start that is not known until the
     * catalog is open, or an engine names the namespace again: until then they wait, in their order.
     */
    private void emit(final ObjectEvent event) {
        if (event.tenant() != null || event.kind() == ObjectEvent.Kind.CLEARED) {
            events.accept(event);
            return;
        }
        final String tenant = remembered.tenantOf(event.id().namespace());
        if (tenant != null) {
            events.accept(new ObjectEvent(event.kind(), tenant, event.id(), event.tier()));
            return;
        }
        if (untold.size() == MOST_UNTOLD) {
            untold.remove();
            counters.faults.increment();
        }
        untold.add(event);
    }

    private String tenantNameOf(final Hash256 namespace) {
        return remembered == null ? null : remembered.tenantOf(namespace);
    }

    private void belongs(final Hash256 namespace, final String tenant) {
        ssd.tier().belongs(namespace, tenant);
    }

    private void namespacesFound() {
        ssdAccounts.namespacesFound();
        tellUntold();
    }

    private void tellUntold() {
        untold.removeIf(event -> {
            final String tenant = remembered.tenantOf(event.id().namespace());
            if (tenant != null) {
                events.accept(new ObjectEvent(event.kind(), tenant, event.id(), event.tier()));
            }
            return tenant != null;
        });
    }

    private void leftSsd(final ObjectId id) {
        if (dram.find(id.namespace(), id.key(), id.shard()) == DramTier.NONE) {
            remembered.gone(id.hash64(), context.clock().time(), 0);
        }
    }

    private boolean mayDropUndemoted() {
        return context.ssd() == null
                || ssd == null
                || ssd.isStalled(context.nanoClock().nanoTime());
    }

    private boolean isDurable(final int object) {
        return table.isIn(object, TierKind.SSD);
    }

    /** What the DRAM tier says happened. */
    private final class DramEvents implements DramContext.Listener {
        @Override
        public void stored(final int entry) {
            final ObjectId id = dram.id(entry);
            holdings.held(id, TierKind.DRAM, dram.length(entry), dram.parent(entry), dram.chunkIndex(entry));
            emit(new ObjectEvent(ObjectEvent.Kind.STORED, dram.tenantName(entry), id, TierKind.DRAM));
        }

        @Override
        public void removed(final int entry) {
            pins.forget(entry);
            if (!isDurable(dram.object(entry))) {
                remembered.gone(dram.hash(entry), context.clock().time(), dram.uses(entry));
            }
            final ObjectId id = dram.id(entry);
            holdings.gone(id, TierKind.DRAM);
            emit(new ObjectEvent(ObjectEvent.Kind.REMOVED, dram.tenantName(entry), id, TierKind.DRAM));
        }

        @Override
        public void settled(final int entry, final int serial) {
            waiters.settled(entry);
        }

        @Override
        public void roomMade() {
            waiters.roomMade();
        }

        @Override
        public void regionRetired(final int region) {
            regionRetired.accept(region);
        }

        @Override
        public void processEnded(final Attachments.Entry attachment) {
            processEnded.accept(attachment);
        }

        @Override
        public void attachmentEnded(final long attachment) {
            if (leases != null) {
                leases.attachmentEnded(attachment);
            }
        }
    }

    // ---- life

    private void complete(final Runnable completion) {
        completions.add(completion);
        context.wakeup().run();
    }

    @Override
    public int doWork() {
        int done = 0;
        Runnable completion;
        while (done < COMPLETIONS_AT_ONCE && (completion = completions.poll()) != null) {
            completion.run();
            done++;
        }
        final long nowNs = context.nanoClock().nanoTime();
        if (nowNs - nextProbeNs >= 0) {
            nextProbeNs = nowNs + PROBE_NS;
            dram.probeAttachments();
            pins.expire(context.clock().time());
        }
        if (nowNs - nextRoomNs >= 0) {
            // Who waits for room asks again even when none was made: only the asking tells that waiting is in vain.
            nextRoomNs = nowNs + ROOM_NS;
            waiters.roomMade();
        }
        done += timers.poll(nowNs, TIMERS_AT_ONCE);
        done += dram.poll() ? 1 : 0;
        done += ssd.demote(nowNs);
        done += verifier.doWork(nowNs);
        done += lending.doWork(nowNs);
        done += arrivals.doWork(nowNs);
        if (context.remote() != null) {
            done += context.remote().doWork(nowNs);
        }
        done += waiters.run();
        return done;
    }

    @Override
    public String roleName() {
        return "object-store";
    }

    /** True once the engine API can be served: DRAM is indexed. {@link #describe} says what is still warming. */
    public boolean isReady() {
        return !closed;
    }

    /** True when there is no SSD tier, or it has found all that it holds. */
    public boolean isSsdWarm() {
        return ssd.tier() == null || ssd.isWarm();
    }

    /** For people: what this store is, or waits for. */
    public String describe() {
        final String disk = ssd.tier() == null
                ? "no SSD tier"
                : ssd.failure() != null
                        ? "SSD tier out of use: " + ssd.failure()
                        : (ssd.isWarm() ? "" : "SSD tier still warming; ")
                                + ssd.tier().describe();
        return dram.objects() + " objects, " + dram.usedBytes() + " of " + dram.capacity() + " bytes in DRAM; " + disk;
    }

    public StorageCounters counters() {
        return counters;
    }

    public int dramObjects() {
        return dram.objects();
    }

    /** Objects in DRAM that leases or the node's own work keep. */
    public int heldObjects() {
        return dram.heldObjects();
    }

    public long dramUsedBytes() {
        return dram.usedBytes();
    }

    /** What each tenant has. */
    public TenantAccounts accounts() {
        return accounts;
    }

    /** Slots on SSD of objects whose tenant is not known, or not yet. */
    public long ssdBytesOfUnknown() {
        return ssdAccounts.unknownBytes();
    }

    public long dramCapacityBytes() {
        return dram.capacity();
    }

    public long quarantinedBytes() {
        return dram.quarantinedBytes();
    }

    /** True while some engine may be copying: it holds a lease, or slots to write into. */
    public boolean isInUse() {
        return leases.count() > 0 || dram.slotsBeingWritten() > 0;
    }

    public int leases() {
        return leases.count();
    }

    public long leasedBytes() {
        return leases.heldBytes();
    }

    DramTier dram() {
        return dram;
    }

    SsdShelf ssdShelf() {
        return ssd;
    }

    /** Objects that are in some tier of this node. */
    public int tableObjects() {
        return table.size();
    }

    /** Null when there is no SSD tier. */
    public SsdTier ssd() {
        return ssd.tier();
    }

    /** Null when there is no SSD tier. */
    public SsdMetrics ssdMetrics() {
        return ssd.tier() == null ? null : ssd.tier().metrics();
    }

    /** Finishes or aborts what is in flight within {@code boundNs}, flushes, releases the locks. */
    public void shutdown(final long boundNs) {
        if (closed) {
            return;
        }
        closed = true;
        final long endNs = System.nanoTime() + boundNs;
        final boolean stopped = ssd.tier() == null || ssd.tier().close(Math.max(1, boundNs));
        verifier.close();
        Runnable completion;
        while ((completion = completions.poll()) != null) {
            completion.run();
        }
        remembered.close(Math.max(FLUSH_NS, endNs - System.nanoTime()));
        if (stopped) {
            dram.close();
            table.close();
        } else {
            // The device may still write into a slot: the mapping stays until the process ends, and the slot is
            // reserved by the node, so the next start frees it.
            LOG.warn("the SSD did not finish in time; the arena stays mapped until this process ends");
        }
    }

    @Override
    public void close() {
        shutdown(CLOSE_NS);
    }
}
