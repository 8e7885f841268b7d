package io.kvasir.node;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import io.kvasir.node.engine.v1.Abort;
import io.kvasir.node.engine.v1.Attach;
import io.kvasir.node.engine.v1.AttachResult;
import io.kvasir.node.engine.v1.Cancel;
import io.kvasir.node.engine.v1.Commit;
import io.kvasir.node.engine.v1.CreateSession;
import io.kvasir.node.engine.v1.Error;
import io.kvasir.node.engine.v1.Event;
import io.kvasir.node.engine.v1.Events;
import io.kvasir.node.engine.v1.EventsResult;
import io.kvasir.node.engine.v1.Handoff;
import io.kvasir.node.engine.v1.Hello;
import io.kvasir.node.engine.v1.Lookup;
import io.kvasir.node.engine.v1.LookupResult;
import io.kvasir.node.engine.v1.OpenNamespace;
import io.kvasir.node.engine.v1.Pin;
import io.kvasir.node.engine.v1.Ping;
import io.kvasir.node.engine.v1.Release;
import io.kvasir.node.engine.v1.Renew;
import io.kvasir.node.engine.v1.Request;
import io.kvasir.node.engine.v1.Reserve;
import io.kvasir.node.engine.v1.Resolve;
import io.kvasir.node.engine.v1.Response;
import io.kvasir.node.engine.v1.SlotStatus;
import io.kvasir.node.engine.v1.Tier;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class EngineApiTest {
    private static final int OBJECT = 64 * 1024;
    private final Random random = new Random(7);
    private NodeFixture fixture;
    private EngineClient engine;

    @BeforeEach
    void start() throws IOException {
        fixture = new NodeFixture();
        engine = fixture.attached();
    }

    @AfterEach
    void stop() throws IOException {
        engine.close();
        fixture.close();
    }

    @Test
    void storesAndFindsAgain() throws IOException {
        final ByteString keys = keys(4);
        final ByteString slots = store(keys);
        assertStatuses(SlotStatus.SLOT_GRANTED, slots, 4);

        final LookupResult found = lookup(keys).getLookup();
        assertEquals(4, found.getHitChunks());
        assertNotEquals(0, found.getLease());
        assertStatuses(SlotStatus.SLOT_HIT, found.getSlots(), 4);

        final Response resolved =
                engine.call(Request.newBuilder().setResolve(Resolve.newBuilder().setLease(found.getLease())));
        assertEquals(found.getSlots(), resolved.getResolve().getSlots());
        assertTrue(engine.call(Request.newBuilder()
                        .setRenew(Renew.newBuilder().addLeases(found.getLease()).addLeases(99)))
                .getRenew()
                .getRenewed(0));
        assertEquals(
                1,
                engine.call(Request.newBuilder().setRelease(Release.newBuilder().addLeases(found.getLease())))
                        .getRelease()
                        .getReleased());
        assertError(
                Error.Code.UNKNOWN_LEASE,
                engine.call(Request.newBuilder().setResolve(Resolve.newBuilder().setLease(found.getLease()))));
    }

    @Test
    void everyAnswerNamesTheIncarnation() throws IOException {
        final Response ping =
                engine.call(Request.newBuilder().setPing(Ping.newBuilder().setPayload(ByteString.copyFromUtf8("x"))));
        assertEquals("x", ping.getPing().getPayload().toStringUtf8());
        assertEquals(16, ping.getIncarnation().size());
        assertEquals(
                fixture.node.incarnation(),
                java.util.HexFormat.of().formatHex(ping.getIncarnation().toByteArray()));
    }

    @Test
    void helloComesFirstThenAttach() throws IOException {
        try (EngineClient client = new EngineClient(fixture.socket())) {
            assertError(
                    Error.Code.NOT_ATTACHED,
                    client.call(
                            Request.newBuilder().setLookup(Lookup.newBuilder().setNamespace(1))));
            client.hello("");
            assertError(
                    Error.Code.NOT_ATTACHED,
                    client.call(
                            Request.newBuilder().setLookup(Lookup.newBuilder().setNamespace(1))));
            client.create();
            assertError(
                    Error.Code.UNKNOWN_NAMESPACE,
                    client.call(
                            Request.newBuilder().setLookup(Lookup.newBuilder().setNamespace(1))));
        }
    }

    @Test
    void attachWithoutTheLockIsRefused() throws IOException {
        try (EngineClient client = new EngineClient(fixture.socket())) {
            client.call(Request.newBuilder().setHello(Hello.newBuilder().setProtocol(1)));
            final Response refused = client.call(Request.newBuilder()
                    .setAttach(Attach.newBuilder()
                            .setCreate(CreateSession.newBuilder().addShards(EngineClient.SHARD))));
            assertError(Error.Code.INVALID_ARGUMENT, refused);
            assertTrue(refused.getError().getMessage().contains("lock"));
        }
    }

    @Test
    void anotherProtocolIsNamed() throws IOException {
        try (EngineClient client = new EngineClient(fixture.socket())) {
            final Response refused =
                    client.call(Request.newBuilder().setHello(Hello.newBuilder().setProtocol(2)));
            assertError(Error.Code.UNSUPPORTED, refused);
            assertTrue(refused.getError().getMessage().contains("2"));
            assertTrue(refused.getError().getMessage().contains("1"));
        }
    }

    @Test
    void workersJoinBySecretAndTheSessionEndsWithItsLastConnection() throws IOException {
        try (EngineClient scheduler = new EngineClient(fixture.socket());
                EngineClient worker = new EngineClient(fixture.socket());
                EngineClient stranger = new EngineClient(fixture.socket())) {
            scheduler.hello("");
            final AttachResult session = scheduler.create();
            scheduler.call(Request.newBuilder()
                    .setOpenNamespace(OpenNamespace.newBuilder().setNamespace(EngineClient.NAMESPACE)));
            worker.hello("");
            final AttachResult joined =
                    worker.join(session, session.getSecret()).getAttach();
            assertEquals(session.getSession(), joined.getSession());
            assertEquals(1, joined.getNamespacesCount());
            stranger.hello("");
            assertError(Error.Code.UNKNOWN_SESSION, stranger.join(session, ByteString.copyFrom(new byte[16])));
            final double before = fixture.metric("kvasir_node_sessions", null, null);
            scheduler.channel.close();
            worker.channel.close();
            NodeFixture.await(
                    "the session's end", () -> fixture.metric("kvasir_node_sessions", null, null) == before - 1);
            assertError(Error.Code.UNKNOWN_SESSION, stranger.join(session, session.getSecret()));
        }
    }

    @Test
    void wrongLengthsAndCountsNameTheRule() throws IOException {
        final ByteString seven = ByteString.copyFrom(new byte[7]);
        for (final Request.Builder wrong : new Request.Builder[] {
            Request.newBuilder().setLookup(Lookup.newBuilder().setNamespace(1).setKeys(seven)),
            Request.newBuilder()
                    .setLookup(
                            Lookup.newBuilder().setNamespace(1).setKeys(keys(1)).addShards(1)),
            Request.newBuilder()
                    .setReserve(
                            Reserve.newBuilder().setNamespace(1).setKeys(seven).addLengths(OBJECT)),
            Request.newBuilder().setReserve(Reserve.newBuilder().setNamespace(1).setKeys(keys(2))),
            Request.newBuilder()
                    .setReserve(Reserve.newBuilder()
                            .setNamespace(1)
                            .setKeys(keys(1))
                            .addLengths(0)),
            Request.newBuilder()
                    .setReserve(Reserve.newBuilder()
                            .setNamespace(1)
                            .setKeys(keys(1))
                            .addLengths(2L << 30)),
            Request.newBuilder()
                    .setReserve(Reserve.newBuilder()
                            .setNamespace(1)
                            .setShard(-1)
                            .setKeys(keys(1))
                            .addLengths(OBJECT)),
            Request.newBuilder().setCommit(Commit.newBuilder().setSlots(seven)),
            Request.newBuilder()
                    .setCommit(Commit.newBuilder()
                            .setSlots(ByteString.copyFrom(new byte[32]))
                            .setCrc32C(seven)),
            Request.newBuilder().setPin(Pin.newBuilder().setNamespace(1).setKeys(keys(1))),
            Request.newBuilder().setEvents(Events.newBuilder().setAfter(-5))
        }) {
            final Response response = engine.call(wrong);
            assertError(Error.Code.INVALID_ARGUMENT, response);
            assertTrue(response.getError().getMessage().contains(";"), response::toString);
        }
        assertEquals(0, fixture.faults("internal"));
    }

    @Test
    void slotsNeverReservedAndOutsideTheArenaAreNotReserved() throws IOException {
        final byte[] wild = new byte[3 * 32];
        random.nextBytes(wild);
        final Response committed =
                engine.call(Request.newBuilder().setCommit(Commit.newBuilder().setSlots(ByteString.copyFrom(wild))));
        assertArrayEquals(
                new byte[] {12, 12, 12}, committed.getCommit().getStatuses().toByteArray());
        final ByteString slots = store(keys(1));
        assertArrayEquals(
                new byte[] {12},
                engine.call(Request.newBuilder().setCommit(Commit.newBuilder().setSlots(slots)))
                        .getCommit()
                        .getStatuses()
                        .toByteArray());
        assertArrayEquals(
                new byte[] {12},
                engine.call(Request.newBuilder().setAbort(Abort.newBuilder().setSlots(slots)))
                        .getAbort()
                        .getStatuses()
                        .toByteArray());
    }

    @Test
    void handoffAndUnknownCallsAreUnsupported() throws IOException {
        assertError(Error.Code.UNSUPPORTED, engine.call(Request.newBuilder().setHandoff(Handoff.getDefaultInstance())));
        assertError(Error.Code.UNSUPPORTED, engine.call(Request.newBuilder()));
    }

    @Test
    void lookupWaitsForWhatSomebodyElseStores() throws IOException {
        final ByteString keys = keys(1);
        final ByteString slots = reserve(keys, 0).getReserve().getSlots();
        try (EngineClient reader = fixture.attached()) {
            reader.send(Request.newBuilder()
                    .setDeadlineMs(30_000)
                    .setLookup(Lookup.newBuilder().setNamespace(1).setKeys(keys).setWaitMs(30_000)));
            NodeFixture.await("the hold", () -> fixture.metric("kvasir_node_held_requests", null, null) == 1);
            engine.call(Request.newBuilder().setCommit(Commit.newBuilder().setSlots(slots)));
            final Response found = reader.read();
            assertEquals(1, found.getLookup().getHitChunks());
            assertEquals(0, fixture.metric("kvasir_node_held_requests", null, null));
        }
    }

    @Test
    void aWriterThatFellSilentKeepsNobodyWaiting() throws IOException {
        try (NodeFixture node = new NodeFixture("reserve.deadline=300ms");
                EngineClient stuck = node.attached();
                EngineClient reader = node.attached()) {
            final ByteString keys = keys(1);
            final Request.Builder reserve = Request.newBuilder()
                    .setReserve(
                            Reserve.newBuilder().setNamespace(1).setKeys(keys).addLengths(OBJECT));
            final ByteString slots = stuck.call(reserve).getReserve().getSlots();
            assertStatuses(SlotStatus.SLOT_GRANTED, slots, 1);
            // Held for much longer than this test's timeout.
            final Response found = reader.call(Request.newBuilder()
                    .setDeadlineMs(600_000)
                    .setLookup(Lookup.newBuilder().setNamespace(1).setKeys(keys).setWaitMs(600_000)));
            assertEquals(0, found.getLookup().getHitChunks());
            assertEquals(0, found.getLookup().getPendingChunks());
            final ByteString anew = reader.call(reserve).getReserve().getSlots();
            assertStatuses(SlotStatus.SLOT_GRANTED, anew, 1);
            final Response late = stuck.call(
                    Request.newBuilder().setCommit(Commit.newBuilder().setSlots(slots)));
            assertEquals(
                    SlotStatus.SLOT_NOT_RESERVED_VALUE,
                    late.getCommit().getStatuses().byteAt(0));
            assertEquals(1, node.metric("kvasir_storage_reservations_overdue_total", null, null));
        }
    }

    @Test
    void lookupAnswersWhatThereIsWhenTheBudgetEnds() throws IOException {
        final ByteString first = keys(1);
        final ByteString second = keys(1);
        store(first);
        reserve(second, 0);
        try (EngineClient reader = fixture.attached()) {
            final Response found = reader.call(Request.newBuilder()
                    .setDeadlineMs(30)
                    .setLookup(Lookup.newBuilder()
                            .setNamespace(1)
                            .setKeys(first.concat(second))
                            .setWaitMs(10_000)));
            assertEquals(1, found.getLookup().getHitChunks());
            assertEquals(1, found.getLookup().getPendingChunks());
        }
    }

    @Test
    void heldRequestsCanBeCancelled() throws IOException {
        final long held = engine.send(Request.newBuilder()
                .setDeadlineMs(30_000)
                .setEvents(Events.newBuilder().setAfter(1).setWaitMs(30_000)));
        engine.send(Request.newBuilder().setCancel(Cancel.newBuilder().setRequest(held)));
        final Response cancelled = engine.read();
        assertEquals(held, cancelled.getId());
        assertError(Error.Code.CANCELLED, cancelled);
        assertTrue(engine.read().getCancel().getCancelled());
        assertFalse(
                engine.call(Request.newBuilder().setCancel(Cancel.newBuilder().setRequest(held)))
                        .getCancel()
                        .getCancelled());
    }

    @Test
    void aDeadConnectionsHeldRequestsEnd() throws IOException {
        final EngineClient other = fixture.attached();
        other.send(Request.newBuilder()
                .setDeadlineMs(60_000)
                .setEvents(Events.newBuilder().setAfter(1).setWaitMs(60_000)));
        NodeFixture.await("the hold", () -> fixture.metric("kvasir_node_held_requests", null, null) == 1);
        other.close();
        NodeFixture.await("its end", () -> fixture.metric("kvasir_node_held_requests", null, null) == 0);
    }

    @Test
    void eventsTellWhatWasStored() throws IOException {
        final long held = engine.send(Request.newBuilder()
                .setDeadlineMs(30_000)
                .setEvents(Events.newBuilder().setAfter(1).setWaitMs(30_000)));
        final ByteString keys = keys(2);
        try (EngineClient writer = fixture.attached()) {
            final EngineClient own = engine;
            engine = writer;
            store(keys);
            engine = own;
        }
        final Response events = engine.read();
        assertEquals(held, events.getId());
        assertEquals(fixture.config.node().name(), events.getEvents().getNode());
        assertEquals(2, events.getEvents().getEvents(0).getSequence());
        assertEquals(keys.substring(0, 32), events.getEvents().getEvents(0).getKey());
    }

    @Test
    void theStreamOfANodeThatStartsEmptyBeginsWithCleared() throws IOException {
        final Event first = events().getEvents(0);
        assertEquals(Event.Kind.CLEARED, first.getKind());
        assertEquals(Tier.TIER_DRAM, first.getTier());
        assertTrue(first.getKey().isEmpty());
    }

    @Test
    void aNodeThatStartsWithWhatItHadSaysNothingOfCleared() throws IOException {
        store(keys(1));
        engine.close();
        fixture.node.close();
        fixture.start();
        engine = fixture.attached();
        assertEquals(0, events().getEventsCount());
    }

    private EventsResult events() throws IOException {
        return engine.call(Request.newBuilder().setEvents(Events.newBuilder())).getEvents();
    }

    @Test
    void reserveWithoutRoomAnswersAtItsBudget() throws IOException {
        final Response full = engine.call(Request.newBuilder()
                .setDeadlineMs(50)
                .setReserve(Reserve.newBuilder()
                        .setNamespace(1)
                        .setKeys(keys(600))
                        .addLengths(OBJECT)
                        .setWaitMs(10_000)));
        assertEquals(600 * 32, full.getReserve().getSlots().size());
        boolean refused = false;
        for (int i = 0; i < 600; i++) {
            final int status = full.getReserve().getSlots().byteAt(i * 32);
            refused |= status == SlotStatus.SLOT_QUOTA_VALUE || status == SlotStatus.SLOT_NO_ROOM_VALUE;
        }
        assertTrue(refused);
    }

    @Test
    void aRestartedNodeHasAnotherIncarnationAndTheSameObjects() throws IOException {
        final ByteString keys = keys(3);
        store(keys);
        final String before = fixture.node.incarnation();
        engine.close();
        fixture.node.close();
        fixture.start();
        assertNotEquals(before, fixture.node.incarnation());
        engine = fixture.attached();
        final Response found = engine.call(Request.newBuilder()
                .setDeadlineMs(20_000)
                .setLookup(Lookup.newBuilder().setNamespace(1).setKeys(keys).setWaitMs(20_000)));
        assertEquals(3, found.getLookup().getHitChunks());
    }

    private ByteString store(final ByteString keys) throws IOException {
        final ByteString slots = reserve(keys, 5000).getReserve().getSlots();
        final Response committed =
                engine.call(Request.newBuilder().setCommit(Commit.newBuilder().setSlots(slots)));
        final byte[] expected = new byte[keys.size() / 32];
        java.util.Arrays.fill(expected, (byte) SlotStatus.SLOT_COMMITTED_VALUE);
        assertArrayEquals(expected, committed.getCommit().getStatuses().toByteArray());
        return slots;
    }

    private Response reserve(final ByteString keys, final int waitMs) throws IOException {
        return engine.call(Request.newBuilder()
                .setDeadlineMs(10_000)
                .setReserve(Reserve.newBuilder()
                        .setNamespace(1)
                        .setKeys(keys)
                        .addLengths(OBJECT)
                        .setWaitMs(waitMs)));
    }

    private Response lookup(final ByteString keys) throws IOException {
        return engine.call(Request.newBuilder()
                .setDeadlineMs(10_000)
                .setLookup(Lookup.newBuilder().setNamespace(1).setKeys(keys).setWaitMs(10_000)));
    }

    private ByteString keys(final int count) {
        final byte[] bytes = new byte[count * 32];
        random.nextBytes(bytes);
        return ByteString.copyFrom(bytes);
    }

    private static void assertStatuses(final SlotStatus status, final ByteString slots, final int count) {
        assertEquals(count * 32, slots.size());
        for (int i = 0; i < count; i++) {
            assertEquals(status.getNumber(), slots.byteAt(i * 32));
        }
        assertEquals(count * 32, ByteBuffer.wrap(slots.toByteArray()).remaining());
    }

    private static void assertError(final Error.Code code, final Response response) {
        assertEquals(code, response.getError().getCode(), response::toString);
    }
}
