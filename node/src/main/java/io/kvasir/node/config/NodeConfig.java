package io.kvasir.node.config;

import io.kvasir.storage.policy.PolicyKind;
import io.kvasir.storage.tenant.TenantShare;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/** A node's settings, checked and complete. {@link ConfigLoader} makes it; the schema describes each. */
public record NodeConfig(
        Node node,
        Engine engine,
        Dram dram,
        Ssd ssd,
        Lease lease,
        Reserve reserve,
        Cluster cluster,
        List<Tenant> tenants,
        Http http,
        Log log) {

    /** Of slots that one attachment may have reserved. */
    public long reserveBytes() {
        return reserve.quotaBytes == 0 ? dram.capacityBytes() / 4 : reserve.quotaBytes;
    }

    /** The largest object that can be stored. */
    public long largestObjectBytes() {
        return Math.min(reserveBytes(), dram.capacityBytes());
    }

    /** @param temporaryDirectories the first that can be used is taken */
    public record Node(String name, Duration shutdownLimit, List<Path> temporaryDirectories) {}

    public record Engine(
            Path socket,
            int maxConnections,
            int maxFrameBytes,
            Duration defaultDeadline,
            Duration spin,
            Duration busySpin,
            Duration stallLimit,
            int eventsKept) {}

    public record Dram(Path directory, long capacityBytes, long regionBytes, PolicyKind policy) {}

    /**
     * Capacity 0: there is no SSD tier.
     *
     * @param objects most that are there at once
     * @param inFlightBytes on their way from and to it at a time; 0: what DRAM's capacity makes usual
     */
    public record Ssd(
            Path directory,
            long capacityBytes,
            long extentBytes,
            int objects,
            int readThreads,
            long inFlightBytes,
            boolean directIo) {}

    public record Lease(Duration standard, Duration max, double quota) {}

    /** @param quotaBytes 0: a quarter of DRAM */
    public record Reserve(long quotaBytes, Duration deadline) {}

    /**
     * @param seeds HOST:PORT each; empty: no cluster
     * @param host under which other nodes reach this one
     * @param port the first of the node's four
     * @param inFlightBytes on their way to and from other nodes at a time; 0: what DRAM's capacity makes usual
     */
    public record Cluster(
            List<String> seeds,
            String host,
            int port,
            String secret,
            Duration failureTimeout,
            long directoryBytes,
            Duration directoryDeadline,
            int announceRate,
            Duration drainLimit,
            long moveRateBytes,
            long inFlightBytes,
            Duration pullDeadline) {
        public boolean isEnabled() {
            return !seeds.isEmpty();
        }

        /** Without the secret. */
        @Override
        public String toString() {
            return "Cluster[seeds=" + seeds + ", address=" + host + ":" + port + ", secret="
                    + (secret.isEmpty() ? "none" : "set") + "]";
        }
    }

    /**
     * @param user name or uid; empty: any, with the token
     * @param group name or gid; empty: the peer's own
     * @param token empty: none is asked for
     */
    public record Tenant(String name, String user, String group, String token, TenantShare share) {
        /** Without the token. */
        @Override
        public String toString() {
            return "Tenant[name=" + name + ", user=" + user + ", group=" + group + ", token="
                    + (token.isEmpty() ? "none" : "set") + ", " + share + "]";
        }
    }

    /** By tenant. */
    public Map<String, TenantShare> tenantShares() {
        return tenants.stream().collect(Collectors.toMap(Tenant::name, Tenant::share));
    }

    /** Null host: no HTTP. */
    public record Http(String host, int port) {}

    public record Log(String level, String format) {}
}
