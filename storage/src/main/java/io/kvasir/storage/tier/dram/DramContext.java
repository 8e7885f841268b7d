package io.kvasir.storage.tier.dram;

import io.kvasir.storage.metrics.StorageCounters;
import io.kvasir.storage.policy.EvictionPolicy;
import io.kvasir.storage.tenant.TenantAccounts;
import io.kvasir.storage.tier.TierListener;
import java.nio.file.Path;
import java.util.concurrent.Executor;
import java.util.concurrent.ExecutorService;
import java.util.function.BooleanSupplier;
import java.util.function.IntPredicate;
import java.util.function.Supplier;
import java.util.random.RandomGenerator;
import org.agrona.concurrent.EpochClock;

/**
 * What a DRAM tier needs.
 *
 * @param directory on a tmpfs
 * @param capacity payload bytes of all region files; the header tables (256 bytes a slot) come on top
 * @param regionBytes size of a region file
 * @param reserveQuota bytes of slots that one attachment may have reserved, or quarantined
 * @param accounts where each tenant's part is counted; what a tenant may have is in them
 * @param durable whether the object of this entry of the object table is on SSD, so that its slot can go at once
 * @param demotes whether there is a tier below; else no object is ever durable and there is nothing to prefer
 * @param mayDropUndemoted whether an object that is nowhere else may be evicted: there is no SSD tier, or it makes no
 *     progress; else a reserve waits for it
 * @param copyGivesWay whether a copy that was used so often here still gives way before what is no copy
 * @param tierListener told what happens to objects
 * @param random of the secrets of attachments and the numbers of regions
 * @param allocator runs the allocation of region files, which touches every page; the tier closes it
 * @param completions runs what other threads finished on the owner's thread
 */
public record DramContext(
        Path directory,
        long capacity,
        long regionBytes,
        long reserveQuota,
        TenantAccounts accounts,
        Supplier<EvictionPolicy> policy,
        IntPredicate durable,
        BooleanSupplier demotes,
        BooleanSupplier mayDropUndemoted,
        IntPredicate copyGivesWay,
        TierListener tierListener,
        Listener listener,
        Executor completions,
        EpochClock clock,
        RandomGenerator random,
        ExecutorService allocator,
        StorageCounters counters) {
    static final long MIN_CAPACITY = 1 << 20;

    /** What the tier tells its owner of engines and their regions, on the owner's thread. */
    public interface Listener {
        /** A pinned object is gone. */
        void pinnedIsGone(int entry);

        void regionRetired(int region);

        void attachmentEnded(long attachment);

        /** The process behind a connection has ended, though its socket is still open. */
        void processEnded(Attachments.Entry attachment);
    }

    DramContext conclude() {
        if (capacity < MIN_CAPACITY) {
            throw new IllegalArgumentException("dram.capacity is " + capacity + " bytes; it must be at least 1MiB");
        }
        if (regionBytes < 4096 || regionBytes > capacity) {
            throw new IllegalArgumentException(
                    "dram.region is " + regionBytes + " bytes; it must be 4KiB to dram.capacity (" + capacity + ")");
        }
        return this;
    }
}
