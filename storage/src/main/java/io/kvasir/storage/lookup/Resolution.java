package io.kvasir.storage.lookup;

import io.kvasir.storage.budget.StoreLimits;
import io.kvasir.storage.lease.LeaseReading;
import io.kvasir.storage.lease.LeaseTable;
import io.kvasir.storage.lease.SessionHolder;
import io.kvasir.storage.object.SlotStatus;
import io.kvasir.storage.tier.AddressableTiers;
import io.kvasir.storage.tier.SlotRecords;
import java.util.List;
import java.util.function.IntConsumer;
import org.agrona.concurrent.NanoClock;

/** Packs the records of one lease, in steps between which others may use the store. Made by {@link Lookups}. */
public final class Resolution {
    private final LeaseTable leases;
    private final SessionHolder owner;
    private final long id;
    private final int[] shardIndices;
    private final NanoClock clock;
    private final LeaseReading reading;
    private final SlotRecords records;
    private final int[] ofChunk;
    private final int chunks;
    private final IntConsumer pack = this::pack;
    /** Cells of the chunk that have been read. */
    private int count;

    /**
     * @param lease there, and valid
     * @param shardIndices whose records are packed; empty: all
     */
    Resolution(
            final LeaseTable leases,
            final AddressableTiers slots,
            final SessionHolder owner,
            final long id,
            final int lease,
            final int[] shardIndices,
            final NanoClock clock) {
        this.leases = leases;
        this.owner = owner;
        this.id = id;
        this.shardIndices = shardIndices;
        this.clock = clock;
        reading = leases.reading(owner.leases, id);
        ofChunk = new int[leases.shards(lease)];
        chunks = leases.cells(lease) / ofChunk.length;
        records = new SlotRecords(slots, chunks * (shardIndices.length == 0 ? ofChunk.length : shardIndices.length));
    }

    /** True when there is nothing more to do. */
    public boolean step() {
        return reading.read(StoreLimits.CELLS_IN_A_SLICE, pack);
    }

    private void pack(final int entryOfNext) {
        ofChunk[count++] = entryOfNext;
        if (count < ofChunk.length) {
            return;
        }
        count = 0;
        if (shardIndices.length == 0) {
            for (final int entry : ofChunk) {
                pack(records, entry);
            }
        } else {
            for (final int shard : shardIndices) {
                pack(records, ofChunk[shard]);
            }
        }
    }

    private static void pack(final SlotRecords records, final int entry) {
        records.add(entry == AddressableTiers.NONE ? SlotStatus.NOT_NEEDED : SlotStatus.HIT, entry);
    }

    /** After the last step; null when the lease's time is over, or it has ended. */
    public LookupAnswer result() {
        final long nowNs = clock.nanoTime();
        final int lease = leases.findValid(owner.leases, id, nowNs);
        return lease == LeaseTable.NONE
                ? null
                : new LookupAnswer(
                        id,
                        leases.expiresNs(lease) - nowNs,
                        chunks,
                        0,
                        records.bytes(),
                        records.regions(),
                        List.of(),
                        false);
    }
}
