package io.kvasir.node.cluster;

import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import java.util.function.Supplier;

/** Settings of a {@link Membership}; concluded once by handing it over. */
public final class ClusterContext {
    private String name = "local";
    private byte[] incarnation;
    private List<String> seeds = List.of();
    private String host = "127.0.0.1";
    private int port;
    private ClusterSecret secret = new ClusterSecret("");
    private Duration failureTimeout = Duration.ofSeconds(5);
    private long directoryBytes = 64L << 20;
    private Duration probeInterval = Duration.ofSeconds(2);
    private Duration sweepInterval = Duration.ofMillis(100);
    private Path workDirectory;
    private Consumer<ClusterView> onView = view -> {};
    private Consumer<Audit> onAudit = audit -> {};
    private Supplier<long[]> status = () -> new long[0];
    private BiConsumer<Long, long[]> onStatus = (holder, status) -> {};

    /** Another node found records of this one in its part of the directory. */
    public record Audit(long[] keys, long[] sequences) {}

    /** What this node tells the others about once a second; any thread. */
    public ClusterContext status(final Supplier<long[]> value) {
        status = value;
        return this;
    }

    Supplier<long[]> status() {
        return status;
    }

    /** Hears what others tell, on a thread of Ignite; must not block. */
    public ClusterContext onStatus(final BiConsumer<Long, long[]> value) {
        onStatus = value;
        return this;
    }

    BiConsumer<Long, long[]> onStatus() {
        return onStatus;
    }

    ClusterContext conclude() {
        require(incarnation != null && incarnation.length == 16, "the incarnation has 16 bytes");
        require(!seeds.isEmpty(), "cluster.seeds is empty");
        require(port > 0 && port <= 65_535 - Ports.PROBE, "cluster.address has no usable port: " + port);
        require(workDirectory != null, "the work directory is not set");
        return this;
    }

    private static void require(final boolean holds, final String message) {
        if (!holds) {
            throw new IllegalArgumentException(message);
        }
    }

    /** For people. */
    public ClusterContext name(final String value) {
        name = value;
        return this;
    }

    String name() {
        return name;
    }

    public ClusterContext incarnation(final byte[] value) {
        incarnation = Arrays.copyOf(value, value.length);
        return this;
    }

    String incarnation() {
        return HexFormat.of().formatHex(incarnation);
    }

    long holder() {
        return Peer.holder(incarnation);
    }

    /** HOST:PORT each. */
    public ClusterContext seeds(final List<String> value) {
        seeds = List.copyOf(value);
        return this;
    }

    List<String> seeds() {
        return seeds;
    }

    /** Where other nodes reach this one; the first of its four ports. */
    public ClusterContext address(final String hostname, final int first) {
        host = hostname;
        port = first;
        return this;
    }

    String host() {
        return host;
    }

    int port() {
        return port;
    }

    public ClusterContext secret(final ClusterSecret value) {
        secret = value;
        return this;
    }

    ClusterSecret secret() {
        return secret;
    }

    public ClusterContext failureTimeout(final Duration value) {
        failureTimeout = value;
        return this;
    }

    Duration failureTimeout() {
        return failureTimeout;
    }

    public ClusterContext directoryBytes(final long value) {
        directoryBytes = value;
        return this;
    }

    long directoryBytes() {
        return directoryBytes;
    }

    /** How often the seeds are asked whether they are in another cluster. */
    public ClusterContext probeInterval(final Duration value) {
        probeInterval = value;
        return this;
    }

    Duration probeInterval() {
        return probeInterval;
    }

    /** Between two partitions of this node's part of the directory that are gone through. */
    public ClusterContext sweepInterval(final Duration value) {
        sweepInterval = value;
        return this;
    }

    Duration sweepInterval() {
        return sweepInterval;
    }

    /** Where Ignite keeps small files; removed at the end. */
    public ClusterContext workDirectory(final Path value) {
        workDirectory = value;
        return this;
    }

    Path workDirectory() {
        return workDirectory;
    }

    /** Hears every change of who is there, on the membership's thread; must not block. */
    public ClusterContext onView(final Consumer<ClusterView> value) {
        onView = value;
        return this;
    }

    Consumer<ClusterView> onView() {
        return onView;
    }

    /** Hears what others found, on a thread of Ignite; must not block. */
    public ClusterContext onAudit(final Consumer<Audit> value) {
        onAudit = value;
        return this;
    }

    Consumer<Audit> onAudit() {
        return onAudit;
    }
}
