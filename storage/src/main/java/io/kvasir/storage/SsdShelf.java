package io.kvasir.storage;

import io.kvasir.storage.index.ObjectTable;
import io.kvasir.storage.metrics.StorageCounters;
import io.kvasir.storage.move.Channel;
import io.kvasir.storage.move.Move;
import io.kvasir.storage.move.MoveKind;
import io.kvasir.storage.move.MovePriority;
import io.kvasir.storage.move.Mover;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.Shard;
import io.kvasir.storage.object.TierKind;
import io.kvasir.storage.tenant.Tenant;
import io.kvasir.storage.tier.ObjectRef;
import io.kvasir.storage.tier.Tier;
import io.kvasir.storage.tier.TierListener;
import io.kvasir.storage.tier.dram.DramTier;
import io.kvasir.storage.tier.dram.Payload;
import io.kvasir.storage.tier.dram.TenantArena;
import io.kvasir.storage.tier.ssd.ReadOutcome;
import io.kvasir.storage.tier.ssd.ReadRequest;
import io.kvasir.storage.tier.ssd.SsdAccounts;
import io.kvasir.storage.tier.ssd.SsdListener;
import io.kvasir.storage.tier.ssd.SsdTier;
import io.kvasir.storage.tier.ssd.StoredObject;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;
import org.agrona.collections.Long2LongHashMap;
import org.agrona.concurrent.NanoClock;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The SSD as lookups see it: mirrors which objects are durable, so that a lookup is answered from memory, and promotes what
 * one wants; {@link Demotions} is the way from DRAM. Owned by {@link StoreAgent}; the tier's threads come back through its
 * completions.
 */
final class SsdShelf implements Tier, SsdListener {
    private static final Logger LOG = LoggerFactory.getLogger(SsdShelf.class);
    /** What a promotion waits for its turn at most; a lookup that knows less time than that waits less. */
    private static final long PROMOTION_NS = 10_000_000_000L;

    private static final int USES_AT_ONCE = 256;
    private static final int LISTED_AT_ONCE = 4096;
    private static final long USES_NS = 10_000_000;
    /** How long an object that could not be read is a miss. */
    private static final long UNREADABLE_NS = 1_000_000_000;

    private static final int MOST_UNREADABLE = 4096;
    private static final double WEIGHT = 0.1;

    private final ObjectTable table;
    private final DramTier dram;
    private final Mover mover;
    private final StorageCounters counters;
    private final TierListener listener;
    private final SsdAccounts accounts;
    private final NanoClock clock;
    private int objects;
    /** Objects that could not be read, and when they are tried again; they are still there. */
    private final Long2LongHashMap unreadable = new Long2LongHashMap(0);

    private int[] uses = new int[USES_AT_ONCE];
    private int usesCount;
    private long usesToldNs;
    private SsdTier tier;
    private boolean warm;
    private String failure;
    /** Where what is fetched gets its slots. */
    private final FetchSpace space;

    private double readBytesPerNs = 0.5;
    private final Demotions demotions;

    SsdShelf(
            final ObjectTable table,
            final DramTier dram,
            final Mover mover,
            final StorageCounters counters,
            final TierListener listener,
            final SsdAccounts accounts,
            final NanoClock clock) {
        this.table = table;
        this.dram = dram;
        this.mover = mover;
        this.accounts = accounts;
        this.clock = clock;
        space = new FetchSpace(dram, counters);
        demotions = new Demotions(this, table, dram, mover, counters, clock);
        this.counters = counters;
        this.listener = listener;
    }

    void open(final SsdTier opened) {
        tier = opened;
    }

    SsdTier tier() {
        return tier;
    }

    // ---- what is here, as the table has it

    /** The entry of this object in the table, or {@link ObjectTable#NONE}. */
    int find(final ObjectId id) {
        return table.find(id);
    }

    /** Whether the object of this entry of the table is here, or on its way here. */
    boolean has(final int object) {
        return object != ObjectTable.NONE && table.isIn(object, TierKind.SSD);
    }

    boolean has(final ObjectId id) {
        return has(find(id));
    }

    boolean has(final long tableHash, final Hash256 namespace, final Hash256 key, final Shard shard) {
        return has(table.find(tableHash, namespace, key, shard));
    }

    int objects() {
        return objects;
    }

    boolean isWarm() {
        return warm;
    }

    String failure() {
        return failure;
    }

    /** False: the table has no entry for it. */
    boolean put(final ObjectId id, final long length) {
        final int object = table.put(id);
        if (object == ObjectTable.FULL) {
            return false;
        }
        put(object, id, length);
        return true;
    }

    private void put(final int object, final ObjectId id, final long length) {
        final long before = length(object);
        if (before != length) {
            if (before != 0) {
                accounts.remove(id.namespace(), before);
            } else {
                objects++;
            }
            accounts.add(id.namespace(), length);
        }
        table.in(object, TierKind.SSD, true);
        table.length(object, (int) length);
    }

    /** False: it was not here. */
    boolean drop(final ObjectId id) {
        final int object = find(id);
        if (!has(object)) {
            return false;
        }
        objects--;
        accounts.remove(id.namespace(), table.length(object));
        table.leave(object, TierKind.SSD);
        return true;
    }

    /** An object without an entry in the table would never be found: it gives up its place. */
    private void giveUp(final ObjectId id) {
        counters.faults.increment();
        tier.remove(id, outcome -> LOG.warn("no space in the object table for {}: {}", id, outcome.status()));
    }

    @Override
    public void recovered(final List<Found> some) {
        final long[] hashes = new long[some.size()];
        for (int i = 0; i < hashes.length; i++) {
            final ObjectId id = some.get(i).id();
            hashes[i] = table.hash(id.namespace(), id.key(), id.shard());
        }
        table.expect(hashes, hashes.length);
        for (int i = 0; i < hashes.length; i++) {
            final Found found = some.get(i);
            put(table.adopt(found.number(), hashes[i], found.id()), found.id(), found.length());
            listener.found(TierKind.SSD, found.id(), found.length(), found.parent(), found.chunkIndex());
        }
    }

    @Override
    public void warm() {
        warm = true;
        listener.warm(TierKind.SSD, objects == 0);
    }

    @Override
    public void failed(final String reason) {
        failure = reason;
        table.leaveAll(TierKind.SSD);
        objects = 0;
        accounts.clear();
        listener.lost(TierKind.SSD);
        LOG.error("the SSD tier is out of use: {}", reason);
    }

    @Override
    public void stored(final ObjectId id, final long length) {
        if (!put(id, length)) {
            giveUp(id);
            return;
        }
        listener.present(TierKind.SSD, null, id, length, Hash256.ZERO, -1);
    }

    /** The tier begins to remove it: DRAM must not count on it from now on. */
    @Override
    public void removed(final ObjectId id) {
        unreadable.remove(id.hash64());
        leave(id);
    }

    private void leave(final ObjectId id) {
        if (drop(id)) {
            left(id);
        }
    }

    /** Everybody hears that it is not here any more. */
    void left(final ObjectId id) {
        listener.leaving(TierKind.SSD, null, id, 0);
    }

    /** Lookups miss it from now on; the tier removes it in its own time. */
    void remove(final ObjectId id) {
        leave(id);
        tier.remove(id, outcome -> LOG.debug("{}: {}", id, outcome.status()));
    }

    /** An object was used in DRAM: what it is on SSD stays warm too. Takes no lock. */
    void used(final int object) {
        if (tier != null && has(object)) {
            table.ids().hold(object);
            uses[usesCount++] = object;
            if (usesCount == uses.length) {
                tellUses();
            }
        }
    }

    private void tellUses() {
        tier.touch(usesCount == uses.length ? uses : Arrays.copyOf(uses, usesCount));
        uses = usesCount == uses.length ? new int[USES_AT_ONCE] : uses;
        usesCount = 0;
    }

    // ---- SSD to DRAM

    @Override
    public TierKind kind() {
        return TierKind.SSD;
    }

    @Override
    public Answer answer(final ObjectRef object, final long nowNs) {
        return has(object.object()) ? Answer.PRESENT : Answer.ABSENT;
    }

    @Override
    public long bytes(final ObjectRef object) {
        return length(object.object());
    }

    @Override
    public long busyNs() {
        return (long) (mover.loadBytes(Channel.SSD) / readBytesPerNs);
    }

    @Override
    public long latencyNs(final ObjectRef object) {
        return 0;
    }

    @Override
    public long transferNs(final ObjectRef object) {
        return (long) (length(object.object()) / readBytesPerNs);
    }

    @Override
    public int fetch(final Tenant tenant, final ObjectRef object, final long worthNs, final long nowNs) {
        return promote(
                (TenantArena) tenant,
                object.object(),
                object.id(),
                MovePriority.LOAD,
                nowNs + Math.min(worthNs, PROMOTION_NS),
                nowNs);
    }

    /**
     * Brings an object into DRAM when its turn comes.
     *
     * @param untilNs a read that has not begun by then is not worth it any more
     * @return the entry that is being written; {@link #LATER} when there is no space for it just now, or enough is on its
     *     way; else {@link #NOT_HERE}
     */
    int promote(
            final TenantArena tenant,
            final int object,
            final ObjectId id,
            final MovePriority priority,
            final long untilNs,
            final long nowNs) {
        final long length = length(object);
        if (length == 0 || isUnreadable(id, nowNs)) {
            return NOT_HERE;
        }
        final int there = dram.find(id.namespace(), id.key(), id.shard());
        if (there != DramTier.NONE) {
            // A call may name a key twice.
            return there;
        }
        if (!mover.takes(MoveKind.PROMOTE, priority, length)) {
            return LATER;
        }
        final int entry = space.reserve(tenant, id, length, priority, nowNs);
        if (entry < 0) {
            return entry;
        }
        final boolean taken = mover.submit(new Promotion(entry, id, length, priority), untilNs);
        assert taken : "nothing has happened since the mover was asked";
        return entry;
    }

    /** Whether a fetch waits for a slot that a store of this tenant would take. */
    boolean precedes(final TenantArena tenant, final long length, final long nowNs) {
        return space.precedes(tenant, length, nowNs);
    }

    private final class Promotion extends Move {
        private final int entry;
        private final int serial;
        private final ObjectId id;
        private long startedNs;

        Promotion(final int entry, final ObjectId id, final long length, final MovePriority priority) {
            super(MoveKind.PROMOTE, priority, length);
            this.entry = entry;
            this.id = id;
            serial = dram.serial(entry);
        }

        @Override
        protected void start() {
            startedNs = clock.nanoTime();
            final Payload payload = dram.payload(entry, dram.slotBytes(entry));
            tier.read(new ReadRequest(id, payload.forSystemCalls(), payload::crc32c, this::read));
        }

        private void read(final ReadOutcome outcome) {
            assert dram.is(entry, serial) : "a promotion's slot was taken away";
            if (outcome instanceof ReadOutcome.Loaded) {
                final long took = Math.max(1, clock.nanoTime() - startedNs);
                final double speed = (double) mover.movingBytes(MoveKind.PROMOTE) / took;
                readBytesPerNs += WEIGHT * (speed - readBytesPerNs);
            }
            // Those behind it start while it is made readable.
            mover.ended(this);
            arrived(entry, id, bytes(), startedNs, outcome);
        }

        @Override
        protected void dropped() {
            dram.abort(null, entry);
        }
    }

    private void arrived(
            final int entry, final ObjectId id, final long length, final long startedNs, final ReadOutcome outcome) {
        if (dram.isRuined(entry) || (outcome instanceof ReadOutcome.Failed && dram.inspect(entry))) {
            // Not the disk failed: the object is still there, and a later lookup brings it to another region.
            dram.abort(null, entry);
            return;
        }
        switch (outcome) {
            case ReadOutcome.Loaded(StoredObject object)
            when object.length() == length -> {
                dram.setCrc32c(entry, object.crc32c());
                dram.came(entry, TierKind.SSD);
                dram.commit(
                        null, entry, object.parent(), object.chunkIndex(), object.priority(), object.expiryUnixMs());
                counters.promoted.increment();
                counters.promotedBytes.add(length);
                return;
            }
            case ReadOutcome.Corrupt() -> counters.corrupt.increment();
            case ReadOutcome.Failed(String reason, boolean ofMedium) -> {
                LOG.warn("reading {} from SSD failed: {}", id, reason);
                counters.faults.increment();
            }
            default -> LOG.debug("{} is not on SSD any more", id);
        }
        if (!(outcome instanceof ReadOutcome.Rejected) && has(id)) {
            // The tier tells what it drops. What it keeps could not be read this time: for a while lookups miss it,
            // instead of trying again and again.
            if (unreadable.size() >= MOST_UNREADABLE) {
                unreadable.clear();
            }
            unreadable.put(id.hash64(), startedNs + UNREADABLE_NS);
        }
        dram.abort(null, entry);
    }

    private boolean isUnreadable(final ObjectId id, final long nowNs) {
        if (unreadable.isEmpty()) {
            return false;
        }
        final long hash = id.hash64();
        if (!unreadable.containsKey(hash)) {
            return false;
        }
        if (nowNs - unreadable.get(hash) < 0) {
            return true;
        }
        unreadable.remove(hash);
        return false;
    }

    // ---- what there is

    /** What leaves DRAM for the SSD. */
    Demotions demotions() {
        return demotions;
    }

    /** All that is on disk was found, and nothing is wrong. */
    boolean isUsable() {
        return warm && failure == null;
    }

    /** Promotions and demotions that are not over. */
    int inFlight() {
        return mover.waiting(MoveKind.PROMOTE) + mover.moving(MoveKind.PROMOTE) + demotions.inFlight();
    }

    /** Bytes that it can take without evicting for them. */
    long freeBytes() {
        return isUsable() ? Math.max(0, tier.capacityBytes() - tier.usedBytes()) : 0;
    }

    /** The one used last first. */
    void eachByHeat(final Consumer<ObjectId> each) {
        if (isUsable()) {
            tier.hottestFirst().forEach(each);
        }
    }

    /**
     * Says what is here and not in DRAM, in no order, of the next entries of the table.
     *
     * @param from 0, or what the call before returned
     * @return where to go on; {@link ObjectTable#NONE}: that was all
     */
    int nextWithoutDram(final int from, final Consumer<ObjectId> each) {
        final int end = Math.min(table.capacity(), from + LISTED_AT_ONCE);
        for (int object = from; object < end; object++) {
            if (table.isLive(object) && has(object) && !table.isIn(object, TierKind.DRAM)) {
                each.accept(table.id(object));
            }
        }
        return end == table.capacity() ? ObjectTable.NONE : end;
    }

    /** Bytes of the object of this entry of the table when it is here; 0 when it is not. */
    long length(final int object) {
        return has(object) ? table.length(object) : 0;
    }

    /** Moves what waits; called every duty cycle. */
    int doWork(final long nowNs) {
        if (usesCount > 0 && nowNs - usesToldNs > USES_NS && tier.wantsTouches()) {
            usesToldNs = nowNs;
            tellUses();
        }
        return isUsable() && demotions.isDue(nowNs) ? demotions.demote(space.isWanted(nowNs), nowNs) : 0;
    }
}
