package io.kvasir.node;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import io.kvasir.node.engine.v1.Attach;
import io.kvasir.node.engine.v1.Commit;
import io.kvasir.node.engine.v1.CreateSession;
import io.kvasir.node.engine.v1.Error;
import io.kvasir.node.engine.v1.Events;
import io.kvasir.node.engine.v1.EventsResult;
import io.kvasir.node.engine.v1.Request;
import io.kvasir.node.engine.v1.Reserve;
import io.kvasir.node.engine.v1.Response;
import io.kvasir.node.engine.v1.Shard;
import java.io.IOException;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Numbers that name something only where they were given: parts of a chunk, and events of an incarnation. */
@Timeout(60)
class EngineIdentityTest {
    private NodeFixture fixture;

    @BeforeEach
    void start() throws IOException {
        fixture = new NodeFixture();
    }

    @AfterEach
    void stop() throws IOException {
        fixture.close();
    }

    @Test
    void partsThatCannotBeAreRefused() throws IOException {
        final Shard whole = EngineClient.SHARD;
        try (EngineClient client = new EngineClient(fixture.socket())) {
            client.hello("");
            for (final Shard wrong : new Shard[] {
                Shard.getDefaultInstance(),
                whole.toBuilder().clearLayerEnd().build(),
                whole.toBuilder().setHeadBegin(1).build(),
                whole.toBuilder().setHeadBegin(3).setHeadEnd(2).build(),
                whole.toBuilder().setPpRank(1).build(),
                whole.toBuilder().clearPpSize().build(),
                whole.toBuilder().setPpRank(9).setPpSize(8).build(),
                whole.toBuilder().setCpRank(2).setCpSize(2).build(),
                whole.toBuilder().clearCpSize().build(),
                whole.toBuilder().setLayerEnd(-1).build(),
                whole.toBuilder().setPpSize(256).build(),
            }) {
                final Response answer = client.call(Request.newBuilder()
                        .setAttach(Attach.newBuilder()
                                .setCreate(CreateSession.newBuilder()
                                        .addShards(whole)
                                        .addShards(wrong))));
                assertEquals(Error.Code.INVALID_ARGUMENT, answer.getError().getCode(), wrong::toString);
                assertTrue(answer.getError().getMessage().contains(";"), answer::toString);
            }
            assertEquals(1, client.create().getShardsCount());
        }
    }

    @Test
    void aNumberOfAnotherIncarnationStartsAtTheOldestEvent() throws IOException {
        try (EngineClient engine = fixture.attached()) {
            store(engine, (byte) 1);
            final long last = last(events(engine, 0));
            assertTrue(last > 0);
            final EventsResult again = events(engine, last + 40);
            assertEquals(last + 40, again.getLost());
            assertEquals(1, again.getEvents(0).getSequence());
            assertEquals(last, last(again));
            assertEquals(0, events(engine, last).getLost());
        }
    }

    private static EventsResult events(final EngineClient engine, final long after) throws IOException {
        return engine.call(Request.newBuilder().setEvents(Events.newBuilder().setAfter(after)))
                .getEvents();
    }

    private static long last(final EventsResult events) {
        return events.getEventsCount() == 0
                ? 0
                : events.getEvents(events.getEventsCount() - 1).getSequence();
    }

    private static void store(final EngineClient engine, final byte name) throws IOException {
        final byte[] key = new byte[32];
        key[0] = name;
        final ByteString slots = engine.call(Request.newBuilder()
                        .setReserve(Reserve.newBuilder()
                                .setNamespace(1)
                                .setKeys(ByteString.copyFrom(key))
                                .addLengths(1000)))
                .getReserve()
                .getSlots();
        engine.call(Request.newBuilder().setCommit(Commit.newBuilder().setSlots(slots)));
    }
}
