package io.kvasir.storage.lease;

import java.util.function.IntConsumer;

/** Reads the cells of one lease in parts; in between it may end, or give back shards. Made by {@link LeaseTable}. */
public final class LeaseReading {
    private final LeaseTable table;
    private final LeaseRecords records;
    private final SessionLeases session;
    private final long id;
    private final LeaseRecords.Place place = new LeaseRecords.Place();

    LeaseReading(final LeaseTable table, final LeaseRecords records, final SessionLeases session, final long id) {
        this.table = table;
        this.records = records;
        this.session = session;
        this.id = id;
    }

    /**
     * The entries of about so many further cells, in order; {@link LeaseTable#NONE} for what the lease does not have, or
     * not any more. True when there are none left, or the lease has ended.
     */
    public boolean read(final int most, final IntConsumer entry) {
        final int lease = table.find(session, id);
        return lease == LeaseTable.NONE || records.read(lease, place, most, entry);
    }
}
