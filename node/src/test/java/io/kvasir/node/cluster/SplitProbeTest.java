package io.kvasir.node.cluster;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.node.cluster.SplitProbe.Sighting;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Two real probes, and somebody between them who records and sends again what was said. */
class SplitProbeTest {
    private static final InetAddress HERE = InetAddress.getLoopbackAddress();
    private static final int PATIENCE_MS = 20_000;

    private final int askedPort = Members.port();
    private final Queue<Sighting> seen = new ConcurrentLinkedQueue<>();
    private final Queue<Sighting> seenByAsker = new ConcurrentLinkedQueue<>();
    private final SplitProbe asked = probe(askedPort, "of-the-asked", "the secret of both", seen);

    private static SplitProbe probe(
            final int port, final String cluster, final String secret, final Queue<Sighting> hears) {
        try {
            return new SplitProbe(
                    new InetSocketAddress(HERE, port + Ports.PROBE),
                    new ClusterSecret(secret),
                    () -> new Sighting(cluster, 1, "00".repeat(16), List.of()),
                    hears::add);
        } catch (final IOException e) {
            throw new IllegalStateException(e);
        }
    }

    @AfterEach
    void close() {
        asked.close();
    }

    /** Passes everything on and keeps what was sent to the node, one element for each connection. */
    private static final class Recorder implements AutoCloseable {
        final Queue<ByteArrayOutputStream> requests = new ConcurrentLinkedQueue<>();
        private final ServerSocket server;
        private final int to;

        Recorder(final int port, final int to) throws IOException {
            server = new ServerSocket(port, 50, HERE);
            this.to = to;
            Thread.ofVirtual().start(this::accept);
        }

        private void accept() {
            try {
                while (true) {
                    final Socket asker = server.accept();
                    final Socket node = new Socket(HERE, to);
                    final ByteArrayOutputStream record = new ByteArrayOutputStream();
                    requests.add(record);
                    Thread.ofVirtual().start(() -> pass(asker, node, record));
                    Thread.ofVirtual().start(() -> pass(node, asker, new ByteArrayOutputStream()));
                }
            } catch (final IOException closed) {
                return;
            }
        }

        private static void pass(final Socket from, final Socket to, final ByteArrayOutputStream record) {
            final byte[] bytes = new byte[1 << 14];
            try (from;
                    to) {
                final InputStream in = from.getInputStream();
                for (int length = in.read(bytes); length >= 0; length = in.read(bytes)) {
                    record.write(bytes, 0, length);
                    to.getOutputStream().write(bytes, 0, length);
                }
            } catch (final IOException ended) {
                return;
            }
        }

        @Override
        public void close() throws IOException {
            server.close();
        }
    }

    /** The answer to bytes that were recorded. */
    private String send(final byte[] request) throws IOException {
        try (Socket socket = new Socket(HERE, askedPort + Ports.PROBE)) {
            socket.setSoTimeout(PATIENCE_MS);
            socket.getOutputStream().write(request);
            socket.shutdownOutput();
            return new String(socket.getInputStream().readAllBytes(), java.nio.charset.StandardCharsets.UTF_8);
        }
    }

    @Test
    void aRecordedProbeThatIsSentAgainChangesNothing() throws IOException {
        final int between = Members.port();
        try (Recorder recorder = new Recorder(between + Ports.PROBE, askedPort + Ports.PROBE);
                SplitProbe asker = probe(Members.port(), "of-the-asker", "the secret of both", seenByAsker)) {
            asker.ask(new InetSocketAddress(HERE, between));
            assertEquals("of-the-asked", seenByAsker.remove().cluster());
            Members.await("what the asker told", () -> !seen.isEmpty());
            assertEquals("of-the-asker", seen.remove().cluster());
            assertFalse(recorder.requests.isEmpty());
            for (final ByteArrayOutputStream request : recorder.requests) {
                for (int again = 0; again < 3; again++) {
                    final String answer = send(request.toByteArray());
                    assertFalse(answer.contains("of-the-asked"), answer);
                }
            }
            // What a node hears it hears before it ends the exchange, and this one comes after all the others.
            asker.ask(new InetSocketAddress(HERE, askedPort));
            Members.await("the real one", () -> !seen.isEmpty());
            assertEquals(1, seen.size());
        }
    }

    @Test
    void aChallengeOfAnotherProcessIsNoChallenge() throws IOException {
        final int between = Members.port();
        final Queue<Sighting> never = new ConcurrentLinkedQueue<>();
        try (Recorder recorder = new Recorder(between + Ports.PROBE, askedPort + Ports.PROBE);
                SplitProbe asker = probe(Members.port(), "of-the-asker", "the secret of both", seenByAsker)) {
            asker.ask(new InetSocketAddress(HERE, between));
            asked.close();
            // The node starts again at its address.
            try (SplitProbe restarted = probe(askedPort, "of-the-asked", "the secret of both", never)) {
                assertNotNull(restarted);
                for (final ByteArrayOutputStream request : recorder.requests) {
                    assertFalse(send(request.toByteArray()).contains("of-the-asked"));
                }
            }
            assertTrue(never.isEmpty());
        }
    }

    @Test
    void anotherSecretLearnsNothingAndIsNotHeard() throws IOException {
        try (SplitProbe stranger = probe(Members.port(), "of-a-stranger", "a secret of its own", seenByAsker)) {
            final IOException refused =
                    assertThrows(IOException.class, () -> stranger.ask(new InetSocketAddress(HERE, askedPort)));
            assertTrue(refused.getMessage().contains("another cluster.secret"), refused.getMessage());
            assertTrue(seen.isEmpty());
            assertTrue(seenByAsker.isEmpty());
        }
    }
}
