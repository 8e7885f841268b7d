package io.kvasir.storage.lease;

import io.kvasir.storage.tenant.TenantAccount;
import org.agrona.collections.Long2ObjectHashMap;

/** What one session has leased. Owned by {@link LeaseTable}. */
public final class SessionLeases {
    final int number;
    final TenantAccount tenant;
    /** Its processes that may still read, by their attachments. */
    final Long2ObjectHashMap<ExpiredLeases.Reader> processes = new Long2ObjectHashMap<>();
    /**
     * The newest lease of each list; each lease names the one before it. List 0 has those whose time is not over, lists 1
     * and 2 by turns those that are being proved and those that expire meanwhile.
     */
    final int[] newest = {LeaseTable.NONE, LeaseTable.NONE, LeaseTable.NONE};
    /** The list of leases that expire now. */
    int expiring = 1;
    /** The list of leases that end, since nobody copies under them; 0: none. */
    int ending;

    boolean isProving;
    /** Counts proofs. */
    int proof;
    /** Until processes that still copied are asked again. */
    long pauseNs;
    /** Null until a process still copied. */
    Timer retry;

    int leases;
    /** Cells, with what the leases take beside. */
    int numbers;

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
