package io.kvasir.node;

import io.kvasir.node.config.ConfigLoader;
import io.prometheus.client.CollectorRegistry;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/** A real node in a process of its own, with the heap and the other flags that a node is shipped with. */
final class NodeChild implements AutoCloseable {
    private final Path directory;
    private final Process process;

    NodeChild(final String... sets) throws IOException {
        directory = Files.createTempDirectory(Path.of("/dev/shm"), "kvasir-node-child-");
        final List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.addAll(ManagementFactory.getRuntimeMXBean().getInputArguments());
        command.removeIf(argument ->
                argument.startsWith("-javaagent") || argument.startsWith("-agentlib") || argument.startsWith("-Xmx"));
        command.add("@" + Path.of("..", "ops", "node.jvm.args"));
        command.addAll(List.of("-cp", System.getProperty("java.class.path"), NodeChild.class.getName()));
        command.addAll(List.of(
                "engine.socket=" + socket(),
                "dram.directory=" + directory.resolve("dram"),
                "dram.capacity=64MiB",
                "ssd.capacity=0",
                "ssd.directory=" + directory.resolve("ssd"),
                "http.address=off"));
        command.addAll(List.of(sets));
        process = new ProcessBuilder(command)
                .redirectErrorStream(true)
                .redirectOutput(log().toFile())
                .start();
        NodeFixture.await("the child's start", () -> accepts() || !process.isAlive());
        check();
    }

    public static void main(final String[] sets) throws IOException {
        try (Node node =
                Node.start(ConfigLoader.load(null, Map.of(), List.of(sets)).config(), new CollectorRegistry())) {
            // Until the parent ends, however it does.
            final int end = System.in.read();
            assert end < 0 && node != null;
        }
    }

    private boolean accepts() {
        try (EngineClient client = new EngineClient(socket())) {
            return client.channel.isConnected();
        } catch (final IOException notYet) {
            return false;
        }
    }

    Path socket() {
        return directory.resolve("e.sock");
    }

    private Path log() {
        return directory.resolve("log");
    }

    EngineClient attached() throws IOException {
        return EngineClient.attached(socket());
    }

    /** Fails with the log when the process has ended. */
    void check() throws IOException {
        if (!process.isAlive()) {
            throw new AssertionError("the node has ended: " + Files.readString(log()));
        }
    }

    @Override
    public void close() throws IOException {
        process.getOutputStream().close();
        try {
            process.onExit().get(20, java.util.concurrent.TimeUnit.SECONDS);
        } catch (final java.util.concurrent.ExecutionException
                | java.util.concurrent.TimeoutException
                | InterruptedException e) {
            process.destroyForcibly();
        }
        try (Stream<Path> paths = Files.walk(directory)) {
            for (final Path path : paths.sorted(Comparator.reverseOrder()).toList()) {
                Files.deleteIfExists(path);
            }
        }
    }
}
