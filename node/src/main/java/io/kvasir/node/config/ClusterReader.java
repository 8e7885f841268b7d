package io.kvasir.node.config;

import java.io.IOException;
import java.net.DatagramSocket;
import java.net.Inet6Address;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.UnknownHostException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.function.BiConsumer;
import java.util.function.Function;
import java.util.function.ToLongFunction;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ObjectNode;

/** The keys of {@code cluster}. Resolves no name unless there are seeds. */
final class ClusterReader {
    static final int DEFAULT_PORT = 7800;
    /** Ports that a node takes, from the configured one on. */
    private static final int PORTS = 4;

    private static final String AUTO = "auto";

    private final ObjectNode document;
    private final Function<String, Duration> duration;
    private final ToLongFunction<String> size;
    private final ToLongFunction<String> inFlight;
    private final BiConsumer<String, String> problem;

    ClusterReader(
            final ObjectNode document,
            final Function<String, Duration> duration,
            final ToLongFunction<String> size,
            final ToLongFunction<String> inFlight,
            final BiConsumer<String, String> problem) {
        this.document = document;
        this.duration = duration;
        this.size = size;
        this.inFlight = inFlight;
        this.problem = problem;
    }

    NodeConfig.Cluster read() {
        final List<String> seeds = new ArrayList<>();
        for (final JsonNode seed : at("seeds")) {
            final String text = seed.asString();
            seeds.add(port(text) < 0 ? text + ":" + DEFAULT_PORT : text);
        }
        final String address = at("address").asString();
        String host = "127.0.0.1";
        int port = DEFAULT_PORT;
        if (!AUTO.equals(address)) {
            host = host(address);
            port = port(address) < 0 ? DEFAULT_PORT : port(address);
        } else if (!seeds.isEmpty()) {
            host = towards(seeds.getFirst());
        }
        if (port < 1 || port > 65_535 - PORTS + 1) {
            problem.accept(
                    "cluster.address",
                    "the port must be 1 to " + (65_535 - PORTS + 1) + ": a node takes four in a row");
        }
        final String secret = at("secret").asString();
        if (!seeds.isEmpty()) {
            if (!AUTO.equals(address) && !isOfThisMachine(host)) {
                problem.accept("cluster.address", "this machine has no such address");
            }
            if (secret.isEmpty() && !(isLoopback(host) && seeds.stream().allMatch(seed -> isLoopback(host(seed))))) {
                problem.accept(
                        "cluster.secret",
                        "it must be set, since the cluster has addresses that are not loopback ones; openssl rand -hex"
                                + " 32 makes one, the same for all nodes");
            }
        }
        final Duration failure = duration.apply("cluster.failure_timeout");
        if (failure.toMillis() < 500 || failure.toMinutes() > 10) {
            problem.accept("cluster.failure_timeout", "it must be 500ms to 10m");
        }
        final long directory = size.applyAsLong("cluster.directory_memory");
        if (directory < 16L << 20 || directory > 64L << 30) {
            problem.accept("cluster.directory_memory", "it must be 16MiB to 64GiB");
        }
        return new NodeConfig.Cluster(
                List.copyOf(seeds),
                host,
                port,
                secret,
                failure,
                directory,
                positive("cluster.directory_deadline"),
                at("announce_rate").asInt(),
                duration.apply("cluster.drain_limit"),
                size.applyAsLong("cluster.move_rate"),
                inFlight.applyAsLong("cluster.in_flight"),
                positive("cluster.pull_deadline"));
    }

    private Duration positive(final String key) {
        final Duration value = duration.apply(key);
        if (value.isZero()) {
            problem.accept(key, "it must be longer than 0");
        }
        return value;
    }

    /** This machine's address from which it would speak to the seed; sends nothing. */
    private static String towards(final String seed) {
        try (DatagramSocket socket = new DatagramSocket()) {
            final InetAddress there = InetAddress.getByName(host(seed));
            if (there.isLoopbackAddress()) {
                return there instanceof Inet6Address ? "::1" : "127.0.0.1";
            }
            socket.connect(new InetSocketAddress(there, DEFAULT_PORT));
            return socket.getLocalAddress().getHostAddress();
        } catch (final IOException notYet) {
            return ownName();
        }
    }

    private static String ownName() {
        try {
            return InetAddress.getLocalHost().getHostAddress();
        } catch (final UnknownHostException none) {
            return "127.0.0.1";
        }
    }

    private static boolean isLoopback(final String host) {
        try {
            return InetAddress.getByName(host).isLoopbackAddress();
        } catch (final UnknownHostException unknown) {
            return false;
        }
    }

    private static boolean isOfThisMachine(final String host) {
        try {
            final InetAddress address = InetAddress.getByName(host);
            return address.isLoopbackAddress() || java.net.NetworkInterface.getByInetAddress(address) != null;
        } catch (final IOException unknown) {
            return false;
        }
    }

    static String host(final String address) {
        final int end = address.startsWith("[") ? address.indexOf(']') + 1 : address.lastIndexOf(':');
        return (end <= 0 ? address : address.substring(0, end)).replaceAll("^\\[|\\]$", "");
    }

    /** -1 when there is none. */
    static int port(final String address) {
        final int colon = address.lastIndexOf(':');
        if (colon < 0 || colon < address.lastIndexOf(']')) {
            return -1;
        }
        try {
            return Integer.parseInt(address.substring(colon + 1));
        } catch (final NumberFormatException notANumber) {
            return 0;
        }
    }

    private JsonNode at(final String key) {
        return document.at("/cluster/" + key);
    }
}
