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
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.Supplier;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.json.JsonMapper;

/**
 * Two nodes that are not in one cluster tell each other what cluster they are in, over HTTP. Both prove the secret, so
 * that a stranger learns nothing and can tell nothing. Who asks gets a challenge first, and proves the secret over that and
 * what it tells: a challenge counts once, so that a recorded request changes nothing when it is sent again. Who answers
 * proves the secret over the nonce of the one who asked.
 */
final class SplitProbe implements AutoCloseable {
    /**
     * @param cluster the cluster's id; empty while the node is in none
     * @param addresses HOST:PORT of its nodes
     */
    record Sighting(String cluster, int size, String node, List<String> addresses) {}

    private static final String PATH = "/cluster";
    private static final String ASKS = "asks";
    private static final String REFUSES = "it has another cluster.secret, or another version of Kvasir";
    private static final String PROOF = "Kvasir-Proof";
    private static final String NONCE = "Kvasir-Nonce";
    private static final String CHALLENGE = "Kvasir-Challenge";
    /** A challenge is answered within this time or not at all: many times what two requests take. */
    private static final long CHALLENGE_NS = TimeUnit.SECONDS.toNanos(10);

    private static final int MOST_BYTES = 256 << 10;
    private static final int TIMEOUT_MS = 1000;

    private final ClusterSecret secret;
    private final Supplier<Sighting> self;
    private final Consumer<Sighting> seen;
    private final HttpServer http;
    private final ExecutorService executor = Executors.newVirtualThreadPerTaskExecutor();
    private final SecureRandom random = new SecureRandom();
    /** Marks challenges as this process's own, so that it keeps none of them before they are answered. */
    private final ClusterSecret own = new ClusterSecret(drawn());
    /** Challenges that were answered, and when they were made; only members add to it. */
    private final Map<String, Long> answered = new ConcurrentHashMap<>();

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
            if (nonce == null) {
                exchange.getResponseHeaders().set(CHALLENGE, challenge());
                exchange.sendResponseHeaders(HttpURLConnection.HTTP_NO_CONTENT, -1);
                return;
            }
            final String challenge = exchange.getRequestHeaders().getFirst(CHALLENGE);
            final String body = read(exchange.getRequestBody());
            if (challenge == null
                    || !secret.isProof(
                            exchange.getRequestHeaders().getFirst(PROOF), ASKS, asking(challenge, nonce, body))
                    || !isUnused(challenge)) {
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

    private String challenge() {
        final String text = Long.toHexString(System.nanoTime()) + "." + drawn();
        return text + "." + own.prove("challenge", text);
    }

    /** Whether this process made the challenge a moment ago, and nobody has answered it; now somebody has. */
    private boolean isUnused(final String challenge) {
        final int end = challenge.lastIndexOf('.');
        if (end < 0 || !own.isProof(challenge.substring(end + 1), "challenge", challenge.substring(0, end))) {
            return false;
        }
        final long nowNs = System.nanoTime();
        final long madeNs = Long.parseUnsignedLong(challenge.substring(0, challenge.indexOf('.')), 16);
        answered.values().removeIf(each -> nowNs - each > CHALLENGE_NS);
        return nowNs - madeNs <= CHALLENGE_NS && answered.putIfAbsent(challenge, madeNs) == null;
    }

    /** What is proven; nodes of two versions, which do not join, do not hear each other either. */
    private static String asking(final String challenge, final String nonce, final String body) {
        return IgniteInstance.VERSION + "\n" + challenge + "\n" + nonce + "\n" + body;
    }

    private String drawn() {
        final byte[] bytes = new byte[16];
        random.nextBytes(bytes);
        return HexFormat.of().formatHex(bytes);
    }

    /**
     * Asks a node, within four seconds.
     *
     * @param address HOST:PORT of its membership
     * @throws IOException when nobody answers there, or not with a proof
     */
    void ask(final InetSocketAddress address) throws IOException {
        final String nonce = drawn();
        final String challenge = challengeOf(address);
        final String mine = JsonMapper.shared().writeValueAsString(self.get());
        final HttpURLConnection connection = connect(address);
        try {
            connection.setRequestMethod("POST");
            connection.setDoOutput(true);
            connection.setRequestProperty(NONCE, nonce);
            connection.setRequestProperty(CHALLENGE, challenge);
            connection.setRequestProperty(PROOF, secret.prove(ASKS, asking(challenge, nonce, mine)));
            try (OutputStream out = connection.getOutputStream()) {
                out.write(mine.getBytes(StandardCharsets.UTF_8));
            }
            if (connection.getResponseCode() == HttpURLConnection.HTTP_FORBIDDEN) {
                throw new IOException(REFUSES);
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

    private static String challengeOf(final InetSocketAddress address) throws IOException {
        final HttpURLConnection connection = connect(address);
        try {
            final String challenge = connection.getHeaderField(CHALLENGE);
            if (challenge == null) {
                // Also after an answer of another form, whose reason the status line has.
                throw new IOException(
                        connection.getResponseCode() == HttpURLConnection.HTTP_FORBIDDEN ? REFUSES : "no Kvasir node");
            }
            return challenge;
        } finally {
            connection.disconnect();
        }
    }

    private static HttpURLConnection connect(final InetSocketAddress address) throws IOException {
        final String host = address.getAddress().getHostAddress();
        final HttpURLConnection connection = (HttpURLConnection) URI.create("http://"
                        + (host.indexOf(':') >= 0 ? "[" + host + "]" : host)
                        + ":" + (address.getPort() + Ports.PROBE) + PATH)
                .toURL()
                .openConnection();
        connection.setConnectTimeout(TIMEOUT_MS);
        connection.setReadTimeout(TIMEOUT_MS);
        return connection;
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
