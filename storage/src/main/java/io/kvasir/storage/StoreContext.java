package io.kvasir.storage;

import io.kvasir.storage.budget.StoreLimits;
import io.kvasir.storage.index.ObjectTable;
import io.kvasir.storage.move.Channel;
import io.kvasir.storage.move.MoveBudget;
import io.kvasir.storage.object.SizeClass;
import io.kvasir.storage.object.StorageException;
import io.kvasir.storage.policy.EvictionPolicy;
import io.kvasir.storage.policy.PolicyKind;
import io.kvasir.storage.tenant.TenantAccounts;
import io.kvasir.storage.tenant.TenantShare;
import io.kvasir.storage.tier.AddressableTier;
import io.kvasir.storage.tier.Holdings;
import io.kvasir.storage.tier.TierListener;
import io.kvasir.storage.tier.dram.DramTier;
import io.kvasir.storage.tier.remote.RemoteTier;
import io.kvasir.storage.tier.ssd.SsdTier;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.time.Clock;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.BiFunction;
import java.util.function.Function;
import java.util.function.IntPredicate;
import java.util.function.Supplier;
import java.util.random.RandomGenerator;
import org.agrona.concurrent.EpochClock;
import org.agrona.concurrent.NanoClock;
import org.agrona.concurrent.SystemEpochClock;
import org.agrona.concurrent.SystemNanoClock;

/** What an {@link StoreAgent} needs. Set, conclude once by handing it to the store, then leave alone. */
public final class StoreContext {
    /** Part of DRAM that one channel's loads may have reserved. */
    private static final int ARRIVING_PART = 4;
    /** Less than the SSD tier's queues take, so that it refuses none. */
    private static final int SSD_LOADS = 512;

    private static final int SSD_STORES = 256;
    /** Enough for the next batch, few enough that what becomes urgent is not behind many. */
    private static final int SSD_STORES_WAITING = 16;

    /** Keeps the thread that copies busy; what is used while as many wait is copied when it is used again. */
    private static final int SECOND_COPIES = 16;

    private static final int LINK_LOADS = 4096;
    private static final int LINK_STORES = 1024;
    /** Hand-offs of a few long prompts, 12 MiB of heap; what would be more is not sent. */
    private static final int LINK_STORES_WAITING = 1 << 15;
    /** As many as the link takes offers. */
    private static final int REPLICAS = 4096;

    /** So many regions at least, so that what is in use somewhere keeps a small part of DRAM from others. */
    private static final int LEAST_REGIONS = 16;
    /** As many as a region file costs little beside. */
    private static final int USUAL_REGIONS = 128;

    private static final long LEAST_REGION = 64 << 10;
    /** Allocating and mapping one takes a fraction of a second at most, and a terabyte of them can be mapped. */
    private static final long MOST_REGION = 64 << 20;

    private Path dramDirectory;
    private long dramCapacity;
    private long regionBytes;
    private SsdTier.Context ssd;
    private long ssdInFlight;
    private long linkInFlight;
    private Path catalogDirectory;
    private Duration defaultLease = Duration.ofSeconds(30);
    private Duration maxLease = Duration.ofMinutes(10);
    private double leaseQuota = 0.5;
    private long reserveQuotaBytes;
    private Duration reserveDeadline = Duration.ofSeconds(60);
    private Map<String, TenantShare> tenantShares = Map.of();
    private Supplier<EvictionPolicy> policy = PolicyKind.STANDARD::create;
    private Holdings holdings = Holdings.NONE;
    private BiFunction<ObjectTable, TierListener, AddressableTier> device;
    private RemoteTier remote;
    private IntPredicate copyGivesWay = uses -> true;
    private Runnable wakeup = () -> {};
    private EpochClock clock = SystemEpochClock.INSTANCE;
    private NanoClock nanoClock = SystemNanoClock.INSTANCE;
    private RandomGenerator random = new SecureRandom();
    private Function<String, ExecutorService> workers = StoreContext::thread;

    /** Directory of the arena, on a tmpfs. */
    public StoreContext dramDirectory(final Path value) {
        dramDirectory = value;
        return this;
    }

    public Path dramDirectory() {
        return dramDirectory;
    }

    public StoreContext dramCapacity(final long bytes) {
        dramCapacity = bytes;
        return this;
    }

    public long dramCapacity() {
        return dramCapacity;
    }

    /** Most bytes of a region file, never more than a sixteenth of the capacity. 0: a 128th of it, 64 KiB to 64 MiB. */
    public StoreContext regionBytes(final long bytes) {
        regionBytes = bytes;
        return this;
    }

    public long regionBytes() {
        final long most = Math.max(SizeClass.PAGE, dramCapacity / LEAST_REGIONS & -SizeClass.PAGE);
        final long usual = Math.clamp(dramCapacity / USUAL_REGIONS & -SizeClass.PAGE, LEAST_REGION, MOST_REGION);
        return Math.min(most, regionBytes > 0 ? regionBytes : usual);
    }

    /** Null: no SSD tier. The store sets its completions, listener and clock. */
    public StoreContext ssd(final SsdTier.Context value) {
        ssd = value;
        return this;
    }

    public SsdTier.Context ssd() {
        return ssd;
    }

    /** Bytes on their way between DRAM and SSD at a time; 0: a quarter of DRAM to DRAM, and 128 MiB to SSD. */
    public StoreContext ssdInFlight(final long bytes) {
        ssdInFlight = bytes;
        return this;
    }

    /**
     * Bytes on their way to and from other nodes at a time that this node asked for or sends, and as many that others send; 0: a
     * quarter of DRAM to DRAM, and 128 MiB from it.
     */
    public StoreContext linkInFlight(final long bytes) {
        linkInFlight = bytes;
        return this;
    }

    Map<Channel, MoveBudget> budgets() {
        final long arriving = Math.max(1, dramCapacity / ARRIVING_PART);
        final long usual = MoveBudget.usualBytes(arriving);
        final long ssdBytes = ssdInFlight == 0 ? usual : ssdInFlight;
        final long linkBytes = linkInFlight == 0 ? usual : linkInFlight;
        return Map.of(
                Channel.SSD,
                MoveBudget.of(ssdBytes, SSD_STORES, SSD_STORES_WAITING, arriving, SSD_LOADS),
                Channel.DEVICE,
                MoveBudget.ofStores(usual, SECOND_COPIES),
                Channel.LINK,
                MoveBudget.of(linkBytes, LINK_STORES, LINK_STORES_WAITING, arriving, LINK_LOADS),
                Channel.REPLICAS,
                MoveBudget.ofStores(linkBytes, REPLICAS));
    }

    /** Null: nothing is remembered beyond what the tiers hold. */
    public StoreContext catalogDirectory(final Path value) {
        catalogDirectory = value;
        return this;
    }

    public Path catalogDirectory() {
        return catalogDirectory;
    }

    public StoreContext defaultLease(final Duration value) {
        defaultLease = value;
        return this;
    }

    public StoreContext maxLease(final Duration value) {
        maxLease = value;
        return this;
    }

    /** The length of a lease in ns: the default for 0, at most the longest allowed. */
    long leaseNs(final long wanted) {
        return wanted <= 0 ? defaultLease.toNanos() : Math.min(wanted, maxLease.toNanos());
    }

    /** Share of DRAM that one session may have leased, and one tenant pinned: above 0, at most 1. */
    public StoreContext leaseQuota(final double share) {
        leaseQuota = share;
        return this;
    }

    long leaseQuotaBytes() {
        return (long) (leaseQuota * dramCapacity);
    }

    /** All sessions together: half of what one may not lease always stays for stores and promotions. */
    long leasableBytes() {
        return (long) ((1 + leaseQuota) / 2 * dramCapacity);
    }

    /** Bytes of slots that one attachment may have reserved or quarantined; 0: a quarter of DRAM. */
    public StoreContext reserveQuotaBytes(final long bytes) {
        reserveQuotaBytes = bytes;
        return this;
    }

    long reserveQuotaBytes() {
        return reserveQuotaBytes == 0 ? dramCapacity / 4 : reserveQuotaBytes;
    }

    /** From when a slot is reserved until it has to be committed or aborted. */
    public StoreContext reserveDeadline(final Duration value) {
        reserveDeadline = value;
        return this;
    }

    Duration reserveDeadline() {
        return reserveDeadline;
    }

    /** What tenants may have, by name; one that is not in it has what nobody else is guaranteed. */
    public StoreContext tenantShares(final Map<String, TenantShare> value) {
        tenantShares = Map.copyOf(value);
        return this;
    }

    Map<String, TenantShare> tenantShares() {
        return tenantShares;
    }

    /** Of the DRAM tier, which puts copies that another holder also has before what it orders. */
    public StoreContext policy(final Supplier<EvictionPolicy> value) {
        policy = value;
        return this;
    }

    public Supplier<EvictionPolicy> policy() {
        return policy;
    }

    /** Hears what the store holds, from its opening on. */
    public StoreContext holdings(final Holdings value) {
        holdings = value;
        return this;
    }

    Holdings holdings() {
        return holdings;
    }

    /**
     * Makes the tier that has second copies of what is in DRAM or on SSD, and that engines map as they map DRAM; null:
     * there is none. It gets the node's table of objects, and whom it tells what happens in it.
     */
    public StoreContext device(final BiFunction<ObjectTable, TierListener, AddressableTier> value) {
        device = value;
        return this;
    }

    BiFunction<ObjectTable, TierListener, AddressableTier> device() {
        return device;
    }

    /** Null: a node alone. */
    public StoreContext remote(final RemoteTier value) {
        remote = value;
        return this;
    }

    RemoteTier remote() {
        return remote;
    }

    /** Whether a pulled copy that was used so often here still gives way before what is no copy. */
    public StoreContext copyGivesWay(final IntPredicate value) {
        copyGivesWay = value;
        return this;
    }

    IntPredicate copyGivesWay() {
        return copyGivesWay;
    }

    /** Called by other threads when {@link StoreAgent#doWork()} has something to do. */
    public StoreContext wakeup(final Runnable value) {
        wakeup = value;
        return this;
    }

    Runnable wakeup() {
        return wakeup;
    }

    public StoreContext clock(final EpochClock value) {
        clock = value;
        return this;
    }

    EpochClock clock() {
        return clock;
    }

    Clock javaClock() {
        return new Clock() {
            @Override
            public java.time.ZoneId getZone() {
                return java.time.ZoneOffset.UTC;
            }

            @Override
            public Clock withZone(final java.time.ZoneId zone) {
                return this;
            }

            @Override
            public java.time.Instant instant() {
                return java.time.Instant.ofEpochMilli(clock.time());
            }
        };
    }

    /** Draws the numbers of attachments, regions and leases. Used by the owner's thread. */
    public StoreContext random(final RandomGenerator value) {
        random = value;
        return this;
    }

    RandomGenerator random() {
        return random;
    }

    /** Makes, by name, what runs the slow work beside the owner's thread; a daemon thread for each unless it is set. */
    public StoreContext workers(final Function<String, ExecutorService> value) {
        workers = value;
        return this;
    }

    ExecutorService worker(final String name) {
        return workers.apply(name);
    }

    static ExecutorService thread(final String name) {
        return Executors.newSingleThreadExecutor(
                Thread.ofPlatform().daemon().name(name).factory());
    }

    public StoreContext nanoClock(final NanoClock value) {
        nanoClock = value;
        return this;
    }

    NanoClock nanoClock() {
        return nanoClock;
    }

    /** Objects in DRAM and on SSD together, at most. */
    public static int mostObjects(final long dramCapacity, final long onSsd) {
        return (int) Math.min(ObjectTable.MAX_CAPACITY, DramTier.mostObjects(dramCapacity) + onSsd);
    }

    /** With those of which something is known elsewhere. */
    int mostObjects() {
        final long elsewhere = remote == null ? 0 : StoreLimits.REMEMBERED;
        return mostObjects(dramCapacity, (ssd == null ? 0 : ssd.maxObjects()) + elsewhere);
    }

    StoreContext conclude() {
        if (dramDirectory == null) {
            throw new StorageException("dram.directory is not set; name a directory on a tmpfs such as /dev/shm");
        }
        if (!(leaseQuota > 0 && leaseQuota <= 1)) {
            throw new StorageException("lease.quota is " + leaseQuota + "; it must be above 0 and at most 1");
        }
        if (reserveQuotaBytes < 0 || reserveQuotaBytes > dramCapacity) {
            throw new StorageException("reserve.quota is " + reserveQuotaBytes
                    + " bytes; it must be 0 (a quarter of dram.capacity) to dram.capacity (" + dramCapacity + ")");
        }
        if (ssdInFlight < 0 || linkInFlight < 0) {
            throw new StorageException("ssd.in_flight is " + ssdInFlight + " bytes and cluster.in_flight "
                    + linkInFlight + "; both must be at least 0");
        }
        if (reserveDeadline.isNegative() || reserveDeadline.isZero()) {
            throw new StorageException("reserve.deadline is " + reserveDeadline + "; it must be above 0");
        }
        if (defaultLease.isNegative() || defaultLease.isZero() || maxLease.compareTo(defaultLease) < 0) {
            throw new StorageException("lease.default is " + defaultLease + " and lease.max " + maxLease
                    + "; the default must be above 0 and at most lease.max");
        }
        final List<String> unkept = TenantAccounts.problems(
                tenantShares, dramCapacity, regionBytes(), ssd == null ? 0 : ssd.capacityBytes());
        if (!unkept.isEmpty()) {
            throw new StorageException("tenants: " + String.join("; ", unkept));
        }
        return this;
    }
}
