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
import io.kvasir.storage.object.SizeClass;
import io.kvasir.storage.object.TierKind;
import io.kvasir.storage.policy.EvictionPolicy;
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
import io.kvasir.storage.tier.ssd.WriteOutcome;
import io.kvasir.storage.tier.ssd.WriteRequest;
import java.util.Arrays;
import java.util.function.Consumer;
import org.agrona.collections.Long2LongHashMap;
import org.agrona.concurrent.NanoClock;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The traffic between DRAM and SSD: promotes what a lookup wants, demotes what is getting cold so that it can leave DRAM
 * at once, and mirrors which objects are durable, so that a lookup is answered from memory. Owned by
 * {@link StoreAgent}; the tier's threads come back through its completions.
 */
final class SsdShelf implements Tier, SsdListener {
    private static final Logger LOG = LoggerFactory.getLogger(SsdShelf.class);
    /** What a promotion waits for its turn at most; a lookup that knows less time than that waits less. */
    private static final long PROMOTION_NS = 10_000_000_000L;

    private static final int SCANNED_AT_ONCE = 256;
    private static final long RESCAN_NS = 10_000_000;
    private static final long PAUSE_NS = 1_000_000_000;
    private static final long STALLED_NS = 200_000_000;
    private static final long WARMING_NS = 5_000_000_000L;
    /** What becomes durable and yet gives nobody a slot is no progress: it may be evicted from SSD as fast. */
    private static final long NOTHING_FREED_NS = 1_000_000_000L;

    private static final long ASKED_ANEW_NS = 500_000_000;
    private static final long HURRIED_BYTES = 64L << 20;
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
    private final EvictionPolicy.Scan cold;
    private boolean scanning;
    private long coldBytes;
    private int coldObjects;
    private long notBeforeNs;
    private long progressNs;
    private long askedNs;
    private long askedFirstNs;
    /** What had left DRAM for the SSD's sake when that was last seen to move on, and when that was. */
    private long freed;

    private long freedNs;

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
        cold = dram.scan();
        space = new FetchSpace(dram, counters);
        this.counters = counters;
        this.listener = listener;
        this.clock = clock;
        progressNs = clock.nanoTime();
        askedNs = progressNs - ASKED_ANEW_NS;
        askedFirstNs = progressNs;
        freedNs = progressNs;
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
    private boolean put(final ObjectId id, final long length) {
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
    private boolean drop(final ObjectId id) {
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
    public void recovered(
            final int number, final ObjectId id, final long length, final Hash256 parent, final int chunkIndex) {
        put(table.adopt(number), id, length);
        listener.found(TierKind.SSD, id, length, parent, chunkIndex);
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
            listener.leaving(TierKind.SSD, null, id, 0);
        }
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

    // ---- DRAM to SSD

    /**
     * Somebody needs the slot of an object that is nowhere else: demotion hurries. True when waiting for it is in vain:
     * there is no usable tier, nothing became durable for a while since it was first asked, or what did freed no slot.
     */
    boolean isStalled(final long nowNs) {
        if (tier == null || failure != null) {
            return true;
        }
        final long freedNow = counters.evictedClean.sum();
        if (nowNs - askedNs > ASKED_ANEW_NS || freedNow != freed) {
            freed = freedNow;
            freedNs = nowNs;
        }
        if (nowNs - askedNs > ASKED_ANEW_NS || progressNs - askedFirstNs > 0) {
            askedFirstNs = nowNs;
            if (inFlight(MoveKind.DEMOTE) == 0) {
                notBeforeNs = nowNs;
            }
        }
        askedNs = nowNs;
        return nowNs - askedFirstNs > (warm ? STALLED_NS : WARMING_NS) || (warm && nowNs - freedNs > NOTHING_FREED_NS);
    }

    /** True while what is about to leave DRAM gets here first. */
    boolean keepsUp(final long nowNs) {
        final boolean waitedFor = nowNs - askedNs < ASKED_ANEW_NS
                && nowNs - Math.max(askedFirstNs, progressNs) > (warm ? STALLED_NS : WARMING_NS);
        return tier != null && failure == null && !waitedFor;
    }

    /** Promotions and demotions that are not over. */
    int inFlight() {
        return inFlight(MoveKind.PROMOTE) + inFlight(MoveKind.DEMOTE);
    }

    private int inFlight(final MoveKind kind) {
        return mover.waiting(kind) + mover.moving(kind);
    }

    /** Bytes that it can take without evicting for them. */
    long freeBytes() {
        return warm && failure == null ? Math.max(0, tier.capacityBytes() - tier.usedBytes()) : 0;
    }

    /** The one used last first. */
    void eachByHeat(final Consumer<ObjectId> each) {
        if (warm && failure == null) {
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

    /** Demotes cold objects while the mover takes them; called every duty cycle. */
    int demote(final long nowNs) {
        if (usesCount > 0 && nowNs - usesToldNs > USES_NS && tier.wantsTouches()) {
            usesToldNs = nowNs;
            tellUses();
        }
        if (!warm || failure != null || nowNs - notBeforeNs < 0) {
            return 0;
        }
        // The colder half of DRAM, all of it while a fetch waits for a slot of some size; but no more than half of the
        // SSD: else each rescan would write anew what the tier evicted for the last one.
        final boolean hurried = nowNs - askedNs < STALLED_NS;
        final MovePriority priority = hurried ? MovePriority.STORE : MovePriority.BACKGROUND_STORE;
        final long wanted = space.isWanted(nowNs)
                ? dram.usedBytes()
                : Math.max(dram.usedBytes() - dram.capacity() / 2, hurried ? HURRIED_BYTES : 0);
        final long margin = Math.min(wanted, tier.capacityBytes() / 2);
        if (!scanning) {
            cold.restart();
            scanning = true;
            coldBytes = 0;
            coldObjects = 0;
        }
        int submitted = 0;
        for (int scanned = 0; scanned < SCANNED_AT_ONCE; scanned++) {
            if (!mover.takes(MoveKind.DEMOTE, priority, 0)) {
                break;
            }
            final int entry = coldBytes > margin || coldObjects > tier.maxObjects() / 2 ? DramTier.NONE : cold.next();
            if (entry == DramTier.NONE) {
                scanning = false;
                notBeforeNs = nowNs + RESCAN_NS;
                return submitted;
            }
            // A copy may leave DRAM as it is: another node has it too.
            if (dram.isReadable(entry)
                    && dram.isSummed(entry)
                    && !dram.isCopied(entry)
                    && !has(dram.object(entry))
                    && dram.account(entry).mayWrite(dram.slotBytes(entry))) {
                dram.hold(entry);
                // Counted as there, so that the scan passes it by while it is on its way; taken back when it fails.
                put(dram.id(entry), dram.length(entry));
                mover.submit(new Demotion(entry, priority));
                submitted++;
            }
            coldBytes += dram.slotBytes(entry);
            coldObjects++;
        }
        return submitted;
    }

    private final class Demotion extends Move {
        private final int entry;
        private final ObjectId id;
        /** Of the id, held. */
        private final int number;

        Demotion(final int entry, final MovePriority priority) {
            super(MoveKind.DEMOTE, priority, dram.length(entry));
            this.entry = entry;
            id = dram.id(entry);
            number = dram.object(entry);
            table.ids().hold(number);
        }

        @Override
        protected void start() {
            tier.write(new WriteRequest(
                    number,
                    id,
                    dram.payload(entry, SizeClass.pageBytes(bytes())).forSystemCalls(),
                    new StoredObject(
                            bytes(),
                            dram.crc32c(entry),
                            dram.codec(entry),
                            dram.parent(entry),
                            dram.chunkIndex(entry),
                            dram.priority(entry),
                            dram.expiry(entry)),
                    this::answered));
        }

        private void answered(final WriteOutcome outcome) {
            mover.ended(this);
            final boolean ruined = outcome.status() == WriteOutcome.Status.FAILED && dram.inspect(entry);
            dram.unhold(entry);
            table.ids().release(number);
            written(id, bytes(), outcome, ruined);
        }

        @Override
        protected void dropped() {
            dram.unhold(entry);
            table.ids().release(number);
            drop(id);
        }
    }

    private void written(final ObjectId id, final long length, final WriteOutcome outcome, final boolean ruined) {
        if (outcome.status() == WriteOutcome.Status.DURABLE) {
            progressNs = clock.nanoTime();
            counters.demoted.increment();
            counters.demotedBytes.add(length);
        } else if (!outcome.isStored()) {
            if (drop(id) && dram.find(id.namespace(), id.key(), id.shard()) == DramTier.NONE) {
                // It left DRAM meanwhile, as one that is here.
                listener.leaving(TierKind.SSD, null, id, 0);
            }
            if (ruined) {
                // Not the disk failed: the objects of other regions go on.
                return;
            }
            notBeforeNs = clock.nanoTime() + PAUSE_NS;
            if (outcome.status() == WriteOutcome.Status.FAILED) {
                counters.faults.increment();
                LOG.warn("writing to SSD failed: {}", outcome.reason());
            }
        }
    }
}
