package io.kvasir.storage;

import io.kvasir.storage.catalog.Remembered;
import io.kvasir.storage.index.ObjectTable;
import io.kvasir.storage.lookup.Waiters;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectEvent;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.TierKind;
import io.kvasir.storage.tier.Holdings;
import io.kvasir.storage.tier.TierListener;
import org.agrona.concurrent.EpochClock;

/**
 * Passes on what all tiers tell, in one order: to the directory of the cluster first, then to the streams of events. The
 * catalog keeps the history of what has left the node, second copies leave with the first ones, and requests that wait are
 * woken. The table was changed before. The directory knows nothing of second copies: peers are sent the first ones.
 */
final class TierEvents implements TierListener {
    private final ObjectTable table;
    private final Holdings holdings;
    private final Events events;
    private final Waiters waiters;
    private final EpochClock clock;

    private Remembered catalog;
    private SecondCopies copies;

    TierEvents(
            final ObjectTable table,
            final Holdings holdings,
            final Events events,
            final Waiters waiters,
            final EpochClock clock) {
        this.table = table;
        this.holdings = holdings;
        this.events = events;
        this.waiters = waiters;
        this.clock = clock;
    }

    /** Set once, before anything leaves a tier. */
    void open(final Remembered newCatalog, final SecondCopies newCopies) {
        catalog = newCatalog;
        copies = newCopies;
    }

    @Override
    public void found(
            final TierKind tier, final ObjectId id, final long length, final Hash256 parent, final int chunkIndex) {
        if (isFirst(tier)) {
            holdings.held(id, tier, length, parent, chunkIndex);
        }
    }

    private static boolean isFirst(final TierKind tier) {
        return tier != TierKind.DEVICE;
    }

    @Override
    public void warm(final TierKind tier, final boolean isEmpty) {
        if (isEmpty) {
            events.emit(ObjectEvent.cleared(tier));
        }
    }

    @Override
    public void lost(final TierKind tier) {
        if (isFirst(tier)) {
            holdings.lost(tier);
        }
        events.emit(ObjectEvent.cleared(tier));
    }

    @Override
    public void present(
            final TierKind tier,
            final String tenant,
            final ObjectId id,
            final long length,
            final Hash256 parent,
            final int chunkIndex) {
        if (isFirst(tier)) {
            holdings.held(id, tier, length, parent, chunkIndex);
        }
        events.emit(new ObjectEvent(ObjectEvent.Kind.STORED, tenant, id, tier));
    }

    @Override
    public void leaving(final TierKind tier, final String tenant, final ObjectId id, final int uses) {
        if (isFirst(tier)) {
            holdings.gone(id, tier);
        }
        events.emit(new ObjectEvent(ObjectEvent.Kind.REMOVED, tenant, id, tier));
        if (isFirst(tier)) {
            final int object = table.find(id);
            if (!isElsewhere(tier, object)) {
                catalog.gone(id.hash64(), clock.time(), uses);
            }
            copies.left(object);
        }
    }

    private boolean isElsewhere(final TierKind tier, final int object) {
        return object != ObjectTable.NONE && table.isIn(object, tier == TierKind.DRAM ? TierKind.SSD : TierKind.DRAM);
    }

    @Override
    public void settled(final int event) {
        waiters.settled(event);
    }

    @Override
    public void spaceFreed(final TierKind tier) {
        if (tier == TierKind.DRAM) {
            waiters.roomMade();
        }
    }
}
