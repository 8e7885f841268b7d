package io.kvasir.node;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import io.kvasir.node.engine.v1.Error;
import io.kvasir.node.engine.v1.Hello;
import io.kvasir.node.engine.v1.Request;
import io.kvasir.node.engine.v1.Response;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** A tenant has at most as many connections as the configuration says, whatever the node still has. */
class TenantConnectionsTest {
    private static final String FIRST = "0123456789abcdef";
    private static final String SECOND = "fedcba9876543210";
    private NodeFixture fixture;
    private final List<EngineClient> clients = new ArrayList<>();

    @BeforeEach
    void start() throws IOException {
        fixture = new NodeFixture("tenants=[{name: first, token: " + FIRST
                + ", max_connections: 2}, {name: second, token: " + SECOND + "}]");
    }

    @AfterEach
    void stop() throws IOException {
        for (final EngineClient client : clients) {
            client.close();
        }
        fixture.close();
    }

    private EngineClient connect() throws IOException {
        final EngineClient client = new EngineClient(fixture.socket());
        clients.add(client);
        return client;
    }

    private double connections(final String tenant) {
        return fixture.metric("kvasir_storage_tenant_connections", "tenant", tenant);
    }

    private static Response hello(final EngineClient client, final String token) throws IOException {
        return client.call(Request.newBuilder()
                .setHello(
                        Hello.newBuilder().setProtocol(1).setClient("test").setToken(ByteString.copyFromUtf8(token))));
    }

    @Test
    void theNextConnectionIsRefusedAndEndsAndOthersAreNot() throws IOException {
        connect().hello(FIRST);
        final EngineClient leaves = connect();
        leaves.hello(FIRST);
        final EngineClient refused = connect();
        final Response answer = hello(refused, FIRST);
        assertEquals(Error.Code.RESOURCE_EXHAUSTED, answer.getError().getCode());
        assertEquals(1, answer.getId(), "it answers the Hello");
        assertTrue(answer.getError().getMessage().contains("tenant first has 2 connections"), answer::toString);
        refused.expectEnd();
        assertEquals(1, fixture.faults("tenant_connection_limit"));
        for (int i = 0; i < 5; i++) {
            connect().hello(SECOND);
        }
        NodeFixture.await("both tenants' connections", () -> connections("first") == 2 && connections("second") == 5);

        leaves.close();
        NodeFixture.await("the end of one", () -> connections("first") == 1);
        assertFalse(hello(connect(), FIRST).hasError());
    }
}
