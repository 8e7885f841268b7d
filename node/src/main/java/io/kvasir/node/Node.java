package io.kvasir.node;

import io.kvasir.node.cluster.Cluster;
import io.kvasir.node.cluster.ClusterMetrics;
import io.kvasir.node.config.NodeConfig;
import io.kvasir.node.config.TimeSpan;
import io.kvasir.node.engine.DutyCycle;
import io.kvasir.node.engine.EngineContext;
import io.kvasir.node.engine.EngineServer;
import io.kvasir.node.engine.StallTracker;
import io.kvasir.node.placement.Placement;
import io.kvasir.storage.StoreAgent;
import io.kvasir.storage.StoreContext;
import io.kvasir.storage.tier.Holdings;
import io.kvasir.storage.tier.ssd.SsdTier;
import io.prometheus.client.CollectorRegistry;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.HexFormat;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One running node: takes its socket, opens the object store, and gives both to the engine thread. The engine API is
 * open when {@link #start} returns. The command line and tests make it.
 */
public final class Node implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(Node.class);
    /** The engine thread looks around at least this often. */
    private static final long IDLE_MS = 100;

    /** The same, while announcements gather. */
    private static final long BUSY_MS = 2;

    private static final long SAMPLE_NS = 250_000_000;
    /** For leaving a cluster. */
    private static final long LEAVE_MS = 12_000;

    /** For joining the engine thread, on top of what it may take to shut down. */
    private static final long JOIN_MS = 2000;

    private final NodeConfig config;
    private final CollectorRegistry registry;
    private final EngineSocket socket;
    private final StallTracker stalls = new StallTracker();
    private final EngineServer server;
    private final Thread thread;
    private long sampledNs = System.nanoTime() - SAMPLE_NS;
    private final String incarnation;
    /** Null for a node alone. */
    private final Cluster cluster;

    private final CountDownLatch ended = new CountDownLatch(1);
    private final CompletableFuture<Void> failure = new CompletableFuture<>();
    private StoreMetrics storeMetrics;
    private ClusterMetrics clusterMetrics;
    private volatile boolean stopping;
    private volatile Health health = new Health(false, "starting");

    /**
     * @param ready false: {@code reason} says what is waited for
     */
    public record Health(boolean ready, String reason) {}

    private Node(final NodeConfig config, final CollectorRegistry registry) {
        this.config = config;
        this.registry = registry;
        Thread.ofPlatform().daemon().name("kvasir-schema").start(EngineServer::loadSchema);
        final byte[] drawn = new byte[EngineContext.INCARNATION_BYTES];
        new SecureRandom().nextBytes(drawn);
        incarnation = HexFormat.of().formatHex(drawn);
        cluster = config.cluster().isEnabled() ? new Cluster(config, drawn) : null;
        final Tenants tenants = new Tenants(config.tenants());
        socket = EngineSocket.bind(config.engine().socket());
        try {
            server = new EngineServer(
                    new EngineContext()
                            .nodeName(config.node().name())
                            .socket(config.engine().socket())
                            .maxConnections(config.engine().maxConnections())
                            .maxFrameBytes(config.engine().maxFrameBytes())
                            .defaultDeadline(config.engine().defaultDeadline())
                            .spin(config.engine().spin())
                            .busySpin(config.engine().busySpin())
                            .stallLimit(config.engine().stallLimit())
                            .eventsKept(config.engine().eventsKept())
                            .incarnation(drawn)
                            .tenants(tenants)
                            .registry(registry)
                            .stalls(stalls)
                            .neighbours(cluster)
                            .store(this::openStore),
                    socket.channel());
        } catch (final RuntimeException e) {
            socket.close();
            throw e;
        }
        stalls.register(registry);
        thread = new Thread(this::run, "engine");
    }

    /**
     * Starts a node; the engine API is open afterwards.
     *
     * @param registry where its metrics go; one registry serves one node
     * @throws NodeException when the socket cannot be had
     * @throws io.kvasir.storage.object.StorageException when a tier cannot be opened
     * @throws io.kvasir.node.config.ConfigException when a configured user or group is unknown
     */
    public static Node start(final NodeConfig config, final CollectorRegistry registry) {
        final Node node = new Node(config, registry);
        node.thread.start();
        LOG.atInfo()
                .addKeyValue("node", config.node().name())
                .addKeyValue("socket", config.engine().socket())
                .addKeyValue("incarnation", node.incarnation)
                .log("The engine API is open");
        return node;
    }

    public NodeConfig config() {
        return config;
    }

    public CollectorRegistry registry() {
        return registry;
    }

    /** Hexadecimal. */
    public String incarnation() {
        return incarnation;
    }

    public Health health() {
        return health;
    }

    /** Waits until the node ended; throws what ended it when nobody asked for it. */
    public void await() throws InterruptedException {
        ended.await();
        if (failure.isCompletedExceptionally()) {
            throw new NodeException("the engine thread failed", failure.exceptionNow());
        }
    }

    /** {@link #stop()}. */
    @Override
    public void close() {
        stop();
    }

    /**
     * Orderly and within {@code node.shutdown_limit}: no new connections, what is in flight is answered or aborted, tiers
     * are flushed, the socket is removed. Any thread, any number of times.
     */
    public void stop() {
        stopping = true;
        server.wakeup();
        final Duration bound = cluster == null
                ? config.node().shutdownLimit()
                : config.node()
                        .shutdownLimit()
                        .plus(config.cluster().drainLimit())
                        .plusMillis(LEAVE_MS);
        try {
            if (!ended.await(bound.toMillis() + JOIN_MS, TimeUnit.MILLISECONDS)) {
                throw new NodeException("the node did not stop in " + TimeSpan.format(bound));
            }
        } catch (final InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    /** Null for a node alone. */
    public Cluster cluster() {
        return cluster;
    }

    private StoreAgent openStore(final Runnable wakeup) {
        final NodeConfig.Ssd ssd = config.ssd();
        final SsdTier.Context disk = ssd.capacityBytes() == 0
                ? null
                : new SsdTier.Context()
                        .directory(ssd.directory())
                        .capacityBytes(ssd.capacityBytes())
                        .extentBytes(ssd.extentBytes())
                        .maxObjects(ssd.objects())
                        .readThreads(ssd.readThreads())
                        .directIo(ssd.directIo());
        final StoreAgent store = new StoreAgent(new StoreContext()
                .dramDirectory(config.dram().directory())
                .dramCapacity(config.dram().capacityBytes())
                .regionBytes(config.dram().regionBytes())
                .policy(config.dram().policy()::create)
                .ssd(disk)
                .ssdInFlight(ssd.inFlightBytes())
                .linkInFlight(config.cluster().inFlightBytes())
                .catalogDirectory(disk == null ? null : ssd.directory().resolve("catalog"))
                .defaultLease(config.lease().standard())
                .maxLease(config.lease().max())
                .leaseQuota(config.lease().quota())
                .reserveQuotaBytes(config.reserve().quotaBytes())
                .reserveDeadline(config.reserve().deadline())
                .tenantShares(config.tenantShares())
                .holdings(cluster == null ? Holdings.NONE : cluster.holdings())
                .remote(cluster)
                .copyGivesWay(uses -> Placement.STANDARD.givesWayFirst(true, true, uses))
                .wakeup(wakeup));
        if (cluster != null) {
            try {
                cluster.join(store);
            } catch (final RuntimeException e) {
                cluster.close();
                store.shutdown(config.node().shutdownLimit().toNanos());
                throw e;
            }
        }
        storeMetrics = new StoreMetrics(store.admin(), registry);
        clusterMetrics = cluster == null
                ? null
                : new ClusterMetrics(cluster, store.admin().counters(), registry);
        return store;
    }

    private void run() {
        try {
            stalls.attach();
            serve();
            if (cluster != null) {
                clusterMetrics.sample();
            }
            health = new Health(false, "stopping");
            // Before the cluster is left, which may take seconds: an engine that asks meanwhile is told at once.
            server.closeConnections();
            closeCluster();
            server.shutdown(config.node().shutdownLimit().toNanos());
        } catch (final Throwable e) {
            LOG.error("The engine thread failed", e);
            failure.completeExceptionally(e);
            server.close();
            closeCluster();
        } finally {
            health = new Health(false, "stopped");
            stalls.close();
            socket.close();
            ended.countDown();
            LOG.info("The node has stopped");
        }
    }

    /** Owner thread: whether what only this node has is still being moved to others. */
    private boolean isDraining() {
        if (cluster == null || config.cluster().drainLimit().isZero()) {
            return false;
        }
        final long nowNs = System.nanoTime();
        cluster.drain(nowNs + config.cluster().drainLimit().toNanos());
        return !cluster.isDrained(nowNs);
    }

    private void closeCluster() {
        if (cluster != null) {
            cluster.close();
        }
    }

    private void serve() {
        DutyCycle.run(
                new DutyCycle.Worker() {
                    @Override
                    public long spinNs() {
                        return server.spinNs();
                    }

                    @Override
                    public int doWork() {
                        return Node.this.doWork();
                    }

                    @Override
                    public int await() {
                        return server.await(cluster != null && cluster.isBusy() ? BUSY_MS : IDLE_MS);
                    }
                },
                () -> !stopping || isDraining());
    }

    /** Owner thread. */
    private int doWork() {
        final int work = server.doWork();
        final long nowNs = System.nanoTime();
        if (nowNs - sampledNs >= SAMPLE_NS) {
            sampledNs = nowNs;
            storeMetrics.sample();
            String about = server.describeStore();
            if (cluster != null) {
                clusterMetrics.sample();
                about += "; " + cluster.describe();
            }
            health = new Health(server.isReady(), about);
        }
        return work;
    }
}
