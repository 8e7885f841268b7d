package io.kvasir.node.cluster;

import io.kvasir.node.cluster.directory.DirectoryCounters;
import io.kvasir.storage.metrics.StorageCounters;
import io.kvasir.transport.LinkCounters;
import io.prometheus.client.Collector;
import io.prometheus.client.CollectorRegistry;
import io.prometheus.client.CounterMetricFamily;
import io.prometheus.client.GaugeMetricFamily;
import io.prometheus.client.Histogram;
import java.util.ArrayList;
import java.util.List;

/** The cluster's figures as metrics. The owner of the store calls {@link #sample} for what only it may read. */
public final class ClusterMetrics extends Collector {
    private static final double[] SECONDS = {
        250e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 20e-3, 50e-3, 0.1, 0.2, 0.5, 1, 2, 5
    };

    private final Cluster cluster;
    private volatile long[] announced = new long[3];
    private volatile Drain.Progress drained = Drain.Progress.NONE;

    public ClusterMetrics(final Cluster cluster, final StorageCounters storage, final CollectorRegistry registry) {
        this.cluster = cluster;
        final Histogram.Child pulls = Histogram.build(
                        "kvasir_node_pull_seconds", "Time from the wish for a remote object to its outcome.")
                .buckets(SECONDS)
                .register(registry)
                .labels();
        final Histogram.Child regret = Histogram.build(
                        "kvasir_node_pull_regret_seconds",
                        "How much longer a pull took than was worth waiting for; 0 when it was in time.")
                .buckets(SECONDS)
                .register(registry)
                .labels();
        final Histogram.Child lookups = Histogram.build(
                        "kvasir_node_directory_lookup_seconds", "Time from a question to the directory to its answer.")
                .buckets(SECONDS)
                .register(registry)
                .labels();
        cluster.directoryCounters().lookupNanos = nanos -> lookups.observe(nanos / NANOSECONDS_PER_SECOND);
        storage.pullNanos = nanos -> pulls.observe(nanos / NANOSECONDS_PER_SECOND);
        storage.pullRegretNanos = nanos -> regret.observe(nanos / NANOSECONDS_PER_SECOND);
        register(registry);
    }

    /** Owner thread. */
    public void sample() {
        announced = cluster.announced();
        drained = cluster.drained();
    }

    @Override
    public List<MetricFamilySamples> collect() {
        final List<MetricFamilySamples> families = new ArrayList<>();
        final ClusterView view = cluster.view();
        gauge(families, "nodes", "Nodes of the cluster, this one included.", view.size());
        gauge(families, "joined", "1 while this node is in a cluster.", view.directory() == null ? 0 : 1);
        count(
                families,
                "ignite_starts",
                "Starts of Ignite in this process.",
                cluster.membership().starts());
        gauge(families, "directory_announced_chunks", "Chunks that this node announces.", announced[0]);
        gauge(families, "directory_announced_entries", "Directory entries that name this node.", announced[1]);
        gauge(families, "directory_waiting_entries", "Entries that wait to be announced.", announced[2]);
        final DirectoryCounters directory = cluster.directoryCounters();
        count(families, "directory_updates", "Records sent to the directory.", directory.updates.sum());
        count(families, "directory_failed_updates", "Updates that failed or were late.", directory.failedUpdates.sum());
        count(families, "directory_lookups", "Questions to the directory.", directory.lookups.sum());
        count(families, "directory_lookup_chunks", "Chunks asked for.", directory.lookedUpChunks.sum());
        count(families, "directory_found_chunks", "Chunks that another node has.", directory.foundChunks.sum());
        count(families, "directory_late_lookups", "Questions without an answer in time.", directory.lateLookups.sum());
        count(
                families,
                "directory_copy_reads",
                "Reads of other copies of entries, since the first node that was asked was slow.",
                directory.copyReads.sum());
        count(
                families,
                "directory_missing_found",
                "Own records that the directory lacked.",
                directory.missingFound.sum());
        count(families, "directory_stale_found", "Own records that were not so any more.", directory.staleFound.sum());
        count(
                families,
                "directory_swept_records",
                "Records of gone nodes that were removed.",
                cluster.membership().swept());
        count(
                families,
                "pull_stale",
                "Objects that no holder had any more.",
                cluster.transfers().stale.sum());
        count(
                families,
                "pull_corrupt",
                "Objects that came with wrong bytes.",
                cluster.transfers().corrupt.sum());
        final LastCopies copies = cluster.lastCopies();
        count(families, "moved_objects", "Last copies that a peer took over before eviction.", copies.moved.sum());
        count(families, "moved_bytes", "Bytes of slots of those.", copies.movedBytes.sum());
        count(families, "moves_refused", "Last copies that a peer did not take.", copies.refused.sum());
        count(families, "last_copies_found", "Copies that turned out to be the last ones.", copies.lastOnes.sum());
        gauge(families, "drain_left_objects", "Objects that a leaving node still has to move.", drained.left());
        gauge(families, "drain_moved_objects", "Objects that a leaving node moved.", drained.moved());
        gauge(families, "drain_elsewhere_objects", "Objects that others had already.", drained.elsewhere());
        gauge(families, "drain_lost_objects", "Objects that no other node took.", drained.lost());
        for (final LinkCounters.Counter counter : LinkCounters.Counter.values()) {
            families.add(new GaugeMetricFamily(
                    "kvasir_transport_" + counter.name().toLowerCase(java.util.Locale.ROOT),
                    "The peer link's counter of this name.",
                    (double) cluster.transfers().counters().get(counter)));
        }
        return families;
    }

    private static void gauge(
            final List<MetricFamilySamples> families, final String name, final String help, final long value) {
        families.add(new GaugeMetricFamily("kvasir_node_" + name, help, (double) value));
    }

    private static void count(
            final List<MetricFamilySamples> families, final String name, final String help, final long value) {
        families.add(new CounterMetricFamily("kvasir_node_" + name + "_total", help, (double) value));
    }
}
