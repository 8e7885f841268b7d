package io.kvasir.storage;

import io.kvasir.storage.index.ObjectTable;
import io.kvasir.storage.lease.LeaseTable;
import io.kvasir.storage.lookup.Waiters;
import io.kvasir.storage.metrics.StorageCounters;
import io.kvasir.storage.move.Mover;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.tenant.TenantAccounts;
import io.kvasir.storage.tier.dram.DramTier;
import io.kvasir.storage.tier.ssd.SsdAccounts;
import io.kvasir.storage.tier.ssd.SsdMetrics;
import io.kvasir.storage.tier.ssd.SsdTier;

/**
 * The store as operators see it: figures, states and removal; what metrics and operations call, on the owner's thread.
 * Part of {@link StoreAgent}.
 */
public final class AdminStore {
    private final StorageCounters counters;
    private final TenantAccounts accounts;
    private final ObjectTable table;
    private final DramTier dram;
    private final SsdShelf ssd;
    private final Mover mover;
    private final LeaseTable leases;
    private final Waiters waiters;
    private final SsdAccounts ssdAccounts;

    AdminStore(
            final StorageCounters counters,
            final TenantAccounts accounts,
            final ObjectTable table,
            final DramTier dram,
            final SsdShelf ssd,
            final Mover mover,
            final LeaseTable leases,
            final Waiters waiters,
            final SsdAccounts ssdAccounts) {
        this.counters = counters;
        this.accounts = accounts;
        this.table = table;
        this.dram = dram;
        this.ssd = ssd;
        this.mover = mover;
        this.leases = leases;
        this.waiters = waiters;
        this.ssdAccounts = ssdAccounts;
    }

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

    /** May be read by any thread. */
    public StorageCounters counters() {
        return counters;
    }

    /** What each tenant has. */
    public TenantAccounts accounts() {
        return accounts;
    }

    /** Objects that are in some tier of this node, or of which something is known elsewhere. */
    public int tableObjects() {
        return table.size();
    }

    // ---- DRAM

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
        return dram.writers().quarantinedBytes();
    }

    public int leases() {
        return leases.count();
    }

    public long leasedBytes() {
        return leases.heldBytes();
    }

    /** Requests that wait, and what they are listed under. */
    public int waits() {
        return waiters.size();
    }

    // ---- SSD

    /** True when there is no SSD tier, or it has found all that it holds. */
    public boolean isSsdWarm() {
        return ssd.tier() == null || ssd.isWarm();
    }

    /** Copies between tiers that wait or are under way. */
    public Mover mover() {
        return mover;
    }

    /** Promotions and demotions that are not over. */
    public int ssdInFlight() {
        return ssd.inFlight();
    }

    /** Bytes of SSD that nothing occupies. */
    public long ssdFreeBytes() {
        return ssd.freeBytes();
    }

    /** Slots on SSD of objects whose tenant is not known, or not yet. */
    public long ssdBytesOfUnknown() {
        return ssdAccounts.unknownBytes();
    }

    /** Null when there is no SSD tier. */
    public SsdTier ssd() {
        return ssd.tier();
    }

    /** Null when there is no SSD tier. */
    public SsdMetrics ssdMetrics() {
        return ssd.tier() == null ? null : ssd.tier().metrics();
    }
}
