package io.kvasir.node.cluster;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.HttpURLConnection;
import java.net.InetSocketAddress;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.security.SecureRandom;
import java.util.HexFormat;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.Consumer;
import java.util.function.Supplier;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.json.JsonMapper;

/**
 * Two nodes that are not in one cluster tell each other what cluster they are in, over HTTP. Both prove the secret, so
 * that a stranger learns nothing and can tell nothing.
 */
final class SplitProbe implements AutoCloseable {
    /**
     * @param cluster the cluster's id; empty while the node is in none
     * @param addresses HOST:PORT of its nodes
     */
    record Sighting(String cluster, int size, String node, List<String> addresses) {}

    private static final String PATH = "/cluster";
    private static final String PROOF = "Kvasir-Proof";
    private static final String NONCE = "Kvasir-Nonce";
    private static final int MOST_BYTES = 256 << 10;
    private static final int TIMEOUT_MS = 1000;

    private final ClusterSecret secret;
    private final Supplier<Sighting> self;
    private final Consumer<Sighting> seen;
    private final HttpServer http;
    private final ExecutorService executor = Executors.newVirtualThreadPerTaskExecutor();
    private final SecureRandom random = new SecureRandom();

    /** @param seen hears of every other node that asked or was asked; any thread */
    SplitProbe(
            final InetSocketAddress address,
            final ClusterSecret secret,
            final Supplier<Sighting> self,
            final Consumer<Sighting> seen)
            throws IOException {
        this.secret = secret;
        this.self = self;
        this.seen = seen;
        http = HttpServer.create(address, 0);
        http.setExecutor(executor);
        http.createContext(PATH, this::answer);
        http.start();
    }

    private void answer(final HttpExchange exchange) throws IOException {
        try (exchange) {
            final String nonce = exchange.getRequestHeaders().getFirst(NONCE);
            final String body = read(exchange.getRequestBody());
            if (nonce == null || !secret.isProof(exchange.getRequestHeaders().getFirst(PROOF), "asks", nonce + body)) {
                exchange.sendResponseHeaders(HttpURLConnection.HTTP_FORBIDDEN, -1);
                return;
            }
            final String mine = JsonMapper.shared().writeValueAsString(self.get());
            exchange.getResponseHeaders().set(PROOF, secret.prove("answers", nonce + mine));
            final byte[] bytes = mine.getBytes(StandardCharsets.UTF_8);
            exchange.sendResponseHeaders(HttpURLConnection.HTTP_OK, bytes.length);
            exchange.getResponseBody().write(bytes);
            seen.accept(JsonMapper.shared().readValue(body, Sighting.class));
        } catch (final JacksonException unreadable) {
            exchange.sendResponseHeaders(HttpURLConnection.HTTP_BAD_REQUEST, -1);
        }
    }

    /**
     * Asks a node, within two seconds.
     *
     * @param address HOST:PORT of its membership
     * @throws IOException when nobody answers there, or not with a proof
     */
    void ask(final InetSocketAddress address) throws IOException {
        final byte[] drawn = new byte[16];
        random.nextBytes(drawn);
        final String nonce = HexFormat.of().formatHex(drawn);
        final String mine = JsonMapper.shared().writeValueAsString(self.get());
        final String host = address.getAddress().getHostAddress();
        final HttpURLConnection connection = (HttpURLConnection) URI.create("http://"
                        + (host.indexOf(':') >= 0 ? "[" + host + "]" : host)
                        + ":" + (address.getPort() + Ports.PROBE) + PATH)
                .toURL()
                .openConnection();
        try {
            connection.setConnectTimeout(TIMEOUT_MS);
            connection.setReadTimeout(TIMEOUT_MS);
            connection.setRequestMethod("POST");
            connection.setDoOutput(true);
            connection.setRequestProperty(NONCE, nonce);
            connection.setRequestProperty(PROOF, secret.prove("asks", nonce + mine));
            try (OutputStream out = connection.getOutputStream()) {
                out.write(mine.getBytes(StandardCharsets.UTF_8));
            }
            if (connection.getResponseCode() == HttpURLConnection.HTTP_FORBIDDEN) {
                throw new IOException("it has another cluster.secret");
            }
            final String body = read(connection.getInputStream());
            if (!secret.isProof(connection.getHeaderField(PROOF), "answers", nonce + body)) {
                throw new IOException("it does not prove to know cluster.secret");
            }
            seen.accept(JsonMapper.shared().readValue(body, Sighting.class));
        } catch (final JacksonException unreadable) {
            throw new IOException("its answer cannot be read", unreadable);
        } finally {
            connection.disconnect();
        }
    }

    private static String read(final InputStream in) throws IOException {
        return new String(in.readNBytes(MOST_BYTES), StandardCharsets.UTF_8);
    }

    @Override
    public void close() {
        http.stop(0);
        executor.shutdownNow();
    }
}
