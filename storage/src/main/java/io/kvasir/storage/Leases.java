package io.kvasir.storage;

import io.kvasir.storage.budget.StoreLimits;
import io.kvasir.storage.lease.LeaseHolder;
import io.kvasir.storage.object.ShardSet;
import io.kvasir.storage.tenant.Tenant;
import io.kvasir.storage.tier.dram.DramTier;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.Set;
import org.agrona.collections.Long2ObjectHashMap;
import org.agrona.collections.LongHashSet;

/**
 * Rights to read. A lease holds its entries until its session gives them back; its time's end stops new reads only,
 * because a reader may be in the middle of a copy. What a session leaves is freed when all its processes have ended.
 * Owned by {@link StoreAgent}.
 */
final class Leases {
    /** One session's leases. */
    static final class Holder implements LeaseHolder {
        final Tenant tenant;
        /** Null once it is closed: it may stay for as long as its processes live. */
        ShardSet shards;

        final LongHashSet attachments = new LongHashSet();
        final LongHashSet leases = new LongHashSet();
        long bytes;
        boolean closed;

        Holder(final Tenant tenant, final ShardSet shards) {
            this.tenant = tenant;
            this.shards = shards;
        }

        @Override
        public Tenant tenant() {
            return tenant;
        }

        @Override
        public ShardSet shards() {
            return shards;
        }
    }

    /** Chunk-major entries; {@link DramTier#NONE} where a group's rule needs none, or the shard was given back. */
    static final class Lease {
        final long id;
        final Holder holder;
        final int[] entries;
        final int shards;
        long expiresNs;
        private final boolean[] released;
        private int left;

        /** On the heap, this object's places in the maps included. */
        static long bytes(final long cells, final int shards) {
            return 192 + cells * Integer.BYTES + shards;
        }

        private Lease(final long id, final Holder holder, final int[] entries, final int shards) {
            this.id = id;
            this.holder = holder;
            this.entries = entries;
            this.shards = shards;
            released = new boolean[shards];
            left = shards;
        }
    }

    private final DramTier dram;
    private final long quotaBytes;
    private final Long2ObjectHashMap<Lease> leases = new Long2ObjectHashMap<>();
    /** Holders that processes joined, until they are closed and all of those have ended. */
    private final Set<Holder> joined = new LinkedHashSet<>();

    private long nextId;
    private long heldBytes;
    private long heapBytes;

    /** @param firstId random, so that an id of another incarnation names nothing here */
    Leases(final DramTier dram, final long quotaBytes, final long firstId) {
        this.dram = dram;
        this.quotaBytes = quotaBytes;
        nextId = firstId;
    }

    /** Whether there is space for the bookkeeping of another lease. */
    boolean hasSpace(final int cells, final int shards) {
        return heapBytes + Lease.bytes(cells, shards) <= StoreLimits.LEASE_BYTES;
    }

    /** What the holder may still lease. */
    long leasableBytes(final Holder holder) {
        return quotaBytes - holder.bytes;
    }

    /** What leasing the entry takes of {@link #leasableBytes}. */
    long chargedBytes(final Holder holder, final int entry) {
        return dram.slotBytes(entry);
    }

    Lease grant(final Holder holder, final int[] entries, final int shards, final long expiresNs) {
        if (++nextId == 0) {
            nextId = 1;
        }
        final Lease lease = new Lease(nextId, holder, entries, shards);
        lease.expiresNs = expiresNs;
        for (final int entry : entries) {
            if (entry != DramTier.NONE) {
                dram.hold(entry);
                charge(holder, dram.slotBytes(entry));
            }
        }
        leases.put(lease.id, lease);
        heapBytes += Lease.bytes(entries.length, shards);
        holder.leases.add(lease.id);
        return lease;
    }

    /** The lease if it is this holder's; else null. */
    Lease of(final Holder holder, final long id) {
        final Lease lease = leases.get(id);
        return lease == null || lease.holder != holder ? null : lease;
    }

    /** The lease if it is this holder's and its time has not ended; else null. */
    Lease valid(final Holder holder, final long id, final long nowNs) {
        final Lease lease = leases.get(id);
        return lease == null || lease.holder != holder || lease.expiresNs - nowNs <= 0 ? null : lease;
    }

    /** Gives back the named shards (empty: all), also after the lease's time. */
    boolean release(final Holder holder, final long id, final int[] shardIndices) {
        final Lease lease = leases.get(id);
        if (lease == null || lease.holder != holder) {
            return false;
        }
        if (shardIndices.length == 0) {
            end(lease);
            return true;
        }
        for (final int shard : shardIndices) {
            if (shard >= 0 && shard < lease.shards && !lease.released[shard]) {
                lease.released[shard] = true;
                lease.left--;
                for (int i = shard; i < lease.entries.length; i += lease.shards) {
                    unhold(lease, i);
                }
            }
        }
        if (lease.left == 0) {
            end(lease);
        }
        return true;
    }

    void close(final Holder holder) {
        holder.closed = true;
        holder.shards = null;
        if (holder.attachments.isEmpty()) {
            endAll(holder);
            joined.remove(holder);
        }
    }

    void join(final Holder holder, final long attachment) {
        holder.attachments.add(attachment);
        joined.add(holder);
    }

    /** A process ended or said that its copies have stopped. */
    void attachmentEnded(final long attachment) {
        // Also before the holder is closed: what has ended by then is not waited for.
        joined.removeIf(holder -> {
            holder.attachments.remove(attachment);
            if (holder.closed && holder.attachments.isEmpty()) {
                endAll(holder);
                return true;
            }
            return false;
        });
    }

    int count() {
        return leases.size();
    }

    long heldBytes() {
        return heldBytes;
    }

    private void endAll(final Holder holder) {
        for (final long id : toArray(holder.leases)) {
            end(leases.get(id));
        }
    }

    private void end(final Lease lease) {
        for (int i = 0; i < lease.entries.length; i++) {
            unhold(lease, i);
        }
        leases.remove(lease.id);
        heapBytes -= Lease.bytes(lease.entries.length, lease.shards);
        lease.holder.leases.remove(lease.id);
    }

    private void unhold(final Lease lease, final int i) {
        final int entry = lease.entries[i];
        if (entry != DramTier.NONE) {
            lease.entries[i] = DramTier.NONE;
            charge(lease.holder, -dram.slotBytes(entry));
            dram.unhold(entry);
        }
    }

    private void charge(final Holder holder, final long bytes) {
        holder.bytes += bytes;
        heldBytes += bytes;
    }

    private static long[] toArray(final LongHashSet set) {
        final long[] values = new long[set.size()];
        final LongHashSet.LongIterator each = set.iterator();
        Arrays.setAll(values, i -> each.nextValue());
        return values;
    }
}
