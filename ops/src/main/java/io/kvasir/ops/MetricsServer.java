package io.kvasir.ops;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import io.kvasir.node.Node;
import io.kvasir.node.NodeException;
import io.kvasir.node.config.NodeConfig;
import io.prometheus.client.exporter.common.TextFormat;
import java.io.IOException;
import java.io.OutputStream;
import java.io.StringWriter;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import tools.jackson.databind.json.JsonMapper;

/** /metrics, /health/live and /health/ready over the JDK's HTTP server; loopback only. */
final class MetricsServer implements AutoCloseable {
    private static final int OK = 200;
    private static final int NOT_FOUND = 404;
    private static final int METHOD_NOT_ALLOWED = 405;
    private static final int UNAVAILABLE = 503;
    private static final String JSON = "application/json";

    private final HttpServer http;
    private final ExecutorService executor;

    private MetricsServer(final HttpServer http, final ExecutorService executor) {
        this.http = http;
        this.executor = executor;
    }

    /** Throws {@link NodeException} when the address cannot be had. */
    static MetricsServer start(final NodeConfig.Http config, final Node node) {
        if (config.host() == null) {
            return new MetricsServer(null, null);
        }
        final InetSocketAddress address = new InetSocketAddress(config.host(), config.port());
        try {
            final HttpServer http = HttpServer.create(address, 0);
            final ExecutorService executor = Executors.newVirtualThreadPerTaskExecutor();
            http.setExecutor(executor);
            http.createContext("/metrics", exchange -> metrics(exchange, node));
            http.createContext("/health/live", exchange -> health(exchange, true, "the process answers", node));
            http.createContext("/health/ready", exchange -> {
                final Node.Health health = node.health();
                health(exchange, health.ready(), health.reason(), node);
            });
            http.createContext(
                    "/",
                    exchange -> answer(
                            exchange, NOT_FOUND, "text/plain", "Try /metrics, /health/live or /health/ready.\n"));
            http.start();
            return new MetricsServer(http, executor);
        } catch (final IOException e) {
            throw new NodeException(
                    "http.address " + config.host() + ":" + config.port() + " cannot be had: " + e.getMessage()
                            + "; set another one, port 0 for any, or off",
                    e);
        }
    }

    /** Null when there is no HTTP. */
    String address() {
        return http == null
                ? null
                : http.getAddress().getAddress().getHostAddress() + ":"
                        + http.getAddress().getPort();
    }

    @Override
    public void close() {
        if (http != null) {
            http.stop(0);
            executor.close();
        }
    }

    private static void metrics(final HttpExchange exchange, final Node node) throws IOException {
        final String type =
                TextFormat.chooseContentType(exchange.getRequestHeaders().getFirst("Accept"));
        final StringWriter text = new StringWriter();
        TextFormat.writeFormat(type, text, node.registry().metricFamilySamples());
        answer(exchange, OK, type, text.toString());
    }

    private static void health(final HttpExchange exchange, final boolean well, final String reason, final Node node)
            throws IOException {
        final Map<String, Object> body = new LinkedHashMap<>();
        body.put("status", well ? "up" : "down");
        body.put("reason", reason);
        body.put("node", node.config().node().name());
        body.put("incarnation", node.incarnation());
        answer(exchange, well ? OK : UNAVAILABLE, JSON, JsonMapper.shared().writeValueAsString(body) + "\n");
    }

    private static void answer(final HttpExchange exchange, final int status, final String type, final String body)
            throws IOException {
        try (exchange) {
            final boolean head = "HEAD".equals(exchange.getRequestMethod());
            if (!head && !"GET".equals(exchange.getRequestMethod())) {
                exchange.getResponseHeaders().set("Allow", "GET, HEAD");
                exchange.sendResponseHeaders(METHOD_NOT_ALLOWED, -1);
                return;
            }
            final byte[] bytes = body.getBytes(StandardCharsets.UTF_8);
            exchange.getResponseHeaders().set("Content-Type", type);
            exchange.sendResponseHeaders(status, head ? -1 : bytes.length);
            if (!head) {
                try (OutputStream out = exchange.getResponseBody()) {
                    out.write(bytes);
                }
            }
        }
    }
}
