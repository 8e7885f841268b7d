package io.kvasir.node;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import io.kvasir.node.engine.v1.Abort;
import io.kvasir.node.engine.v1.Commit;
import io.kvasir.node.engine.v1.Error;
import io.kvasir.node.engine.v1.Lookup;
import io.kvasir.node.engine.v1.Namespace;
import io.kvasir.node.engine.v1.OpenNamespace;
import io.kvasir.node.engine.v1.Ping;
import io.kvasir.node.engine.v1.Release;
import io.kvasir.node.engine.v1.Renew;
import io.kvasir.node.engine.v1.Request;
import io.kvasir.node.engine.v1.Reserve;
import io.kvasir.node.engine.v1.Response;
import io.kvasir.node.engine.v1.SlotStatus;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Long calls are worked off in turns, vain ones end at once, and each request is counted once. */
@Timeout(120)
class EngineTurnsTest {
    private static final int OBJECT = 64 * 1024;
    private static final int EACH = 4;
    private final Random random = new Random(5);
    private NodeFixture fixture;
    private EngineClient engine;

    @BeforeEach
    void start() throws IOException {
        fixture = new NodeFixture();
        engine = fixture.attached();
    }

    @AfterEach
    void stop() throws IOException {
        assertEquals(0, fixture.faults("internal"));
        engine.close();
        fixture.close();
    }

    @Test
    void aPingDoesNotWaitForAllThatAnotherConnectionHasSent() throws IOException {
        final int count = 6000;
        final ByteArrayOutputStream frames = new ByteArrayOutputStream();
        for (int i = 1; i <= count; i++) {
            final byte[] body = Request.newBuilder()
                    .setId(i + 1000)
                    .setLookup(
                            Lookup.newBuilder().setNamespace(1).setKeys(keys(1)).addShards(0))
                    .build()
                    .toByteArray();
            frames.writeBytes(EngineClient.frame(body.length, body));
        }
        try (EngineClient client = new EngineClient(fixture.socket())) {
            client.hello("");
            client.create(4096);
            client.call(Request.newBuilder()
                    .setOpenNamespace(OpenNamespace.newBuilder().setNamespace(EngineClient.NAMESPACE)));
            final Thread writer = Thread.ofVirtual().start(() -> {
                try {
                    client.write(frames.toByteArray());
                } catch (final IOException e) {
                    throw new java.io.UncheckedIOException(e);
                }
            });
            assertTrue(client.read().hasLookup());
            for (int i = 0; i < 3; i++) {
                assertEquals("now", ping("now"));
            }
            final double done = fixture.metric("kvasir_node_call_seconds_count", "call", "lookup");
            assertTrue(done < count, "all " + done + " lookups were answered before the pings");
            for (int i = 1; i < count; i++) {
                assertTrue(client.read().hasLookup());
            }
            writer.join();
        } catch (final InterruptedException e) {
            throw new AssertionError(e);
        }
    }

    @Test
    void aPingIsBeforeConnectionsThatHadMuchOfTheOwnersTime() throws IOException {
        final int count = 100;
        final List<EngineClient> others = new ArrayList<>();
        try {
            for (int i = 0; i < count; i++) {
                final EngineClient other = new EngineClient(fixture.socket());
                others.add(other);
                other.hello("");
                other.create(256);
                other.call(Request.newBuilder()
                        .setOpenNamespace(OpenNamespace.newBuilder().setNamespace(EngineClient.NAMESPACE)));
            }
            final Request.Builder wide = Request.newBuilder()
                    .setLookup(Lookup.newBuilder()
                            .setNamespace(1)
                            .setKeys(keys(256))
                            .addShards(0));
            for (final EngineClient other : others) {
                assertTrue(other.call(wide).hasLookup());
            }
            final double before = fixture.metric("kvasir_node_call_seconds_count", "call", "lookup");
            for (final EngineClient other : others) {
                for (int i = 0; i < EACH; i++) {
                    other.send(wide);
                }
            }
            assertEquals("now", ping("now"));
            final double done = fixture.metric("kvasir_node_call_seconds_count", "call", "lookup") - before;
            assertTrue(done < EACH * count, "all " + done + " lookups were answered before the ping");
            for (final EngineClient other : others) {
                for (int i = 0; i < EACH; i++) {
                    assertTrue(other.read().hasLookup());
                }
            }
        } finally {
            for (final EngineClient other : others) {
                other.close();
            }
        }
    }

    @Test
    void aReserveThatNeverFitsIsAnsweredBeforeWhatFollowsIt() throws IOException {
        final long first = engine.send(reserve(keys(2), 1L << 30, 20_000));
        engine.send(Request.newBuilder().setPing(Ping.getDefaultInstance()));
        final Response answer = engine.read();
        assertEquals(first, answer.getId());
        assertEquals(
                SlotStatus.SLOT_NO_ROOM_VALUE, answer.getReserve().getSlots().byteAt(32));
        assertTrue(engine.read().hasPing());
        assertEquals(1, fixture.metric("kvasir_storage_no_room_total", null, null));
    }

    @Test
    void aReserveThatFindsNoSpaceIsCountedOnce() throws IOException {
        // All of DRAM is reserved; one more is tried again and again meanwhile.
        final List<EngineClient> writers = new ArrayList<>();
        try {
            for (int i = 0; i < 5; i++) {
                final EngineClient writer = fixture.attached();
                writers.add(writer);
                writer.call(reserve(keys(128), OBJECT, 2_000));
            }
            final double before = fixture.metric("kvasir_storage_no_room_total", null, null);
            final ByteString refused =
                    engine.call(reserve(keys(100), OBJECT, 400)).getReserve().getSlots();
            assertTrue(statuses(refused, SlotStatus.SLOT_NO_ROOM) > 0);
            assertEquals(before + 1, fixture.metric("kvasir_storage_no_room_total", null, null));
        } finally {
            for (final EngineClient writer : writers) {
                writer.close();
            }
        }
    }

    @Test
    void aLookupThatWaitsIsCountedOnceWithWhatItAnswers() throws IOException {
        final ByteString keys = keys(3);
        final ByteString slots =
                engine.call(reserve(keys, OBJECT, 1000)).getReserve().getSlots();
        try (EngineClient reader = fixture.attached()) {
            reader.send(Request.newBuilder()
                    .setDeadlineMs(60_000)
                    .setLookup(Lookup.newBuilder().setNamespace(1).setKeys(keys).setWaitMs(60_000)));
            NodeFixture.await("the hold", () -> fixture.metric("kvasir_node_held_requests", null, null) == 1);
            assertTrue(fixture.metric("kvasir_node_held_bytes", null, null) > 3 * 32);
            engine.call(Request.newBuilder().setCommit(Commit.newBuilder().setSlots(slots.substring(0, 64))));
            engine.call(Request.newBuilder().setCommit(Commit.newBuilder().setSlots(slots.substring(64))));
            assertEquals(3, reader.read().getLookup().getHitChunks());
        }
        assertEquals(3, fixture.metric("kvasir_storage_hits_total", null, null));
        assertEquals(0, fixture.metric("kvasir_storage_pending_total", null, null));
        assertEquals(0, fixture.metric("kvasir_storage_misses_total", null, null));
        assertEquals(0, fixture.metric("kvasir_node_held_bytes", null, null));
    }

    @Test
    void longListsAreRefusedBeforeTheyAreDecoded() throws IOException {
        final Renew.Builder renew = Renew.newBuilder();
        for (int i = 0; i < 1_000_000; i++) {
            renew.addLeases(i);
        }
        refused("leases has more than 65536 entries", Request.newBuilder().setRenew(renew));
        refused(
                "leases has more than 65536 entries",
                Request.newBuilder().setRelease(Release.newBuilder().addAllLeases(renew.getLeasesList())));
        final Namespace.Builder namespace = EngineClient.NAMESPACE.toBuilder();
        for (int i = 0; i < 100_000; i++) {
            namespace.putExtra("k" + i, "v");
        }
        refused(
                "namespace has",
                Request.newBuilder().setOpenNamespace(OpenNamespace.newBuilder().setNamespace(namespace)));
    }

    @Test
    void callsOverManyItemsAnswerForEach() throws IOException {
        final ByteString keys = keys(100);
        final ByteString slots =
                engine.call(reserve(keys, 64, 1000)).getReserve().getSlots();
        final ByteString doubled = slots.concat(slots).concat(slots).concat(slots);
        final ByteString many = doubled.concat(doubled).concat(doubled).concat(doubled);
        final ByteString committed = engine.call(
                        Request.newBuilder().setCommit(Commit.newBuilder().setSlots(many)))
                .getCommit()
                .getStatuses();
        assertEquals(1600, committed.size());
        for (int i = 0; i < 1600; i++) {
            final SlotStatus expected = i < 100 ? SlotStatus.SLOT_COMMITTED : SlotStatus.SLOT_NOT_RESERVED;
            assertEquals(expected.getNumber(), committed.byteAt(i), "slot " + i);
        }
        assertEquals(
                1600,
                engine.call(Request.newBuilder().setAbort(Abort.newBuilder().setSlots(many)))
                        .getAbort()
                        .getStatuses()
                        .size());
        final Renew.Builder renew = Renew.newBuilder();
        for (int i = 0; i < 65_536; i++) {
            renew.addLeases(i);
        }
        assertEquals(
                65_536,
                engine.call(Request.newBuilder().setRenew(renew)).getRenew().getRenewedCount());
    }

    /** More of them than can be under way at once, from connections that end too, and one that waits. */
    @Test
    void wideLookupsAreAnsweredBesideEachOther() throws IOException {
        final int count = 1100;
        final ByteString keys = keys(count);
        final ByteString slots =
                engine.call(reserve(keys, 64, 5000)).getReserve().getSlots();
        final ByteString early = slots.substring(0, (count - 1) * 32);
        engine.call(Request.newBuilder().setCommit(Commit.newBuilder().setSlots(early)));
        wideLookups(keys, count, slots.substring(early.size()));
        assertEquals(0, fixture.metric("kvasir_node_held_requests", null, null));
    }

    private void wideLookups(final ByteString keys, final int count, final ByteString lastSlot) throws IOException {
        final List<EngineClient> clients = new ArrayList<>();
        for (int i = 0; i < 8; i++) {
            final EngineClient client = fixture.attached();
            clients.add(client);
            final boolean waits = i == 0;
            client.send(Request.newBuilder()
                    .setDeadlineMs(60_000)
                    .setLookup(Lookup.newBuilder()
                            .setNamespace(1)
                            .setKeys(keys)
                            .setSparse(i % 2 == 1)
                            .setPeek(i > 1)
                            .setWaitMs(waits ? 60_000 : 0)));
            if (i % 4 == 3) {
                client.close();
            }
        }
        assertEquals("now", ping("now"));
        for (int i = 1; i < 8; i++) {
            if (i % 4 != 3) {
                final io.kvasir.node.engine.v1.LookupResult found =
                        clients.get(i).read().getLookup();
                assertEquals(count - 1, found.getHitChunks());
                assertEquals(1, found.getPendingChunks());
                assertEquals(count - 1, statuses(found.getSlots(), SlotStatus.SLOT_HIT));
            }
        }
        NodeFixture.await("the hold", () -> fixture.metric("kvasir_node_held_requests", null, null) == 1);
        engine.call(Request.newBuilder().setCommit(Commit.newBuilder().setSlots(lastSlot)));
        assertEquals(count, clients.getFirst().read().getLookup().getHitChunks());
        for (final EngineClient client : clients) {
            client.close();
        }
    }

    private void refused(final String why, final Request.Builder request) throws IOException {
        final Error error = engine.call(request).getError();
        assertEquals(Error.Code.INVALID_ARGUMENT, error.getCode());
        assertTrue(error.getMessage().contains(why), error::getMessage);
    }

    private String ping(final String text) throws IOException {
        return engine.call(Request.newBuilder().setPing(Ping.newBuilder().setPayload(ByteString.copyFromUtf8(text))))
                .getPing()
                .getPayload()
                .toStringUtf8();
    }

    private static Request.Builder reserve(final ByteString keys, final long length, final int waitMs) {
        return Request.newBuilder()
                .setDeadlineMs(30_000)
                .setReserve(Reserve.newBuilder()
                        .setNamespace(1)
                        .setKeys(keys)
                        .addLengths(length)
                        .setWaitMs(waitMs));
    }

    private static int statuses(final ByteString slots, final SlotStatus status) {
        int count = 0;
        for (int i = 0; i < slots.size(); i += 32) {
            count += slots.byteAt(i) == status.getNumber() ? 1 : 0;
        }
        return count;
    }

    private ByteString keys(final int count) {
        final byte[] bytes = new byte[count * 32];
        random.nextBytes(bytes);
        return ByteString.copyFrom(bytes);
    }
}
