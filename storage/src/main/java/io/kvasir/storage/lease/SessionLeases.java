package io.kvasir.storage.lease;

import io.kvasir.storage.tenant.TenantAccount;
import org.agrona.collections.LongHashSet;

/** What one session has leased. Owned by {@link LeaseTable}. */
public final class SessionLeases {
    final int number;
    final TenantAccount tenant;
    /** Its processes that may still read. */
    final LongHashSet attachments = new LongHashSet();
    /** The lease that was granted last; each names the one before it. */
    int newest = LeaseTable.NONE;

    int leases;
    int cells;
    /** Bytes of leased slots, each counted once. */
    long bytes;
    /** Bytes that leases under way may still add. */
    long claimed;
    /** Leases of which something is to be given back, in order. */
    int firstToSweep = LeaseTable.NONE;

    int lastToSweep = LeaseTable.NONE;
    /** It has its turn in the table's list of sessions with something to give back. */
    boolean isQueued;
    /** Its last connection is gone. */
    boolean isClosed;
    /** All of its processes have ended too: all leases end. */
    boolean isEnding;

    SessionLeases(final int number, final TenantAccount tenant) {
        this.number = number;
        this.tenant = tenant;
    }
}
