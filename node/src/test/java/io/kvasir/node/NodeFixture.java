package io.kvasir.node;

import io.kvasir.node.config.ConfigLoader;
import io.kvasir.node.config.NodeConfig;
import io.prometheus.client.CollectorRegistry;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import java.util.stream.Stream;

/** A real node on a real socket in directories of its own. */
final class NodeFixture implements AutoCloseable {
    private static final long BOUND_NS = TimeUnit.SECONDS.toNanos(20);

    final Path directory;
    final NodeConfig config;
    Node node;

    NodeFixture(final String... sets) throws IOException {
        directory = Files.createTempDirectory(Path.of("/dev/shm"), "kvasir-node-test-");
        final List<String> all = new ArrayList<>(List.of(
                "engine.socket=" + directory.resolve("e.sock"),
                "dram.directory=" + directory.resolve("dram"),
                "dram.capacity=32MiB",
                "ssd.capacity=0",
                "ssd.directory=" + directory.resolve("ssd"),
                "http.address=off"));
        all.addAll(List.of(sets));
        config = ConfigLoader.load(null, Map.of(), all).config();
        start();
    }

    /** At once: each may take its time to leave a cluster. */
    static void closeAll(final List<NodeFixture> nodes) {
        nodes.parallelStream().forEach(each -> {
            try {
                each.close();
            } catch (final IOException e) {
                throw new AssertionError(e);
            }
        });
    }

    void start() {
        node = Node.start(config, new CollectorRegistry());
    }

    Path socket() {
        return config.engine().socket();
    }

    EngineClient attached() throws IOException {
        return EngineClient.attached(socket());
    }

    double metric(final String name, final String label, final String value) {
        final Double found = label == null
                ? node.registry().getSampleValue(name)
                : node.registry().getSampleValue(name, new String[] {label}, new String[] {value});
        return found == null ? Double.NaN : found;
    }

    double faults(final String reason) {
        return metric("kvasir_node_faults_total", "reason", reason);
    }

    /** Polls within a bound. */
    static void await(final String what, final BooleanSupplier condition) {
        final long end = System.nanoTime() + BOUND_NS;
        while (!condition.getAsBoolean()) {
            if (System.nanoTime() > end) {
                throw new AssertionError("not in time: " + what);
            }
            LockSupport.parkNanos(1_000_000);
        }
    }

    @Override
    public void close() throws IOException {
        node.close();
        try (Stream<Path> paths = Files.walk(directory)) {
            for (final Path path : paths.sorted(Comparator.reverseOrder()).toList()) {
                Files.delete(path);
            }
        }
    }
}
