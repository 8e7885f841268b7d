package io.kvasir.node;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import io.kvasir.node.engine.v1.Error;
import io.kvasir.node.engine.v1.Events;
import io.kvasir.node.engine.v1.Ping;
import io.kvasir.node.engine.v1.Request;
import io.kvasir.node.engine.v1.Response;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Each fault ends at most the connection that made it, is counted, and leaves a bystander served. */
@Timeout(60)
class EngineFaultsTest {
    private NodeFixture fixture;
    private EngineClient bystander;

    @BeforeEach
    void start() throws IOException {
        fixture = new NodeFixture("engine.stall_limit=2s", "engine.max_connections=40", "engine.max_frame=1MiB");
        bystander = fixture.attached();
    }

    @AfterEach
    void stop() throws IOException {
        assertEquals("here", ping(bystander, "here"));
        assertEquals(0, fixture.faults("internal"));
        bystander.close();
        fixture.close();
    }

    @Test
    void garbageEndsItsConnectionWithAnErrorOfId0() throws IOException {
        try (EngineClient client = new EngineClient(fixture.socket())) {
            client.write(EngineClient.frame(5, new byte[] {-1, -1, -1, -1, -1}));
            final Response response = client.read();
            assertEquals(0, response.getId());
            assertEquals(Error.Code.INVALID_ARGUMENT, response.getError().getCode());
            client.expectEnd();
        }
        assertEquals(1, fixture.faults("undecodable_frame"));
    }

    @Test
    void oversizedAndEmptyFramesEndTheirConnection() throws IOException {
        for (final int length : new int[] {0, -1, (1 << 20) + 1}) {
            try (EngineClient client = new EngineClient(fixture.socket())) {
                client.write(EngineClient.frame(length, new byte[0]));
                assertEquals(0, client.read().getId());
                client.expectEnd();
            }
        }
        assertEquals(3, fixture.faults("frame_length"));
    }

    @Test
    void aTruncatedFrameIsCounted() throws IOException {
        try (EngineClient client = new EngineClient(fixture.socket())) {
            client.write(EngineClient.frame(100, new byte[50]));
        }
        NodeFixture.await("the count", () -> fixture.faults("truncated_frame") == 1);
    }

    @Test
    void aHalfSentFrameIsNotWaitedForForEver() throws IOException {
        try (EngineClient client = fixture.attached()) {
            client.write(EngineClient.frame(100, new byte[50]));
            assertEquals(Error.Code.DEADLINE_EXCEEDED, client.read().getError().getCode());
            client.expectEnd();
        }
        assertEquals(1, fixture.faults("slow_frame"));
    }

    @Test
    void whoNeverSaysHelloIsEnded() throws IOException {
        try (EngineClient client = new EngineClient(fixture.socket())) {
            assertEquals(0, client.read().getId());
            client.expectEnd();
        }
        assertEquals(1, fixture.faults("no_hello"));
    }

    @Test
    void whoStopsReadingIsEnded() throws IOException {
        try (EngineClient client = fixture.attached()) {
            client.channel.configureBlocking(false);
            final byte[] body = Request.newBuilder()
                    .setId(1)
                    .setPing(Ping.newBuilder().setPayload(ByteString.copyFrom(new byte[512 * 1024])))
                    .build()
                    .toByteArray();
            final ByteBuffer frame = ByteBuffer.wrap(EngineClient.frame(body.length, body));
            NodeFixture.await("its end", () -> {
                try {
                    if (!frame.hasRemaining()) {
                        frame.rewind();
                    }
                    client.channel.write(frame);
                } catch (final IOException closed) {
                    return true;
                }
                return fixture.faults("slow_reader") + fixture.faults("output_limit") > 0;
            });
        }
        NodeFixture.await("the count", () -> fixture.faults("slow_reader") + fixture.faults("output_limit") == 1);
    }

    /** None of them has more unread answers than one connection may have; what refuses one is itself an unread answer. */
    @Test
    void manyThatDoNotReadAreEndedOneByOne() throws IOException {
        final List<EngineClient> clients = new ArrayList<>();
        try (NodeFixture wide = new NodeFixture("engine.max_frame=1MiB");
                EngineClient other = wide.attached()) {
            for (int i = 0; i < 80; i++) {
                clients.add(wide.attached());
            }
            for (final EngineClient client : clients) {
                client.send(Request.newBuilder()
                        .setPing(Ping.newBuilder().setPayload(ByteString.copyFrom(new byte[1_000_000]))));
            }
            NodeFixture.await("the first end", () -> wide.faults("output_limit") > 0);
            assertEquals("served", ping(other, "served"));
            for (final EngineClient client : clients) {
                client.close();
            }
            NodeFixture.await("their memory", () -> wide.metric("kvasir_node_socket_bytes", null, null) == 0);
        }
    }

    @Test
    void aReaderThatCatchesUpGetsEverything() throws IOException {
        final byte[] payload = new byte[256 * 1024];
        try (EngineClient client = fixture.attached()) {
            final int count = 12;
            final Thread sender = Thread.ofVirtual().start(() -> {
                for (int i = 0; i < count; i++) {
                    try {
                        client.send(Request.newBuilder()
                                .setPing(Ping.newBuilder().setPayload(ByteString.copyFrom(payload))));
                    } catch (final IOException e) {
                        throw new java.io.UncheckedIOException(e);
                    }
                }
            });
            for (int i = 0; i < count; i++) {
                assertEquals(
                        payload.length, client.read().getPing().getPayload().size());
            }
            sender.join();
        } catch (final InterruptedException e) {
            throw new AssertionError(e);
        }
    }

    @Test
    void anIdOf0EndsTheConnection() throws IOException {
        try (EngineClient client = fixture.attached()) {
            final byte[] body = Request.newBuilder().setDeadlineMs(7).build().toByteArray();
            client.write(EngineClient.frame(body.length, body));
            assertEquals(0, client.read().getId());
            client.expectEnd();
        }
        assertEquals(1, fixture.faults("undecodable_frame"));
    }

    @Test
    void anIdInUseEndsTheConnection() throws IOException {
        try (EngineClient client = fixture.attached()) {
            final byte[] body = Request.newBuilder()
                    .setId(77)
                    .setDeadlineMs(30_000)
                    .setEvents(Events.newBuilder().setAfter(1).setWaitMs(30_000))
                    .build()
                    .toByteArray();
            client.write(EngineClient.frame(body.length, body));
            NodeFixture.await("the hold", () -> fixture.metric("kvasir_node_held_requests", null, null) == 1);
            client.write(EngineClient.frame(body.length, body));
            assertEquals(0, client.read().getId());
            client.expectEnd();
        }
        NodeFixture.await("its end", () -> fixture.metric("kvasir_node_held_requests", null, null) == 0);
    }

    @Test
    void connectionsAboveTheLimitAreToldSo() throws IOException {
        final List<EngineClient> clients = new ArrayList<>();
        try {
            Response refused = null;
            for (int i = 0; i < 200; i++) {
                clients.add(new EngineClient(fixture.socket()));
            }
            NodeFixture.await("the limit", () -> fixture.faults("connection_limit") >= 160);
            for (final EngineClient client : clients.subList(150, 200)) {
                refused = client.read();
                assertEquals(Error.Code.RESOURCE_EXHAUSTED, refused.getError().getCode());
                client.expectEnd();
            }
            assertEquals("still", ping(bystander, "still"));
        } finally {
            for (final EngineClient client : clients) {
                client.close();
            }
        }
        NodeFixture.await("no leak", () -> fixture.metric("kvasir_node_connections", null, null) == 1);
    }

    @Test
    void aLiveNodesSocketIsRefusedAndADeadOnesReplaced() throws IOException {
        final NodeException refused = assertThrows(NodeException.class, fixture::start);
        assertTrue(refused.getMessage().contains("another node runs"));
        bystander.close();
        fixture.node.close();
        Files.createFile(fixture.socket());
        fixture.start();
        bystander = fixture.attached();
    }

    @Test
    void aStoppedNodeLeavesNoSocket() throws IOException {
        final Path socket = fixture.socket();
        bystander.close();
        fixture.node.close();
        assertTrue(Files.notExists(socket));
        fixture.start();
        bystander = fixture.attached();
    }

    private static String ping(final EngineClient client, final String text) throws IOException {
        return client.call(Request.newBuilder().setPing(Ping.newBuilder().setPayload(ByteString.copyFromUtf8(text))))
                .getPing()
                .getPayload()
                .toStringUtf8();
    }
}
