package io.kvasir.storage;

import io.kvasir.storage.index.ObjectTable;
import io.kvasir.storage.metrics.StorageCounters;
import io.kvasir.storage.move.Move;
import io.kvasir.storage.move.MoveKind;
import io.kvasir.storage.move.MovePriority;
import io.kvasir.storage.move.Mover;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.SizeClass;
import io.kvasir.storage.policy.EvictionPolicy;
import io.kvasir.storage.tier.dram.DramTier;
import io.kvasir.storage.tier.ssd.StoredObject;
import io.kvasir.storage.tier.ssd.WriteOutcome;
import io.kvasir.storage.tier.ssd.WriteRequest;
import org.agrona.concurrent.NanoClock;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Writes to SSD what is getting cold in DRAM, so that it can leave there at once, and says whether that keeps up with who needs
 * slots. Owned by {@link SsdShelf}.
 */
final class Demotions {
    private static final Logger LOG = LoggerFactory.getLogger(Demotions.class);
    private static final int SCANNED_AT_ONCE = 256;
    private static final long RESCAN_NS = 10_000_000;
    private static final long PAUSE_NS = 1_000_000_000;
    private static final long STALLED_NS = 200_000_000;
    private static final long WARMING_NS = 5_000_000_000L;
    /** What becomes durable and yet gives nobody a slot is no progress: it may be evicted from SSD as fast. */
    private static final long NOTHING_FREED_NS = 1_000_000_000L;

    private static final long ASKED_ANEW_NS = 500_000_000;
    private static final long HURRIED_BYTES = 64L << 20;

    private final SsdShelf shelf;
    private final ObjectTable table;
    private final DramTier dram;
    private final Mover mover;
    private final StorageCounters counters;
    private final NanoClock clock;
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

    Demotions(
            final SsdShelf shelf,
            final ObjectTable table,
            final DramTier dram,
            final Mover mover,
            final StorageCounters counters,
            final NanoClock clock) {
        this.shelf = shelf;
        this.table = table;
        this.dram = dram;
        this.mover = mover;
        this.counters = counters;
        this.clock = clock;
        cold = dram.scan();
        progressNs = clock.nanoTime();
        notBeforeNs = progressNs;
        askedNs = progressNs - ASKED_ANEW_NS;
        askedFirstNs = progressNs;
        freedNs = progressNs;
    }

    /** Those that are not over. */
    int inFlight() {
        return mover.waiting(MoveKind.DEMOTE) + mover.moving(MoveKind.DEMOTE);
    }

    /**
     * Somebody needs the slot of an object that is nowhere else: demotion hurries. True when waiting for it is in vain:
     * there is no usable tier, nothing became durable for a while since it was first asked, or what did freed no slot.
     */
    boolean isStalled(final long nowNs) {
        if (shelf.tier() == null || shelf.failure() != null) {
            return true;
        }
        final long freedNow = counters.evictedClean.sum();
        if (nowNs - askedNs > ASKED_ANEW_NS || freedNow != freed) {
            freed = freedNow;
            freedNs = nowNs;
        }
        if (nowNs - askedNs > ASKED_ANEW_NS || progressNs - askedFirstNs > 0) {
            askedFirstNs = nowNs;
            if (inFlight() == 0) {
                notBeforeNs = nowNs;
            }
        }
        askedNs = nowNs;
        return nowNs - askedFirstNs > (shelf.isWarm() ? STALLED_NS : WARMING_NS)
                || (shelf.isWarm() && nowNs - freedNs > NOTHING_FREED_NS);
    }

    /** True while what is about to leave DRAM gets here first. */
    boolean keepsUp(final long nowNs) {
        final boolean waitedFor = nowNs - askedNs < ASKED_ANEW_NS
                && nowNs - Math.max(askedFirstNs, progressNs) > (shelf.isWarm() ? STALLED_NS : WARMING_NS);
        return shelf.tier() != null && shelf.failure() == null && !waitedFor;
    }

    /** Whether it is time to look for what is cold. */
    boolean isDue(final long nowNs) {
        return nowNs - notBeforeNs >= 0;
    }

    /**
     * Begins to write cold objects while the mover takes them.
     *
     * @param fetchWaits a fetch waits for a slot of some size
     */
    int demote(final boolean fetchWaits, final long nowNs) {
        // The colder half of DRAM, all of it while a fetch waits; but no more than half of the
        // SSD: else each rescan would write anew what the tier evicted for the last one.
        final boolean hurried = nowNs - askedNs < STALLED_NS;
        final MovePriority priority = hurried ? MovePriority.STORE : MovePriority.BACKGROUND_STORE;
        final long wanted = fetchWaits
                ? dram.usedBytes()
                : Math.max(dram.usedBytes() - dram.capacity() / 2, hurried ? HURRIED_BYTES : 0);
        final long margin = Math.min(wanted, shelf.tier().capacityBytes() / 2);
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
            final int entry =
                    coldBytes > margin || coldObjects > shelf.tier().maxObjects() / 2 ? DramTier.NONE : cold.next();
            if (entry == DramTier.NONE) {
                scanning = false;
                notBeforeNs = nowNs + RESCAN_NS;
                return submitted;
            }
            // A copy may leave DRAM as it is: another node has it too.
            if (dram.isReadable(entry)
                    && dram.isSummed(entry)
                    && !dram.isCopied(entry)
                    && !shelf.has(dram.object(entry))
                    && dram.account(entry).mayWrite(dram.slotBytes(entry))) {
                dram.hold(entry);
                // Counted as there, so that the scan passes it by while it is on its way; taken back when it fails.
                shelf.put(dram.id(entry), dram.length(entry));
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
            shelf.tier()
                    .write(new WriteRequest(
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
            shelf.drop(id);
        }
    }

    private void written(final ObjectId id, final long length, final WriteOutcome outcome, final boolean ruined) {
        if (outcome.status() == WriteOutcome.Status.DURABLE) {
            progressNs = clock.nanoTime();
            counters.demoted.increment();
            counters.demotedBytes.add(length);
        } else if (!outcome.isStored()) {
            if (shelf.drop(id) && dram.find(id.namespace(), id.key(), id.shard()) == DramTier.NONE) {
                // It left DRAM meanwhile, as one that is here.
                shelf.left(id);
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
