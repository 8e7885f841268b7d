package io.kvasir.storage;

import io.kvasir.storage.catalogue.Catalogue;
import io.kvasir.storage.dram.Attachments;
import io.kvasir.storage.dram.DramContext;
import io.kvasir.storage.dram.DramTier;
import io.kvasir.storage.dram.TenantArena;
import io.kvasir.storage.ssd.SsdMetrics;
import io.kvasir.storage.ssd.SsdTier;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ThreadLocalRandom;
import java.util.function.Consumer;
import org.agrona.collections.Int2IntHashMap;
import org.agrona.collections.IntArrayList;
import org.agrona.collections.IntArrayQueue;
import org.agrona.collections.IntHashSet;
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
    private static final int BATCHES_UNDER_WAY = 2;
    private static final int BATCH_OBJECTS = 64;
    private static final long BATCH_BYTES = 8 << 20;

    /** One process of an engine, and the lock that shows that it lives. */
    public interface Attachment {
        long id();

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
     */
    public record LookupResult(
            long lease,
            long leaseNs,
            int hitChunks,
            int pendingChunks,
            byte[] slots,
            int[] regions,
            List<PlanRange> plan) {}

    /**
     * @param slots packed records, one for each key
     * @param noRoom how many records say {@link SlotStatus#NO_ROOM}
     */
    public record ReserveResult(byte[] slots, int[] regions, int noRoom) {}

    private final StoreContext context;
    private final StorageCounters counters = new StorageCounters();
    private final Queue<Runnable> completions = new ConcurrentLinkedQueue<>();
    private final Waiters waiters = new Waiters();
    private final Checksums checksums;
    private final DramTier dram;
    private final SsdShelf ssd;
    private final LookupPlanner planner;
    private final Leases leases;
    private final Pins pins;
    private final Remembered remembered;
    /** Entries without a checksum, and entries that an earlier node left. */
    private final IntArrayQueue toCheck = new IntArrayQueue(DramTier.NONE);
    /** Entry to serial: what somebody waits for. */
    private final Int2IntHashMap verifying = new Int2IntHashMap(-1);

    private final Map<Hash256, String> tenants = new HashMap<>();

    private int batchesUnderWay;

    private Consumer<ObjectEvent> events = event -> {};
    private Consumer<Integer> regionRetired = region -> {};
    private Consumer<Attachment> processEnded = attachment -> {};
    private long nextProbeNs;
    private long nextRoomNs;
    private boolean closed;

    /** Opens the arena and indexes what an earlier node left there; the SSD tier warms up in the background. */
    public ObjectStore(final StoreContext context) {
        this.context = context.conclude();
        final DramEvents listener = new DramEvents();
        dram = new DramTier(new DramContext(
                context.dramDirectory(),
                context.dramCapacity(),
                context.regionBytes(),
                context.reserveQuotaBytes(),
                context.policy(),
                this::isDurable,
                this::mayDropUndemoted,
                listener,
                this::complete,
                context.clock(),
                counters));
        checksums = new Checksums(this::complete);
        ssd = new SsdShelf(dram, counters, this::emit, this::leftSsd);
        leases = new Leases(
                dram, context.leaseQuotaBytes(), ThreadLocalRandom.current().nextLong());
        planner = new LookupPlanner(dram, ssd, counters, this::verifyNow);
        remembered = new Remembered(context.catalogueDirectory(), this::complete, counters, this::catalogueOpened);
        pins = new Pins(dram, remembered, context.leaseQuotaBytes());
        dram.unverified().forEach(toCheck::addInt);
        try {
            if (context.ssd() != null) {
                ssd.open(SsdTier.open(
                        context.ssd().completions(this::complete).listener(ssd).clock(context.javaClock())));
            }
        } catch (final RuntimeException failure) {
            remembered.close();
            checksums.close();
            dram.close();
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

    /** The process says that all its copies under this earlier attachment id have stopped. Unknown ids are ignored. */
    public void quiesced(final Tenant tenant, final long attachmentId) {
        dram.quiesced((TenantArena) tenant, attachmentId);
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
        ((Leases.Holder) holder).attachments.add(attachment.id());
    }

    /** Ends all leases; slots whose readers may still copy are not reused while an attachment's lock is held. */
    public void closeHolder(final LeaseHolder holder) {
        leases.close((Leases.Holder) holder);
    }

    /** Answered from memory; starts fetches of what is pending unless it peeks. */
    public LookupResult lookup(final LeaseHolder holder, final LookupQuery query) {
        final Leases.Holder owner = (Leases.Holder) holder;
        final long nowNs = context.nanoClock().nanoTime();
        final LookupPlanner.Found found = planner.look(owner.shards, query.namespace, query.keys, query.sparse);
        if (query.peek) {
            return answer(query, found, found.hits, null, planner.plan(found, found.hits, query.sparse, false));
        }
        if (found.pending > 0) {
            // A promotion may evict; nothing that this lookup found may go for it.
            planner.hold(found);
            planner.fetch(
                    found,
                    (TenantArena) owner.tenant,
                    owner.shards,
                    query.namespace,
                    query.keys,
                    query.sparse,
                    query.recomputeNsPerChunk,
                    nowNs);
            planner.unhold(found);
        }
        final int chunks = query.sparse ? found.chunks : found.hits;
        dropUnreadable(found, chunks);
        final int fitting = leases.fitting(owner, found.entries, chunks, found.shards);
        if (fitting < chunks) {
            counters.quotaRefused.increment();
        }
        final int hits = query.sparse ? found.hits : fitting;
        final List<PlanRange> plan = planner.plan(found, hits, query.sparse, true);
        Leases.Lease lease = null;
        final int[] leased = java.util.Arrays.copyOf(found.entries, fitting * found.shards);
        if (hits > 0 && fitting > 0) {
            for (int i = leased.length - 1; i >= 0; i--) {
                if (leased[i] != DramTier.NONE) {
                    dram.touch(leased[i]);
                }
            }
            lease = leases.grant(owner, leased, found.shards, nowNs + context.leaseNs(query.leaseNs));
        }
        if (query.sparse) {
            java.util.Arrays.fill(found.status, fitting * found.shards, found.status.length, SlotStatus.MISS);
        }
        return answer(query, found, hits, lease, plan);
    }

    /** Only what is readable now can be leased. */
    private void dropUnreadable(final LookupPlanner.Found found, final int chunks) {
        for (int i = 0; i < chunks * found.shards; i++) {
            if (found.status[i] != SlotStatus.HIT) {
                found.entries[i] = DramTier.NONE;
            }
        }
    }

    private LookupResult answer(
            final LookupQuery query,
            final LookupPlanner.Found found,
            final int hits,
            final Leases.Lease lease,
            final List<PlanRange> plan) {
        final int chunks = query.sparse ? found.chunks : hits;
        final Records records =
                new Records(chunks * (query.shardIndices.length == 0 ? found.shards : query.shardIndices.length));
        for (int chunk = 0; chunk < chunks; chunk++) {
            if (query.shardIndices.length == 0) {
                for (int s = 0; s < found.shards; s++) {
                    records.add(found.status[chunk * found.shards + s], found.entries[chunk * found.shards + s]);
                }
            } else {
                for (final int s : query.shardIndices) {
                    records.add(found.status[chunk * found.shards + s], found.entries[chunk * found.shards + s]);
                }
            }
        }
        return new LookupResult(
                lease == null ? 0 : lease.id,
                lease == null ? 0 : lease.expiresNs - context.nanoClock().nanoTime(),
                hits,
                found.pending,
                records.bytes(),
                records.regions(),
                plan);
    }

    /** Packs slot records and gathers the regions that they name. */
    private final class Records {
        private final ByteBuffer buffer;
        private final IntHashSet seen = new IntHashSet(-1);
        private final IntArrayList regions = new IntArrayList();
        private int last = -1;

        Records(final int count) {
            buffer = ByteBuffer.allocate(count * SlotRecord.BYTES).order(ByteOrder.LITTLE_ENDIAN);
        }

        void add(final byte status, final int entry) {
            final boolean named = entry != DramTier.NONE && (status == SlotStatus.HIT || status == SlotStatus.GRANTED);
            if (!named) {
                final boolean onSsd = status == LookupPlanner.ON_SSD;
                final byte code = onSsd ? SlotStatus.PENDING : status;
                final TierKind tier = onSsd ? TierKind.SSD : TierKind.DRAM;
                buffer.put(code)
                        .put(code == SlotStatus.PENDING ? tier.code() : 0)
                        .putShort((short) 0)
                        .putInt(0)
                        .putLong(0)
                        .putLong(0)
                        .putLong(0);
                return;
            }
            final int region = dram.region(entry);
            if (region != last && seen.add(region)) {
                regions.add(region);
            }
            last = region;
            buffer.put(status)
                    .put(TierKind.DRAM.code())
                    .putShort((short) 0)
                    .putInt(region)
                    .putInt(dram.slot(entry))
                    .putInt(0)
                    .putLong(dram.stamp(entry))
                    .putLong(dram.length(entry));
        }

        void keep(final byte[] records, final int i) {
            final ByteBuffer kept = ByteBuffer.wrap(records).order(ByteOrder.LITTLE_ENDIAN);
            final int region = kept.getInt(i * SlotRecord.BYTES + SlotRecord.REGION);
            if (kept.get(i * SlotRecord.BYTES) == SlotStatus.GRANTED && seen.add(region)) {
                regions.add(region);
            }
            buffer.put(records, i * SlotRecord.BYTES, SlotRecord.BYTES);
        }

        byte[] bytes() {
            return buffer.array();
        }

        int[] regions() {
            return regions.toIntArray();
        }
    }

    /**
     * Runs {@code wake} once, from {@link #doWork()}, when none of the query's objects that are pending now is pending
     * any more. Returns a handle for {@link #cancelWait}; 0 when nothing is pending ({@code wake} is not run).
     */
    public long whenSettled(final LeaseHolder holder, final LookupQuery query, final Runnable wake) {
        final LookupPlanner.Found found =
                planner.look(((Leases.Holder) holder).shards, query.namespace, query.keys, query.sparse);
        final int end = query.sparse ? found.chunks : found.hits + found.pending;
        final int[] entries = new int[end * found.shards];
        int count = 0;
        boolean wantsRoom = false;
        for (int i = 0; i < entries.length; i++) {
            if (found.status[i] == SlotStatus.PENDING && found.entries[i] != DramTier.NONE) {
                entries[count++] = found.entries[i];
            }
            wantsRoom |= found.status[i] == LookupPlanner.ON_SSD;
        }
        if (count > 0) {
            return waiters.await(entries, count, wake);
        }
        return wantsRoom ? waiters.awaitRoom(wake) : 0;
    }

    public void cancelWait(final long handle) {
        waiters.cancel(handle);
    }

    /** Records of a lease, chunk-major; null when the lease ended or is not this holder's. */
    public LookupResult resolve(final LeaseHolder holder, final long lease, final int[] shardIndices) {
        final long nowNs = context.nanoClock().nanoTime();
        final Leases.Lease found = leases.valid((Leases.Holder) holder, lease, nowNs);
        if (found == null) {
            return null;
        }
        final int chunks = found.entries.length / found.shards;
        final int asked = shardIndices.length == 0 ? found.shards : shardIndices.length;
        final Records records = new Records(chunks * asked);
        for (int chunk = 0; chunk < chunks; chunk++) {
            for (int a = 0; a < asked; a++) {
                final int entry =
                        found.entries[chunk * found.shards + (shardIndices.length == 0 ? a : shardIndices[a])];
                records.add(entry == DramTier.NONE ? SlotStatus.NOT_NEEDED : SlotStatus.HIT, entry);
            }
        }
        return new LookupResult(
                lease, found.expiresNs - nowNs, chunks, 0, records.bytes(), records.regions(), List.of());
    }

    public boolean renew(final LeaseHolder holder, final long lease, final long leaseNs) {
        final long nowNs = context.nanoClock().nanoTime();
        final Leases.Lease found = leases.valid((Leases.Holder) holder, lease, nowNs);
        if (found == null) {
            return false;
        }
        found.expiresNs = nowNs + context.leaseNs(leaseNs);
        return true;
    }

    /** Gives back the named shards (empty: all). False when the lease is not there or not this holder's. */
    public boolean release(final LeaseHolder holder, final long lease, final int[] shardIndices) {
        return leases.release((Leases.Holder) holder, lease, shardIndices);
    }

    // ---- writing

    /**
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
        return reserve(attachment, namespace, shard, keys, lengths, codec, null);
    }

    /** Tries the records again that say NO_ROOM; the others are kept. */
    public ReserveResult retryReserve(
            final Attachment attachment,
            final Hash256 namespace,
            final Shard shard,
            final byte[] keys,
            final long[] lengths,
            final int codec,
            final ReserveResult before) {
        return reserve(attachment, namespace, shard, keys, lengths, codec, before);
    }

    private ReserveResult reserve(
            final Attachment attachment,
            final Hash256 namespace,
            final Shard shard,
            final byte[] keys,
            final long[] lengths,
            final int codec,
            final ReserveResult before) {
        final Attachments.Entry writer = (Attachments.Entry) attachment;
        final int count = keys.length / Hash256.BYTES;
        final Records records = new Records(count);
        int noRoom = 0;
        for (int i = 0; i < count; i++) {
            if (before != null && before.slots[i * SlotRecord.BYTES] != SlotStatus.NO_ROOM) {
                records.keep(before.slots, i);
                continue;
            }
            final Hash256 key = Hash256.read(keys, i * Hash256.BYTES);
            final long hash = ObjectId.hash64(namespace, key, shard);
            final int there = dram.find(hash, namespace, key, shard);
            if (there != DramTier.NONE) {
                final boolean busy = dram.isWriting(there) || dram.isCondemned(there);
                records.add(busy ? SlotStatus.IN_FLIGHT : SlotStatus.EXISTS, DramTier.NONE);
                continue;
            }
            if (ssd.has(hash)) {
                records.add(SlotStatus.EXISTS, DramTier.NONE);
                continue;
            }
            // Once one found no room the others of this call would only look again.
            final int entry = noRoom > 0
                    ? DramTier.NO_ROOM
                    : dram.reserve(
                            writer.arena(), writer, namespace, key, shard, lengths[lengths.length == 1 ? 0 : i], codec);
            switch (entry) {
                case DramTier.NO_ROOM -> {
                    noRoom++;
                    records.add(SlotStatus.NO_ROOM, DramTier.NONE);
                }
                case DramTier.QUOTA -> {
                    counters.quotaRefused.increment();
                    records.add(SlotStatus.QUOTA, DramTier.NONE);
                }
                default -> records.add(SlotStatus.GRANTED, entry);
            }
        }
        counters.noRoom.add(noRoom);
        return new ReserveResult(records.bytes(), records.regions(), noRoom);
    }

    /** Runs {@code wake} once when room was made. Returns a handle for {@link #cancelWait}. */
    public long whenRoom(final Runnable wake) {
        return waiters.awaitRoom(wake);
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
        final Attachments.Entry writer = (Attachments.Entry) attachment;
        final ByteBuffer in = ByteBuffer.wrap(records).order(ByteOrder.LITTLE_ENDIAN);
        final ByteBuffer sums = ByteBuffer.wrap(crc32c).order(ByteOrder.LITTLE_ENDIAN);
        final byte[] statuses = new byte[records.length / SlotRecord.BYTES];
        final long expiry = ttlNs == 0 ? 0 : context.clock().time() + Math.max(1, ttlNs / 1_000_000);
        for (int i = 0; i < statuses.length; i++) {
            final int entry = reserved(writer, in, i);
            if (entry == DramTier.NONE) {
                statuses[i] = SlotStatus.NOT_RESERVED;
                continue;
            }
            if (crc32c.length > 0) {
                dram.setCrc32c(entry, sums.getInt(i * Integer.BYTES));
            }
            final int index = chunkIndex.length == 0
                    ? -1
                    : chunkIndex.length == statuses.length ? chunkIndex[i] : chunkIndex[0] + i;
            dram.commit(
                    writer,
                    entry,
                    parents.length == 0 ? Hash256.ZERO : Hash256.read(parents, i * Hash256.BYTES),
                    index,
                    priority,
                    expiry);
            counters.stored.increment();
            counters.storedBytes.add(dram.length(entry));
            if (crc32c.length == 0) {
                toCheck.addInt(entry);
            }
            statuses[i] = SlotStatus.COMMITTED;
        }
        return statuses;
    }

    public byte[] abort(final Attachment attachment, final byte[] records) {
        final Attachments.Entry writer = (Attachments.Entry) attachment;
        final ByteBuffer in = ByteBuffer.wrap(records).order(ByteOrder.LITTLE_ENDIAN);
        final byte[] statuses = new byte[records.length / SlotRecord.BYTES];
        for (int i = 0; i < statuses.length; i++) {
            final int entry = reserved(writer, in, i);
            statuses[i] = entry == DramTier.NONE ? SlotStatus.NOT_RESERVED : SlotStatus.ABORTED;
            if (entry != DramTier.NONE) {
                dram.abort(writer, entry);
            }
        }
        return statuses;
    }

    private int reserved(final Attachments.Entry writer, final ByteBuffer in, final int i) {
        final int at = i * SlotRecord.BYTES;
        return dram.reserved(
                writer,
                in.getInt(at + SlotRecord.REGION),
                in.getInt(at + SlotRecord.SLOT),
                in.getLong(at + SlotRecord.STAMP));
    }

    // ---- checksums

    /** Verifies an object that an earlier node left, before anything else: somebody waits for it. */
    private void verifyNow(final int entry) {
        final int serial = dram.serial(entry);
        if (verifying.get(entry) == serial) {
            return;
        }
        verifying.put(entry, serial);
        dram.hold(entry);
        checksums.sum(new MemorySegment[] {dram.payload(entry, dram.length(entry))}, true, sums -> {
            verifying.remove(entry);
            released(entry, serial, sums[0]);
        });
    }

    /**
     * Sums what was committed without a checksum, and verifies what an earlier node left, in the background: a batch at
     * a time, so that a commit pays nothing for it and the owner is woken once for many objects.
     */
    private int checkSome() {
        int started = 0;
        while (!toCheck.isEmpty() && batchesUnderWay < BATCHES_UNDER_WAY) {
            final int[] batch = new int[Math.min(toCheck.size(), BATCH_OBJECTS)];
            int count = 0;
            long bytes = 0;
            while (!toCheck.isEmpty() && count < batch.length && bytes < BATCH_BYTES) {
                final int entry = toCheck.pollInt();
                if (dram.isLive(entry)
                        && (dram.isUnverified(entry) || (dram.isReadable(entry) && !dram.isSummed(entry)))) {
                    batch[count++] = entry;
                    bytes += dram.length(entry);
                }
            }
            if (count > 0) {
                check(java.util.Arrays.copyOf(batch, count));
                started++;
            }
        }
        return started;
    }

    private void check(final int[] batch) {
        final MemorySegment[] objects = new MemorySegment[batch.length];
        final int[] serials = new int[batch.length];
        for (int i = 0; i < batch.length; i++) {
            dram.hold(batch[i]);
            serials[i] = dram.serial(batch[i]);
            objects[i] = dram.payload(batch[i], dram.length(batch[i]));
        }
        batchesUnderWay++;
        checksums.sum(objects, false, sums -> {
            batchesUnderWay--;
            for (int i = 0; i < batch.length; i++) {
                released(batch[i], serials[i], sums[i]);
            }
        });
    }

    private void released(final int entry, final int serial, final int crc) {
        dram.unhold(entry);
        // It may have been condemned by an earlier answer, and gone with this hold.
        if (dram.is(entry, serial)) {
            summed(entry, crc);
        }
    }

    private void summed(final int entry, final int crc) {
        if (dram.isCondemned(entry)) {
            return;
        }
        if (dram.isSummed(entry) && dram.crc32c(entry) != crc) {
            LOG.warn("{} does not fit its checksum; dropped", dram.id(entry));
            counters.corrupt.increment();
            dram.dropOrCondemn(entry);
            return;
        }
        if (!dram.isSummed(entry)) {
            dram.setCrc32c(entry, crc);
            counters.summed.increment();
        }
        if (dram.isUnverified(entry)) {
            counters.verified.increment();
            dram.verified(entry);
        }
    }

    // ---- removal, pins, namespaces, events

    /** Removes an object from DRAM and SSD; what is leased goes with its last lease. False when it was in neither. */
    public boolean remove(final ObjectId id) {
        final int entry = dram.find(id.namespace(), id.key(), id.shard());
        final boolean here = entry != DramTier.NONE && !dram.isWriting(entry) && !dram.isCondemned(entry);
        if (here) {
            dram.dropOrCondemn(entry);
        }
        final boolean onSsd = isDurable(id.hash64());
        if (onSsd) {
            ssd.remove(id);
        }
        return here || onSsd;
    }

    /** Pins what is in DRAM of these keys in every shard of the holder; returns how many keys that was. */
    public int pin(
            final LeaseHolder holder,
            final Hash256 namespace,
            final byte[] keys,
            final long ttlNs,
            final int priority) {
        final LookupPlanner.Found found = planner.look(((Leases.Holder) holder).shards, namespace, keys, true);
        final long nowMs = context.clock().time();
        final long untilMs = Math.max(nowMs, nowMs + ttlNs / 1_000_000);
        int pinned = 0;
        for (int chunk = 0; chunk < found.chunks; chunk++) {
            if (found.chunkStatus(chunk) == SlotStatus.HIT
                    && pins.pin(found.entries, chunk * found.shards, found.shards, untilMs, priority)) {
                pinned++;
            }
        }
        return pinned;
    }

    public int unpin(final LeaseHolder holder, final Hash256 namespace, final byte[] keys) {
        final LookupPlanner.Found found = planner.look(((Leases.Holder) holder).shards, namespace, keys, true);
        int unpinned = 0;
        for (int chunk = 0; chunk < found.chunks; chunk++) {
            boolean any = false;
            for (int i = chunk * found.shards; i < (chunk + 1) * found.shards; i++) {
                any |= found.entries[i] != DramTier.NONE && pins.unpin(found.entries[i]);
            }
            unpinned += any ? 1 : 0;
        }
        return unpinned;
    }

    /** Remembers the readable fields of a namespace in the catalogue. Does not block. */
    public void rememberNamespace(final Hash256 namespace, final String tenant, final byte[] fields) {
        tenants.put(namespace, tenant);
        remembered.namespace(namespace, tenant, fields);
    }

    public void onEvent(final Consumer<ObjectEvent> consumer) {
        events = consumer;
    }

    private void catalogueOpened(final Catalogue catalogue) {
        pins.restore(catalogue, context.clock().time());
    }

    /** Events of the SSD tier name no tenant; its objects' namespaces do. */
    private void emit(final ObjectEvent event) {
        if (event.tenant() != null) {
            events.accept(event);
            return;
        }
        final String tenant = tenants.computeIfAbsent(event.id().namespace(), remembered::tenantOf);
        if (tenant != null) {
            events.accept(new ObjectEvent(tenant, event.id(), event.tier(), event.removed()));
        }
    }

    private void leftSsd(final ObjectId id) {
        if (dram.find(id.namespace(), id.key(), id.shard()) == DramTier.NONE) {
            remembered.gone(id.hash64(), context.clock().time(), 0);
        }
    }

    private boolean mayDropUndemoted() {
        return ssd == null || ssd.isStalled(context.nanoClock().nanoTime());
    }

    private boolean isDurable(final long hash) {
        return ssd != null && ssd.has(hash);
    }

    /** What the DRAM tier says happened. */
    private final class DramEvents implements DramContext.Listener {
        @Override
        public void stored(final int entry) {
            emit(new ObjectEvent(dram.tenantName(entry), dram.id(entry), TierKind.DRAM, false));
        }

        @Override
        public void removed(final int entry) {
            pins.forget(entry);
            if (!isDurable(dram.hash(entry))) {
                remembered.gone(dram.hash(entry), context.clock().time(), dram.uses(entry));
            }
            emit(new ObjectEvent(dram.tenantName(entry), dram.id(entry), TierKind.DRAM, true));
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
        done += dram.poll() ? 1 : 0;
        done += ssd.demote(nowNs);
        done += checkSome();
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

    public long dramCapacityBytes() {
        return dram.capacity();
    }

    public long quarantinedBytes() {
        return dram.quarantinedBytes();
    }

    public int leases() {
        return leases.count();
    }

    public long leasedBytes() {
        return leases.heldBytes();
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
        final boolean stopped = ssd.tier() == null || ssd.tier().close(Math.max(1, boundNs));
        checksums.close();
        Runnable completion;
        while ((completion = completions.poll()) != null) {
            completion.run();
        }
        remembered.close();
        if (stopped) {
            dram.close();
        } else {
            // The device may still write into a slot: the mapping stays until the process ends, and the slot is
            // reserved by the node, so the next start frees it.
            LOG.warn("the SSD did not finish in time; the arena stays mapped until this process ends");
        }
    }

    @Override
    public void close() {
        shutdown(5_000_000_000L);
    }
}
