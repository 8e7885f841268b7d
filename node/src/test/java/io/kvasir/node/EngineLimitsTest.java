package io.kvasir.node;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import io.kvasir.node.engine.v1.Abort;
import io.kvasir.node.engine.v1.Commit;
import io.kvasir.node.engine.v1.Error;
import io.kvasir.node.engine.v1.Events;
import io.kvasir.node.engine.v1.Lookup;
import io.kvasir.node.engine.v1.LookupResult;
import io.kvasir.node.engine.v1.Namespace;
import io.kvasir.node.engine.v1.OpenNamespace;
import io.kvasir.node.engine.v1.Request;
import io.kvasir.node.engine.v1.Reserve;
import io.kvasir.node.engine.v1.Response;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** No request and no set of connections ends a node that has the heap it is shipped with; a bystander is served. */
@Timeout(240)
class EngineLimitsTest {
    private static final int CHUNK = 4096;
    private final Random random = new Random(11);
    private NodeChild node;
    private EngineClient bystander;
    private ByteString stored;

    @BeforeEach
    void start() throws IOException {
        node = new NodeChild();
        bystander = node.attached();
        stored = keys(8);
        store(bystander, stored);
    }

    @AfterEach
    void stop() throws IOException {
        try {
            node.check();
            final Response found = bystander.call(lookup(stored, 0));
            assertEquals(8, found.getLookup().getHitChunks(), found::toString);
        } finally {
            bystander.close();
            node.close();
        }
    }

    @Test
    void aLookupOfManyKeysInASessionOfManyShardsIsRefusedWithTheNumbers() throws IOException {
        try (EngineClient client = session(4096)) {
            final Request.Builder request = lookup(keys(4096), 0);
            request.getLookupBuilder().addShards(0);
            final Error error = client.call(request).getError();
            assertEquals(Error.Code.RESOURCE_EXHAUSTED, error.getCode());
            assertTrue(error.getMessage().contains("4096 keys in a session of 4096 shards"), error::getMessage);
            assertTrue(error.getMessage().contains("ask for 32 keys at a time"), error::getMessage);

            final Response fits = client.call(lookup(keys(32), 0));
            assertEquals(0, fits.getLookup().getHitChunks(), fits::toString);
            assertEquals(32, fits.getLookup().getPlan(0).getChunks());
        }
    }

    @Test
    void theLargestLookupsOfOneShardAreAnswered() throws IOException {
        final ByteString most = stored.concat(keys(65_536 - 8));
        final LookupResult prefix = bystander.call(lookup(most, 0)).getLookup();
        assertEquals(8, prefix.getHitChunks());
        assertEquals(65_536 - 8, prefix.getPlan(1).getChunks());

        final Request.Builder sparse = lookup(most, 0);
        sparse.getLookupBuilder().setSparse(true);
        final LookupResult found = bystander.call(sparse).getLookup();
        assertEquals(8, found.getHitChunks());
        assertEquals(65_536 * 32, found.getSlots().size());
    }

    @Test
    void heldLookupsTakeABoundedPartOfTheHeap() throws IOException {
        final ByteString reserved = keys(1);
        final ByteString slots = reserve(bystander, reserved);
        final int count = 120;
        try (EngineClient client = node.attached()) {
            final ByteString others = keys(65_535);
            int atOnce = 0;
            for (int i = 0; i < count; i++) {
                client.send(lookup(reserved.concat(others), 300_000));
            }
            // What does not fit is not held; the rest waits for the object.
            for (; atOnce < count - 4; atOnce++) {
                assertEquals(1, client.read().getLookup().getPendingChunks());
            }
            bystander.call(Request.newBuilder().setCommit(Commit.newBuilder().setSlots(slots)));
            for (; atOnce < count; atOnce++) {
                client.read();
            }
        }
    }

    @Test
    void sessionsOfManyShardsAreRefusedWhenAllTogetherHaveTooMany() throws IOException {
        final List<EngineClient> clients = new ArrayList<>();
        try {
            int refused = 0;
            for (int i = 0; i < 900; i++) {
                final EngineClient client = new EngineClient(node.socket());
                clients.add(client);
                client.hello("");
                final Response answer = client.create(4096);
                if (answer.hasError()) {
                    assertEquals(
                            Error.Code.RESOURCE_EXHAUSTED, answer.getError().getCode());
                    assertTrue(
                            answer.getError().getMessage().contains("a session of 4096 shards"),
                            () -> answer.getError().getMessage());
                    refused++;
                }
            }
            assertTrue(refused > 800, "refused: " + refused);
            // An ordinary one still finds its place, and the others' comes back with them.
            try (EngineClient ordinary = session(4)) {
                assertEquals(0, ordinary.call(lookup(keys(4), 0)).getLookup().getHitChunks());
            }
        } finally {
            for (final EngineClient client : clients) {
                client.close();
            }
        }
        NodeFixture.await("the place of those that ended", () -> {
            try (EngineClient client = new EngineClient(node.socket())) {
                client.hello("");
                return !client.create(4096).hasError();
            } catch (final IOException e) {
                throw new AssertionError(e);
            }
        });
    }

    @Test
    void namespacesOfAllSessionsAreBounded() throws IOException {
        final List<EngineClient> clients = new ArrayList<>();
        try {
            boolean refused = false;
            for (int session = 0; session < 40 && !refused; session++) {
                final EngineClient client = node.attached();
                clients.add(client);
                for (int i = 0; i < 4000 && !refused; i += 200) {
                    for (int k = i; k < i + 200; k++) {
                        client.send(Request.newBuilder()
                                .setOpenNamespace(OpenNamespace.newBuilder()
                                        .setNamespace(Namespace.newBuilder()
                                                .setModel("m" + session + "-" + k)
                                                .setChunkTokens(16))));
                    }
                    for (int k = 0; k < 200; k++) {
                        refused |= client.read().getError().getCode() == Error.Code.RESOURCE_EXHAUSTED;
                    }
                }
            }
            assertTrue(refused);
        } finally {
            for (final EngineClient client : clients) {
                client.close();
            }
        }
    }

    @Test
    void clientsThatNeverReadEndBeforeTheNodeDoes() throws IOException {
        for (int i = 0; i < 5; i++) {
            store(bystander, keys(1000));
        }
        // Together just what one connection may leave unread by itself.
        final ByteArrayOutputStream asks = new ByteArrayOutputStream();
        for (int i = 1; i <= 75; i++) {
            final byte[] body = Request.newBuilder()
                    .setId(100 + i)
                    .setEvents(Events.newBuilder().setAfter(1).setLimit(4096))
                    .build()
                    .toByteArray();
            asks.writeBytes(EngineClient.frame(body.length, body));
        }
        final List<EngineClient> clients = new ArrayList<>();
        try {
            for (int i = 0; i < 16; i++) {
                final EngineClient client = node.attached();
                clients.add(client);
                client.write(asks.toByteArray());
                assertEquals(8, bystander.call(lookup(stored, 0)).getLookup().getHitChunks());
            }
        } finally {
            for (final EngineClient client : clients) {
                client.close();
            }
        }
    }

    @Test
    void halfSentFramesTogetherAreBoundedAndTheLongestIsEnded() throws IOException {
        final byte[] half = EngineClient.frame(8 << 20, new byte[6 << 20]);
        final List<EngineClient> clients = new ArrayList<>();
        try {
            for (int i = 0; i < 8; i++) {
                final EngineClient client = node.attached();
                clients.add(client);
                try {
                    client.write(half);
                } catch (final IOException ended) {
                    continue;
                }
                bystander.call(lookup(stored, 0));
            }
            int ended = 0;
            for (final EngineClient client : clients) {
                client.channel.configureBlocking(false);
                ended += client.hasEnded() ? 1 : 0;
            }
            assertTrue(ended >= 3, "ended: " + ended);
        } finally {
            for (final EngineClient client : clients) {
                client.close();
            }
        }
    }

    @Test
    void lookupsThatWereWaitedForInVainLeaveNothingBehind() throws IOException {
        final ByteString reserved = keys(1);
        final ByteString slots = reserve(bystander, reserved);
        try (EngineClient client = node.attached()) {
            final ByteString chain = reserved.concat(keys(1023));
            // 33 KB each: 330 MB in all, if they stayed.
            for (int i = 0; i < 10_000; i += 100) {
                for (int k = 0; k < 100; k++) {
                    client.send(lookup(chain, 1));
                }
                for (int k = 0; k < 100; k++) {
                    assertEquals(1, client.read().getLookup().getPendingChunks());
                }
            }
        }
        bystander.call(Request.newBuilder().setAbort(Abort.newBuilder().setSlots(slots)));
    }

    private EngineClient session(final int shards) throws IOException {
        final EngineClient client = new EngineClient(node.socket());
        client.hello("");
        final Response created = client.create(shards);
        assertTrue(created.hasAttach(), created::toString);
        client.call(
                Request.newBuilder().setOpenNamespace(OpenNamespace.newBuilder().setNamespace(EngineClient.NAMESPACE)));
        return client;
    }

    private static Request.Builder lookup(final ByteString keys, final int waitMs) {
        return Request.newBuilder()
                .setDeadlineMs(300_000)
                .setLookup(Lookup.newBuilder().setNamespace(1).setKeys(keys).setWaitMs(waitMs));
    }

    private static ByteString reserve(final EngineClient client, final ByteString keys) throws IOException {
        return client.call(Request.newBuilder()
                        .setDeadlineMs(10_000)
                        .setReserve(Reserve.newBuilder()
                                .setNamespace(1)
                                .setKeys(keys)
                                .addLengths(CHUNK)
                                .setWaitMs(10_000)))
                .getReserve()
                .getSlots();
    }

    private static void store(final EngineClient client, final ByteString keys) throws IOException {
        final ByteString slots = reserve(client, keys);
        client.call(Request.newBuilder().setCommit(Commit.newBuilder().setSlots(slots)));
    }

    private ByteString keys(final int count) {
        final ByteBuffer bytes = ByteBuffer.allocate(count * 32);
        random.nextBytes(bytes.array());
        return ByteString.copyFrom(bytes);
    }
}
