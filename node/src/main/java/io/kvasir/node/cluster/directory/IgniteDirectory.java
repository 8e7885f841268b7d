package io.kvasir.node.cluster.directory;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.Semaphore;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.LongPredicate;
import javax.cache.Cache;
import javax.cache.CacheException;
import javax.cache.processor.EntryProcessorResult;
import org.agrona.collections.LongArrayList;
import org.apache.ignite.Ignite;
import org.apache.ignite.IgniteCache;
import org.apache.ignite.cache.CacheAtomicityMode;
import org.apache.ignite.cache.CacheMode;
import org.apache.ignite.cache.CacheWriteSynchronizationMode;
import org.apache.ignite.cache.PartitionLossPolicy;
import org.apache.ignite.cache.affinity.Affinity;
import org.apache.ignite.cache.affinity.rendezvous.RendezvousAffinityFunction;
import org.apache.ignite.cache.query.QueryCursor;
import org.apache.ignite.cache.query.ScanQuery;
import org.apache.ignite.cluster.ClusterNode;
import org.apache.ignite.configuration.CacheConfiguration;
import org.apache.ignite.lang.IgniteFuture;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Entries in a partitioned cache of one Ignite instance, each with one backup. An "asynchronous" call of Ignite may
 * still wait inside (for a connection, for a change of topology), so every call is made by a small pool, and refused
 * when all of that is stuck.
 */
public final class IgniteDirectory implements Directory, AutoCloseable {
    /** Name of the cache. */
    public static final String CACHE = "kvasir-directory";
    /** Parts of the directory; a node of a large cluster should still have some. */
    public static final int PARTITIONS = 256;

    private static final Logger LOG = LoggerFactory.getLogger(IgniteDirectory.class);
    private static final int THREADS = 3;
    private static final int QUEUED = 256;

    private final Ignite ignite;
    private final IgniteCache<Long, byte[]> cache;
    /** Of the last topology that is complete: who asks it does not wait for a change that is under way. */
    private final Affinity<Long> affinity;

    private final ExecutorService pool = new ThreadPoolExecutor(
            THREADS,
            THREADS,
            0,
            TimeUnit.SECONDS,
            new ArrayBlockingQueue<>(QUEUED),
            Thread.ofPlatform().daemon().name("kvasir-directory-", 0).factory());
    /** A call to a dead node may wait, and all of the pool with it; those that read copies wait each for itself. */
    private final Semaphore copyCalls = new Semaphore(QUEUED);

    public IgniteDirectory(final Ignite ignite) {
        this.ignite = ignite;
        cache = ignite.cache(CACHE);
        affinity = ignite.affinity(CACHE);
    }

    /** How the cache is made. */
    public static CacheConfiguration<Long, byte[]> configuration(final String dataRegion) {
        return new CacheConfiguration<Long, byte[]>(CACHE)
                .setCacheMode(CacheMode.PARTITIONED)
                .setAtomicityMode(CacheAtomicityMode.ATOMIC)
                .setBackups(1)
                .setWriteSynchronizationMode(CacheWriteSynchronizationMode.PRIMARY_SYNC)
                .setReadFromBackup(true)
                .setAffinity(new RendezvousAffinityFunction(false, PARTITIONS))
                .setPartitionLossPolicy(PartitionLossPolicy.IGNORE)
                .setEventsDisabled(true)
                .setStatisticsEnabled(false)
                .setCopyOnRead(false)
                .setDataRegionName(dataRegion);
    }

    @Override
    public void read(final long[] keys, final Consumer<Map<Long, byte[]>> answer) {
        try {
            pool.execute(() -> {
                try {
                    final Set<Long> set = HashSet.newHashSet(keys.length);
                    for (final long key : keys) {
                        set.add(key);
                    }
                    cache.getAllAsync(set).listen(future -> answer.accept(result(future)));
                } catch (final RuntimeException failure) {
                    LOG.debug("The directory cannot be read", failure);
                    answer.accept(null);
                }
            });
        } catch (final RejectedExecutionException full) {
            answer.accept(null);
        }
    }

    /** Asks all nodes that have a copy, each by itself: a {@link #read} has all entries or none. */
    @Override
    public void readCopies(final long[] keys, final Consumer<Map<Long, byte[]>> answer) {
        callCopies(answer, () -> {
            final Map<ClusterNode, LongArrayList> byNode = new HashMap<>();
            for (final long key : keys) {
                // This too may wait, while the topology changes.
                for (final ClusterNode node : affinity.mapKeyToPrimaryAndBackups(key)) {
                    byNode.computeIfAbsent(node, ignored -> new LongArrayList()).addLong(key);
                }
            }
            if (byNode.isEmpty()) {
                answer.accept(null);
            }
            byNode.forEach((node, wanted) -> readCopies(node, new PeekEntries(wanted.toLongArray()), answer));
        });
    }

    private void readCopies(
            final ClusterNode node, final PeekEntries wanted, final Consumer<Map<Long, byte[]>> answer) {
        callCopies(answer, () -> {
            if (node.isLocal()) {
                answer.accept(wanted.entries(ignite));
            } else {
                ignite.compute(ignite.cluster().forNode(node))
                        .withNoFailover()
                        .callAsync(wanted)
                        .listen(future -> answer.accept(result(future)));
            }
        });
    }

    private void callCopies(final Consumer<Map<Long, byte[]>> answer, final Runnable call) {
        if (!copyCalls.tryAcquire()) {
            answer.accept(null);
            return;
        }
        Thread.ofVirtual().name("kvasir-directory-copies").start(() -> {
            try {
                call.run();
            } catch (final RuntimeException failure) {
                LOG.debug("Copies of the directory's entries cannot be read", failure);
                answer.accept(null);
            } finally {
                copyCalls.release();
            }
        });
    }

    @Override
    public void update(final Map<Long, byte[]> records, final Consumer<Boolean> done) {
        try {
            pool.execute(() -> {
                try {
                    // In order: the primary locks the entries of a batch, and two batches must not wait in a circle.
                    final Map<Long, MergeRecord> calls = new TreeMap<>();
                    records.forEach((key, record) -> calls.put(key, new MergeRecord(record)));
                    cache.invokeAllAsync(calls).listen(future -> done.accept(succeeded(future)));
                } catch (final RuntimeException failure) {
                    LOG.debug("The directory cannot be updated", failure);
                    done.accept(false);
                }
            });
        } catch (final RejectedExecutionException full) {
            done.accept(false);
        }
    }

    private static Map<Long, byte[]> result(final IgniteFuture<Map<Long, byte[]>> future) {
        try {
            return future.get();
        } catch (final RuntimeException failure) {
            LOG.debug("A read of the directory failed", failure);
            return null;
        }
    }

    private static boolean succeeded(final IgniteFuture<Map<Long, EntryProcessorResult<Void>>> future) {
        try {
            future.get().values().forEach(EntryProcessorResult::get);
            return true;
        } catch (final RuntimeException failure) {
            LOG.debug("An update of the directory failed", failure);
            return false;
        }
    }

    // ---- anti-entropy, the primary's half: is what lies here still so?

    /** Records of live holders in one partition: whose, under which keys, with which sequence numbers. */
    public record Held(long holder, long[] keys, long[] sequences) {}

    /** Partitions of which this node has the primary copy. May wait. */
    public int[] primaryPartitions() {
        return affinity.primaryPartitions(ignite.cluster().localNode());
    }

    /**
     * Goes through one partition of this node, removes the records of holders that are gone, and says what the others
     * are said to hold; nothing of one that is not here now. May wait: not for the engine thread.
     *
     * @return records removed
     */
    public int sweep(final int partition, final LongPredicate live, final Consumer<Held> held) {
        final Map<Long, List<long[]>> byHolder = new HashMap<>();
        final Map<Long, RemoveHolders> stale = new TreeMap<>();
        int removed = 0;
        try (QueryCursor<Cache.Entry<Long, byte[]>> entries = cache.query(
                new ScanQuery<Long, byte[]>().setPartition(partition).setLocal(true))) {
            for (final Cache.Entry<Long, byte[]> each : entries) {
                final List<Long> gone = new ArrayList<>();
                for (final Entry.Reader record = new Entry.Reader(each.getValue()); record.next(); ) {
                    if (live.test(record.holder())) {
                        byHolder.computeIfAbsent(record.holder(), ignored -> new ArrayList<>())
                                .add(new long[] {each.getKey(), record.sequence()});
                    } else {
                        gone.add(record.holder());
                    }
                }
                if (!gone.isEmpty()) {
                    removed += gone.size();
                    final long[] sorted =
                            gone.stream().mapToLong(Long::longValue).sorted().toArray();
                    stale.put(each.getKey(), new RemoveHolders(sorted));
                }
            }
            if (!stale.isEmpty()) {
                cache.invokeAll(stale);
            }
        } catch (final CacheException moving) {
            // Partitions move while nodes come and go; whoever has it then goes through it.
            LOG.debug("Partition {} cannot be swept now", partition, moving);
            return 0;
        }
        byHolder.forEach((holder, records) -> held.accept(new Held(
                holder,
                records.stream().mapToLong(pair -> pair[0]).toArray(),
                records.stream().mapToLong(pair -> pair[1]).toArray())));
        return removed;
    }

    /** Entries of which this node has the primary copy. May wait. */
    public long localEntries() {
        return Arrays.stream(primaryPartitions()).mapToLong(this::partitionSize).sum();
    }

    private long partitionSize(final int partition) {
        return cache.localSizeLong(partition, org.apache.ignite.cache.CachePeekMode.PRIMARY);
    }

    /** Calls under way are not answered any more. */
    @Override
    public void close() {
        pool.shutdownNow();
    }
}
