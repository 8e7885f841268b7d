package io.kvasir.bench.suite;

import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.Logger;
import io.kvasir.node.cluster.ClusterContext;
import io.kvasir.node.cluster.ClusterSecret;
import io.kvasir.node.cluster.Membership;
import io.kvasir.node.cluster.directory.Announcer;
import io.kvasir.node.cluster.directory.ChunkName;
import io.kvasir.node.cluster.directory.Directory;
import io.kvasir.node.cluster.directory.DirectoryCounters;
import io.kvasir.node.cluster.directory.Entry;
import io.kvasir.node.cluster.directory.IgniteDirectory;
import io.kvasir.node.cluster.directory.Locator;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.Shard;
import io.kvasir.storage.object.TierKind;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.agrona.concurrent.SystemNanoClock;
import org.apache.ignite.Ignite;
import org.apache.ignite.IgniteCache;
import org.apache.ignite.Ignition;
import org.apache.ignite.configuration.CacheConfiguration;
import org.slf4j.LoggerFactory;
import tools.jackson.databind.json.JsonMapper;

/**
 * Joins a cluster as one more node and measures the directory, beside one plain entry for each chunk in the same Ignite
 * instances. Prints one JSON object.
 *
 * <p>Arguments: seeds (HOST:PORT,...), this node's port, nodes of the cluster with this one, chunks to announce.
 */
public final class DirectoryBench {
    private static final int CHAIN = 512;
    private static final int LOOKUPS = 400;
    private static final Shard SHARD = new Shard(0, 32, 0, 8, 0, 0, 1, 0, 1);
    private static final Hash256 NAMESPACE = new Hash256(1, 2, 3, 4);
    private static final long BOUND_NS = TimeUnit.SECONDS.toNanos(60);

    private final LinkedBlockingQueue<Runnable> owner = new LinkedBlockingQueue<>();
    private final Map<String, Object> result = new LinkedHashMap<>();
    private final DirectoryCounters counters = new DirectoryCounters();
    private final SplittableRandom random = new SplittableRandom(7);

    private DirectoryBench() {}

    public static void main(final String[] args) throws Exception {
        // Standard output is the result's.
        ((Logger) LoggerFactory.getLogger(org.slf4j.Logger.ROOT_LOGGER_NAME)).setLevel(Level.OFF);
        final byte[] incarnation = new byte[16];
        new SecureRandom().nextBytes(incarnation);
        final int port = Integer.parseInt(args[1]);
        try (Membership membership = Membership.start(new ClusterContext()
                .name("bench")
                .incarnation(incarnation)
                .seeds(List.of(args[0].split(",", -1)))
                .address("127.0.0.1", port)
                .secret(new ClusterSecret(""))
                .directoryBytes(512L << 20)
                .workDirectory(Path.of(System.getProperty("java.io.tmpdir"), "kvasir-directory-bench-" + port)))) {
            final long end = System.nanoTime() + BOUND_NS;
            while (membership.view().directory() == null || membership.view().size() < Integer.parseInt(args[2])) {
                if (System.nanoTime() > end) {
                    throw new IllegalStateException("the cluster did not come together: " + membership.trouble());
                }
                Thread.sleep(20);
            }
            final DirectoryBench bench = new DirectoryBench();
            bench.run(
                    membership.view().directory(), ByteBuffer.wrap(incarnation).getLong(), Integer.parseInt(args[3]));
            System.out.println(JsonMapper.shared().writeValueAsString(bench.result));
        }
    }

    private void run(final Directory directory, final long self, final int chunks) throws InterruptedException {
        final byte[][] chains = new byte[chunks / CHAIN][];
        for (int i = 0; i < chains.length; i++) {
            final ByteBuffer keys = ByteBuffer.allocate(CHAIN * Hash256.BYTES);
            while (keys.hasRemaining()) {
                keys.putLong(random.nextLong());
            }
            chains[i] = keys.array();
        }
        final Ignite ignite = Ignition.allGrids().getFirst();
        final long before = used(ignite);
        announce(directory, self, chains);
        result.put(
                "bytes_per_chunk",
                (used(ignite) - before) * (double) ignite.cluster().nodes().size() / chunks);
        result.put("directory", lookups(directory, self, chains));

        final IgniteCache<Long, byte[]> plain =
                ignite.getOrCreateCache(new CacheConfiguration<Long, byte[]>(IgniteDirectory.configuration("directory"))
                        .setName("plain-entries"));
        final long plainBefore = used(ignite);
        putAll(plain, self, chains);
        result.put(
                "plain_bytes_per_chunk",
                (used(ignite) - plainBefore) * (double) ignite.cluster().nodes().size() / chunks);
        result.put("plain", getAll(plain, chains));
        ignite.destroyCache("plain-entries");
    }

    @SuppressWarnings("deprecation") // its successor is JMX only
    private static long used(final Ignite ignite) {
        final org.apache.ignite.DataRegionMetrics region = ignite.dataRegionMetrics("directory");
        return region.getTotalUsedPages()
                * ignite.configuration().getDataStorageConfiguration().getPageSize();
    }

    private void announce(final Directory directory, final long self, final byte[][] chains)
            throws InterruptedException {
        final Announcer announcer = new Announcer(
                self,
                chains.length * CHAIN,
                Announcer.Limits.of(1_000_000),
                SystemNanoClock.INSTANCE,
                owner::add,
                counters);
        announcer.joined(directory, new long[0]);
        warmUp(announcer);
        final long start = System.nanoTime();
        for (final byte[] chain : chains) {
            Hash256 parent = Hash256.ZERO;
            for (int i = 0; i < CHAIN; i++) {
                final Hash256 key = Hash256.read(chain, i * Hash256.BYTES);
                announcer.held(new ObjectId(NAMESPACE, key, SHARD), TierKind.DRAM, 1 << 20, parent, i);
                parent = key;
            }
            turn(announcer, 0);
        }
        drain(announcer);
        final double seconds = (System.nanoTime() - start) / 1e9;
        result.put("announced_per_second", chains.length * CHAIN / seconds);
        result.put("failed_updates", counters.failedUpdates.sum());
    }

    private void warmUp(final Announcer announcer) throws InterruptedException {
        for (int i = 0; i < 4096; i++) {
            final Hash256 key = new Hash256(random.nextLong(), i, 3, 4);
            announcer.held(new ObjectId(NAMESPACE, key, SHARD), TierKind.DRAM, 1 << 20, Hash256.ZERO, 0);
        }
        drain(announcer);
    }

    private void drain(final Announcer announcer) throws InterruptedException {
        final long end = System.nanoTime() + BOUND_NS;
        while (announcer.waiting() > 0) {
            if (System.nanoTime() > end) {
                throw new IllegalStateException("announcements do not end");
            }
            turn(announcer, 1);
        }
    }

    private void turn(final Announcer announcer, final long waitMs) throws InterruptedException {
        Runnable task = owner.poll(waitMs, TimeUnit.MILLISECONDS);
        while (task != null) {
            task.run();
            task = owner.poll();
        }
        announcer.doWork();
    }

    private Map<String, Double> lookups(final Directory directory, final long self, final byte[][] chains)
            throws InterruptedException {
        final Locator locator = new Locator(
                SystemNanoClock.INSTANCE, owner::add, holder -> holder == self, TimeUnit.SECONDS.toNanos(2), counters);
        final long[] took = new long[LOOKUPS * 2];
        for (int i = 0; i < took.length; i++) {
            final byte[] chain = chains[random.nextInt(chains.length)];
            final int[] found = new int[1];
            final boolean[] done = new boolean[1];
            final long start = System.nanoTime();
            locator.locate(directory, NAMESPACE, chain, 0, false, new Locator.Answer() {
                @Override
                public void found(final int chunk, final long holder, final Entry.Reader record, final int member) {
                    found[0]++;
                }

                @Override
                public void done(final boolean complete) {
                    done[0] = true;
                }
            });
            while (!done[0]) {
                final Runnable task = owner.poll(10, TimeUnit.MILLISECONDS);
                if (task != null) {
                    task.run();
                }
                locator.doWork();
            }
            took[i] = System.nanoTime() - start;
            if (found[0] != CHAIN) {
                throw new IllegalStateException("found " + found[0] + " of " + CHAIN + " chunks");
            }
        }
        return percentiles(took);
    }

    private void putAll(final IgniteCache<Long, byte[]> plain, final long self, final byte[][] chains) {
        final long start = System.nanoTime();
        final Map<Long, byte[]> batch = new HashMap<>();
        for (final byte[] chain : chains) {
            for (int i = 0; i < CHAIN; i++) {
                final Entry.Part part = new Entry.Part(self, 1, new int[] {1}, new long[] {1 << 20}, 1);
                part.add(i, 1, 0);
                batch.put(ChunkName.hash(NAMESPACE, Hash256.read(chain, i * Hash256.BYTES)), part.finish());
            }
            plain.putAll(batch);
            batch.clear();
        }
        result.put("plain_put_per_second", chains.length * CHAIN / ((System.nanoTime() - start) / 1e9));
    }

    private Map<String, Double> getAll(final IgniteCache<Long, byte[]> plain, final byte[][] chains) {
        final long[] took = new long[LOOKUPS * 2];
        for (int i = 0; i < took.length; i++) {
            final byte[] chain = chains[random.nextInt(chains.length)];
            final long start = System.nanoTime();
            final Set<Long> keys = new HashSet<>();
            for (int c = 0; c < CHAIN; c++) {
                keys.add(ChunkName.hash(NAMESPACE, Hash256.read(chain, c * Hash256.BYTES)));
            }
            if (plain.getAll(keys).size() != CHAIN) {
                throw new IllegalStateException("the plain cache lost entries");
            }
            took[i] = System.nanoTime() - start;
        }
        return percentiles(took);
    }

    /** Of the second half: the first warms up. Microseconds. */
    private static Map<String, Double> percentiles(final long[] all) {
        final long[] took = Arrays.copyOfRange(all, all.length / 2, all.length);
        Arrays.sort(took);
        return Map.of("p50_us", took[took.length / 2] / 1e3, "p99_us", took[took.length * 99 / 100] / 1e3);
    }
}
