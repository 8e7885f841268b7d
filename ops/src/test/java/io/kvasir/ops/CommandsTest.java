package io.kvasir.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.node.Node;
import io.kvasir.node.config.ConfigLoader;
import io.kvasir.node.config.NodeConfig;
import io.prometheus.client.CollectorRegistry;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import picocli.CommandLine;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

@Timeout(60)
class CommandsTest {
    private final StringWriter out = new StringWriter();
    private final StringWriter err = new StringWriter();

    @Test
    void printsTheConfigurationThatItWouldUse() {
        assertEquals(0, run("node", "--print-config", "--set", "dram.capacity=64MiB"));
        assertTrue(out.toString().contains("capacity: \"64MiB\""), out::toString);
    }

    @Test
    void everyWrongKeyIsToldWithTheNearest() {
        assertEquals(2, run("node", "--set", "dram.capasity=1GiB", "--set", "ssd.extend=1GiB"));
        assertTrue(err.toString().contains("the nearest is dram.capacity"), err::toString);
        assertTrue(err.toString().contains("the nearest is ssd.extent"), err::toString);
    }

    @Test
    void everyCommandHasHelp() {
        assertEquals(0, run("--help"));
        assertEquals(0, run("node", "--help"));
        assertEquals(0, run("doctor", "--help"));
        assertTrue(out.toString().contains("--print-config"));
    }

    @Test
    void theDoctorSaysWhatToDo() {
        assertEquals(1, run("doctor", "--json", "--set", "dram.capacity=4096TiB", "--set", "ssd.capacity=0"));
        final JsonNode findings = JsonMapper.shared().readTree(out.toString());
        assertEquals(13, findings.size());
        for (final JsonNode finding : findings) {
            assertEquals(
                    "ok".equals(finding.get("status").asString()),
                    finding.get("advice").asString().isEmpty(),
                    finding::toString);
        }
        assertEquals("fail", findings.get(1).get("status").asString());
    }

    @Test
    void servesMetricsAndHealth() throws IOException, InterruptedException {
        final Path directory = Files.createTempDirectory(Path.of("/dev/shm"), "kvasir-ops-test-");
        final NodeConfig config = ConfigLoader.load(
                        null,
                        Map.of(),
                        List.of(
                                "engine.socket=" + directory.resolve("e.sock"),
                                "dram.directory=" + directory.resolve("dram"),
                                "dram.capacity=16MiB",
                                "ssd.capacity=0",
                                "http.address=127.0.0.1:0"))
                .config();
        try (Node node = Node.start(config, new CollectorRegistry());
                MetricsServer metrics = MetricsServer.start(config.http(), node);
                HttpClient client = HttpClient.newHttpClient()) {
            final HttpResponse<String> scraped = get(client, metrics, "/metrics");
            assertEquals(200, scraped.statusCode());
            assertTrue(scraped.body().contains("kvasir_storage_dram_capacity_bytes 1.6777216E7"));
            assertTrue(scraped.body().contains("kvasir_node_faults_total{reason=\"frame_length\",} 0.0"));
            assertEquals(200, get(client, metrics, "/health/live").statusCode());
            while (get(client, metrics, "/health/ready").statusCode() != 200) {
                Thread.onSpinWait();
            }
            assertEquals(404, get(client, metrics, "/else").statusCode());
            node.stop();
            final HttpResponse<String> stopped = get(client, metrics, "/health/ready");
            assertEquals(503, stopped.statusCode());
            assertEquals(
                    "stopped",
                    JsonMapper.shared().readTree(stopped.body()).get("reason").asString());
        } finally {
            try (Stream<Path> paths = Files.walk(directory)) {
                for (final Path path : paths.sorted(Comparator.reverseOrder()).toList()) {
                    Files.delete(path);
                }
            }
        }
    }

    private static HttpResponse<String> get(final HttpClient client, final MetricsServer server, final String path)
            throws IOException, InterruptedException {
        return client.send(
                HttpRequest.newBuilder(URI.create("http://" + server.address() + path))
                        .build(),
                HttpResponse.BodyHandlers.ofString());
    }

    private int run(final String... args) {
        final CommandLine line = Kvasir.commandLine();
        line.setOut(new PrintWriter(out, true));
        line.setErr(new PrintWriter(err, true));
        return line.execute(args);
    }
}
