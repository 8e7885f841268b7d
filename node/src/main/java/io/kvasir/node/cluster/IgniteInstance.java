package io.kvasir.node.cluster;

import io.kvasir.node.cluster.directory.IgniteDirectory;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import org.apache.ignite.Ignite;
import org.apache.ignite.Ignition;
import org.apache.ignite.cluster.ClusterGroup;
import org.apache.ignite.cluster.ClusterNode;
import org.apache.ignite.cluster.ClusterTopologyException;
import org.apache.ignite.configuration.DataPageEvictionMode;
import org.apache.ignite.configuration.DataRegionConfiguration;
import org.apache.ignite.configuration.DataStorageConfiguration;
import org.apache.ignite.configuration.IgniteConfiguration;
import org.apache.ignite.configuration.SystemDataRegionConfiguration;
import org.apache.ignite.events.EventType;
import org.apache.ignite.failure.AbstractFailureHandler;
import org.apache.ignite.failure.FailureContext;
import org.apache.ignite.plugin.segmentation.SegmentationPolicy;
import org.apache.ignite.spi.communication.tcp.TcpCommunicationSpi;
import org.apache.ignite.spi.discovery.tcp.TcpDiscoverySpi;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** One start of Ignite, until it is stopped; {@link Membership} replaces it. */
final class IgniteInstance implements AutoCloseable {
    /** Of what nodes say to each other; nodes of two versions do not join. */
    static final String VERSION = "2";

    static final String INCARNATION = "kvasir.incarnation";
    static final String NAME = "kvasir.name";
    static final String HOST = "kvasir.host";
    static final String PORT = "kvasir.port";
    static final String PROOF = "kvasir.proof";
    static final String PROTOCOL = "kvasir.protocol";

    private static final Logger LOG = LoggerFactory.getLogger(IgniteInstance.class);
    private static final String AUDIT = "kvasir-audit";
    private static final String STATUS = "kvasir-status";
    private static final String REGION = "directory";
    private static final int SYSTEM_REGION_BYTES = 10 << 20;
    private static final int SYSTEM_REGION_MOST = 32 << 20;
    private static final long JOIN_MS = 15_000;

    static {
        // Read by Ignite when its classes are loaded, which is here.
        System.setProperty("IGNITE_NO_SHUTDOWN_HOOK", "true");
        System.setProperty("IGNITE_UPDATE_NOTIFIER", "false");
        System.setProperty("IGNITE_NO_ASCII", "true");
        System.setProperty("IGNITE_QUIET", "false");
        System.setProperty("IGNITE_PERFORMANCE_SUGGESTIONS_DISABLED", "true");
        System.setProperty("IGNITE_LOG_CLASSPATH_CONTENT_ON_STARTUP", "false");
        // Else a read may go to the backup, and a read of the backup in place of a slow node would ask the same one
        // again.
        System.setProperty("IGNITE_READ_LOAD_BALANCING", "false");
    }

    private final Ignite ignite;
    private final SecretPlugin secrets;
    private final IgniteDirectory directory;

    private IgniteInstance(final Ignite ignite, final SecretPlugin secrets) {
        this.ignite = ignite;
        this.secrets = secrets;
        directory = new IgniteDirectory(ignite);
    }

    /**
     * Starts and joins who is at the seeds, or is a cluster of one. Takes seconds.
     *
     * @param serial counts the starts in this process
     * @param failed hears why this instance is of no use any more
     * @param changed hears that nodes joined or left
     */
    static IgniteInstance start(
            final ClusterContext context,
            final List<String> seeds,
            final int serial,
            final Consumer<String> failed,
            final Runnable changed) {
        final SecretPlugin secrets = new SecretPlugin(context.secret());
        final IgniteConfiguration configuration = configuration(context, seeds, serial, failed, secrets);
        final Ignite ignite = Ignition.start(configuration);
        try {
            ignite.events()
                    .localListen(
                            event -> {
                                changed.run();
                                return true;
                            },
                            EventType.EVT_NODE_JOINED,
                            EventType.EVT_NODE_LEFT,
                            EventType.EVT_NODE_FAILED);
            ignite.message().localListen(AUDIT, (sender, message) -> {
                if (message instanceof long[][] audit && audit.length == 2 && audit[0].length == audit[1].length) {
                    context.onAudit().accept(new ClusterContext.Audit(audit[0], audit[1]));
                }
                return true;
            });
            ignite.message().localListen(STATUS, (sender, message) -> {
                if (message instanceof long[] status && status.length > 1) {
                    context.onStatus().accept(status[0], Arrays.copyOfRange(status, 1, status.length));
                }
                return true;
            });
            final IgniteInstance instance = new IgniteInstance(ignite, secrets);
            instance.requireMembers();
            return instance;
        } catch (final RuntimeException failure) {
            Ignition.stop(ignite.name(), true);
            throw failure;
        }
    }

    private static IgniteConfiguration configuration(
            final ClusterContext context,
            final List<String> seeds,
            final int serial,
            final Consumer<String> failed,
            final SecretPlugin secrets) {
        final String id = context.incarnation() + "-" + serial;
        final Map<String, Object> attributes = new HashMap<>();
        attributes.put(INCARNATION, context.incarnation());
        attributes.put(NAME, context.name());
        attributes.put(HOST, context.host());
        attributes.put(PORT, context.port());
        attributes.put(PROTOCOL, VERSION);
        attributes.put(PROOF, secrets.proof(context.incarnation(), id));

        final TcpDiscoverySpi discovery = new TcpDiscoverySpi();
        discovery.setIpFinder(new SeedFinder(seeds));
        discovery.setLocalAddress(context.host());
        discovery.setLocalPort(context.port() + Ports.MEMBERSHIP);
        discovery.setLocalPortRange(0);
        discovery.setJoinTimeout(JOIN_MS);
        final TcpCommunicationSpi communication = new TcpCommunicationSpi();
        communication.setLocalAddress(context.host());
        communication.setLocalPort(context.port() + Ports.DIRECTORY);
        communication.setLocalPortRange(0);
        communication.setSelectorsCount(1);

        final IgniteConfiguration result = new IgniteConfiguration()
                .setIgniteInstanceName("kvasir-" + id)
                .setConsistentId(id)
                .setUserAttributes(attributes)
                .setPluginProviders(secrets)
                .setGridLogger(new IgniteLog())
                .setWorkDirectory(context.workDirectory().toAbsolutePath().toString())
                .setDiscoverySpi(discovery)
                .setCommunicationSpi(communication)
                .setFailureDetectionTimeout(context.failureTimeout().toMillis())
                .setSegmentationPolicy(SegmentationPolicy.USE_FAILURE_HANDLER)
                .setFailureHandler(new Handler(failed))
                .setMetricsLogFrequency(0)
                .setPeerClassLoadingEnabled(false)
                .setIncludeEventTypes(EventType.EVT_NODE_JOINED, EventType.EVT_NODE_LEFT, EventType.EVT_NODE_FAILED)
                .setAsyncContinuationExecutor(Runnable::run)
                .setDataStorageConfiguration(storage(context.directoryBytes()))
                .setCacheConfiguration(IgniteDirectory.configuration(REGION));
        // Two doors that nobody here uses.
        result.setConnectorConfiguration(null);
        result.setClientConnectorConfiguration(null);
        // The work is small and comes in batches; a thread costs memory.
        result.setPublicThreadPoolSize(2)
                .setSystemThreadPoolSize(4)
                .setStripedPoolSize(2)
                .setManagementThreadPoolSize(1)
                .setPeerClassLoadingThreadPoolSize(1)
                .setQueryThreadPoolSize(1)
                .setDataStreamerThreadPoolSize(1)
                .setRebalanceThreadPoolSize(1)
                .setUtilityCachePoolSize(2);
        return result;
    }

    private static DataStorageConfiguration storage(final long bytes) {
        return new DataStorageConfiguration()
                .setSystemDataRegionConfiguration(new SystemDataRegionConfiguration()
                        .setInitialSize(SYSTEM_REGION_BYTES)
                        .setMaxSize(SYSTEM_REGION_MOST))
                .setDefaultDataRegionConfiguration(new DataRegionConfiguration()
                        .setName(REGION)
                        .setInitialSize(Math.min(bytes, 16L << 20))
                        .setMaxSize(bytes)
                        .setMetricsEnabled(true)
                        // Full: old entries give way. Without this, a full region is a failed instance.
                        .setPageEvictionMode(DataPageEvictionMode.RANDOM_LRU));
    }

    /** Says that the instance is of no use; never halts the process. */
    private static final class Handler extends AbstractFailureHandler {
        private final Consumer<String> failed;

        Handler(final Consumer<String> failed) {
            this.failed = failed;
        }

        @Override
        protected boolean handle(final Ignite ignite, final FailureContext failure) {
            failed.accept(failure.type()
                    + (failure.error() == null ? "" : ": " + failure.error().getMessage()));
            return true;
        }
    }

    /** A cluster that this node has joined must know the secret too. */
    private void requireMembers() {
        for (final ClusterNode node : ignite.cluster().nodes()) {
            if (!secrets.isMember(node)) {
                throw new ClusterException("the nodes at the seeds have another cluster.secret (" + node.attribute(NAME)
                        + " at " + node.attribute(HOST) + "); set the same on all nodes");
            }
        }
    }

    IgniteDirectory directory() {
        return directory;
    }

    /** The other nodes, by holder. */
    Map<Long, Peer> peers() {
        final Map<Long, Peer> peers = new HashMap<>();
        for (final ClusterNode node : ignite.cluster().forRemotes().nodes()) {
            final String incarnation = node.attribute(INCARNATION);
            final Integer port = node.attribute(PORT);
            if (secrets.isMember(node) && port != null) {
                final long holder = Peer.holder(incarnation);
                peers.put(
                        holder,
                        new Peer(holder, incarnation, node.attribute(NAME), node.attribute(HOST), port, node.id()));
            }
        }
        return peers;
    }

    /** The same for all nodes of one cluster, and no other. */
    String cluster() {
        final ClusterNode oldest = ignite.cluster().forOldest().node();
        return oldest == null ? "" : oldest.attribute(INCARNATION) + "/" + oldest.consistentId();
    }

    /** Tells a node what this one found of it in the directory. May wait. */
    void audit(final Peer peer, final IgniteDirectory.Held held) {
        send(ignite.cluster().forNodeId(peer.member()), AUDIT, new long[][] {held.keys(), held.sequences()});
    }

    /** Tells all other nodes about this one. May wait. */
    void tell(final long holder, final long[] status) {
        final long[] message = new long[status.length + 1];
        message[0] = holder;
        System.arraycopy(status, 0, message, 1, status.length);
        send(ignite.cluster().forRemotes(), STATUS, message);
    }

    /** To those of them that are still there. */
    private void send(final ClusterGroup nodes, final String topic, final Object message) {
        try {
            ignite.message(nodes).send(topic, message);
        } catch (final ClusterTopologyException gone) {
            LOG.debug("Nobody is there to be told {}", topic, gone);
        }
    }

    /** May take long when the instance is sick. */
    @Override
    public void close() {
        directory.close();
        Ignition.stop(ignite.name(), true);
    }
}
