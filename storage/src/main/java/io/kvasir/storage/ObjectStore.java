package io.kvasir.storage;

import java.util.List;
import java.util.function.Consumer;
import org.agrona.concurrent.Agent;

/**
 * One node's objects in all tiers of this machine. One thread owns it: every method, {@link #doWork()} included, is
 * called by that thread; slow work runs elsewhere and comes back through {@link #doWork()}.
 */
public final class ObjectStore implements Agent, AutoCloseable {

    /** One process of an engine, and the lock that shows that it lives. */
    public interface Attachment {
        long id();

        Tenant tenant();

        /** Relative to the tenant's directory. */
        String lockFile();
    }

    /** A tenant's part of the arena. */
    public interface Tenant {
        String name();

        /** Absolute path of the directory that holds its regions. */
        String directory();
    }

    /** Owner of leases: one session. */
    public interface LeaseHolder {
        Tenant tenant();

        ShardSet shards();
    }

    /**
     * @param keys n x 32 bytes
     * @param shardIndices shards of which {@link LookupResult#slots()} has records; empty: all
     * @param leaseNs 0: the default
     */
    public record LookupQuery(
            Hash256 namespace,
            byte[] keys,
            int[] shardIndices,
            long leaseNs,
            boolean peek,
            boolean sparse,
            int priority) {}

    /**
     * @param lease 0 when nothing was leased
     * @param slots packed records, chunk-major: hitChunks (sparse: all keys) x shards asked for
     * @param regions distinct regions that {@code slots} names
     */
    public record LookupResult(
            long lease,
            long leaseNs,
            int hitChunks,
            int pendingChunks,
            byte[] slots,
            int[] regions,
            List<PlanRange> plan) {}

    /**
     * @param slots packed records, one for each key
     * @param noRoom how many records say {@link SlotStatus#NO_ROOM}
     */
    public record ReserveResult(byte[] slots, int[] regions, int noRoom) {}

    // ---- tenants and attachments

    /**
     * The tenant's part of the arena, made when it is not there.
     *
     * @param gid group that may read its directory; -1: the node's own
     */
    public Tenant openTenant(final String name, final int gid) {
        throw new UnsupportedOperationException();
    }

    /** A new attachment and its lock file; the process must take the lock before {@link #isAlive}. */
    public Attachment openAttachment(final Tenant tenant) {
        throw new UnsupportedOperationException();
    }

    /** True while some process holds the attachment's lock. */
    public boolean isAlive(final Attachment attachment) {
        throw new UnsupportedOperationException();
    }

    /** The process says that all its copies under this earlier attachment id have stopped. Unknown ids are ignored. */
    public void quiesced(final Tenant tenant, final long attachmentId) {
        throw new UnsupportedOperationException();
    }

    /**
     * The connection is gone. What it had reserved is quarantined until the lock is free or {@link #quiesced} is said;
     * the caller ends the session's leases by {@link #closeHolder} with the session's last connection.
     */
    public void closeAttachment(final Attachment attachment) {
        throw new UnsupportedOperationException();
    }

    public RegionInfo region(final int region) {
        throw new UnsupportedOperationException();
    }

    public List<RegionInfo> regions(final Tenant tenant) {
        throw new UnsupportedOperationException();
    }

    // ---- reading

    public LeaseHolder openHolder(final Tenant tenant, final ShardSet shards) {
        throw new UnsupportedOperationException();
    }

    /** An attachment joins the session: expired leases that are not released stay protected while one of these lives. */
    public void joinHolder(final LeaseHolder holder, final Attachment attachment) {
        throw new UnsupportedOperationException();
    }

    /** Ends all leases; slots whose readers may still copy are not reused while an attachment's lock is held. */
    public void closeHolder(final LeaseHolder holder) {
        throw new UnsupportedOperationException();
    }

    /** Answered from memory; starts fetches of what is pending unless it peeks. */
    public LookupResult lookup(final LeaseHolder holder, final LookupQuery query) {
        throw new UnsupportedOperationException();
    }

    /**
     * Runs {@code wake} once, from {@link #doWork()} or a later call, when none of the query's objects that are pending
     * now is pending any more. Returns a handle for {@link #cancelWait}; 0 when nothing is pending ({@code wake} is not run).
     */
    public long whenSettled(final LeaseHolder holder, final LookupQuery query, final Runnable wake) {
        throw new UnsupportedOperationException();
    }

    public void cancelWait(final long handle) {
        throw new UnsupportedOperationException();
    }

    /** Records of a lease, chunk-major; null when the lease ended or is not this holder's. */
    public LookupResult resolve(final LeaseHolder holder, final long lease, final int[] shardIndices) {
        throw new UnsupportedOperationException();
    }

    public boolean renew(final LeaseHolder holder, final long lease, final long leaseNs) {
        throw new UnsupportedOperationException();
    }

    /** Gives back the named shards (empty: all). False when the lease is not there or not this holder's. */
    public boolean release(final LeaseHolder holder, final long lease, final int[] shardIndices) {
        throw new UnsupportedOperationException();
    }

    // ---- writing

    /**
     * @param keys n x 32 bytes
     * @param lengths n values, or one for all
     */
    public ReserveResult reserve(
            final Attachment attachment,
            final Hash256 namespace,
            final Shard shard,
            final byte[] keys,
            final long[] lengths,
            final int codec) {
        throw new UnsupportedOperationException();
    }

    /** Tries the records again that say NO_ROOM; the others are kept. */
    public ReserveResult retryReserve(
            final Attachment attachment,
            final Hash256 namespace,
            final Shard shard,
            final byte[] keys,
            final long[] lengths,
            final int codec,
            final ReserveResult before) {
        throw new UnsupportedOperationException();
    }

    /** Runs {@code wake} once when room was made. Returns a handle for {@link #cancelWait}. */
    public long whenRoom(final Runnable wake) {
        throw new UnsupportedOperationException();
    }

    /**
     * @param records n x 32 bytes as {@link #reserve} gave them
     * @param parents empty, or n x 32 bytes
     * @param crc32c empty, or n x 4 bytes little-endian
     * @param chunkIndex empty, one value for the first, or n values
     * @param ttlNs 0: no limit
     * @return a {@link SlotStatus} for each
     */
    public byte[] commit(
            final Attachment attachment,
            final byte[] records,
            final byte[] parents,
            final byte[] crc32c,
            final int[] chunkIndex,
            final int priority,
            final long ttlNs) {
        throw new UnsupportedOperationException();
    }

    public byte[] abort(final Attachment attachment, final byte[] records) {
        throw new UnsupportedOperationException();
    }

    // ---- pins, namespaces, events

    /** Pins what is there of these keys in every shard of the holder; returns how many keys that was. */
    public int pin(
            final LeaseHolder holder,
            final Hash256 namespace,
            final byte[] keys,
            final long ttlNs,
            final int priority) {
        throw new UnsupportedOperationException();
    }

    public int unpin(final LeaseHolder holder, final Hash256 namespace, final byte[] keys) {
        throw new UnsupportedOperationException();
    }

    /** Remembers the readable fields of a namespace in the catalogue. Does not block. */
    public void rememberNamespace(final Hash256 namespace, final String tenant, final byte[] fields) {
        throw new UnsupportedOperationException();
    }

    public void onEvent(final Consumer<ObjectEvent> consumer) {
        throw new UnsupportedOperationException();
    }

    // ---- life

    @Override
    public int doWork() {
        throw new UnsupportedOperationException();
    }

    @Override
    public String roleName() {
        return "object-store";
    }

    /** True once what is needed to serve is open; {@link #describe} says what is still warming. */
    public boolean isReady() {
        throw new UnsupportedOperationException();
    }

    /** For people: what this store is, or waits for. */
    public String describe() {
        throw new UnsupportedOperationException();
    }

    /** Finishes or aborts what is in flight within {@code boundNs}, flushes, releases the locks. */
    public void shutdown(final long boundNs) {
        throw new UnsupportedOperationException();
    }

    @Override
    public void close() {
        shutdown(0);
    }
}
