package io.kvasir.node.cluster;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.StoreContext;
import io.kvasir.storage.StoreFixture;
import io.kvasir.storage.move.MoveKind;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.tenant.Tenant;
import io.kvasir.storage.tier.ssd.StoredObject;
import io.kvasir.transport.Incarnation;
import io.kvasir.transport.Outcome;
import io.kvasir.transport.Peer;
import io.kvasir.transport.Priority;
import io.kvasir.transport.Reservation;
import io.kvasir.transport.SinkAnswer;
import java.io.IOException;
import java.nio.file.Path;
import org.agrona.concurrent.SystemNanoClock;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class StoreSinkTest {
    private static final int LENGTH = 4096;
    private static final long LONG_NS = 60_000_000_000L;
    private static final Peer SENDER = new Peer("127.0.0.1", 7802, new Incarnation(1, 2));

    private Path arena;
    private StoreFixture fixture;
    private StoreSink pushed;

    private static final class Answer implements SinkAnswer {
        Reservation slot;
        Outcome refused;

        @Override
        public void accept(final Reservation reservation) {
            slot = reservation;
        }

        @Override
        public void refuse(final Outcome reason) {
            refused = reason;
        }

        boolean isThere() {
            return slot != null || refused != null;
        }
    }

    @BeforeEach
    void open() throws IOException {
        arena = StoreFixture.arenaDirectory();
        fixture = new StoreFixture(new StoreContext()
                .dramDirectory(arena.resolve("arena"))
                .dramCapacity(8 << 20)
                .regionBytes(1 << 20)
                .linkInFlight(2 * LENGTH));
        fixture.store.engines().rememberNamespace(StoreFixture.NAMESPACE, fixture.tenant.name(), new byte[0]);
        pushed = new StoreSink(fixture.store.peers(), null, SystemNanoClock.INSTANCE);
    }

    @AfterEach
    void close() throws IOException {
        fixture.close();
        StoreFixture.deleteAll(arena);
    }

    private Answer offer(final StoreSink sink, final long number, final Priority priority) {
        final Answer answer = new Answer();
        sink.offer(
                Names.name(new ObjectId(
                        StoreFixture.NAMESPACE, Hash256.read(StoreFixture.key(number), 0), StoreFixture.SHARD)),
                Names.version(new StoredObject(LENGTH, 0, 0, Hash256.ZERO, 0, 0, 0)),
                SENDER,
                System.nanoTime() + LONG_NS,
                priority,
                answer);
        sink.flush();
        return answer;
    }

    private void settle(final Answer... answers) {
        for (final Answer answer : answers) {
            fixture.until("an answer", answer::isThere);
        }
    }

    @Test
    void shouldGiveSlotsToPeersWithinTheBudgetAndToHandoffsFirst() {
        final Answer first = offer(pushed, 1, Priority.STORE);
        final Answer second = offer(pushed, 2, Priority.STORE);
        settle(first, second);
        final Answer third = offer(pushed, 3, Priority.STORE);
        final Answer fourth = offer(pushed, 4, Priority.LOAD);
        fixture.until("both wait", () -> fixture.store.admin().mover().waiting(MoveKind.REPLICA) == 2);
        assertTrue(!third.isThere() && !fourth.isThere());
        first.slot.failed(Outcome.CANCELLED);
        pushed.flush();
        settle(fourth);
        assertTrue(!third.isThere());
        second.slot.failed(Outcome.CANCELLED);
        fourth.slot.failed(Outcome.CANCELLED);
        pushed.flush();
        settle(third);
        third.slot.complete();
        pushed.flush();
        fixture.until("all over", () -> fixture.store.admin().mover().moving(MoveKind.REPLICA) == 0);
        final Answer again = offer(pushed, 3, Priority.STORE);
        settle(again);
        assertEquals(Outcome.ALREADY_THERE, again.refused);
        assertEquals(0, fixture.store.admin().mover().moving(MoveKind.REPLICA));
    }

    @Test
    void shouldNotLetWhatIsPulledWaitForWhatPeersSend() {
        final Answer first = offer(pushed, 1, Priority.STORE);
        final Answer second = offer(pushed, 2, Priority.STORE);
        settle(first, second);
        final Tenant tenant = fixture.tenant;
        final Answer pulled =
                offer(new StoreSink(fixture.store.peers(), tenant, SystemNanoClock.INSTANCE), 3, Priority.LOAD);
        settle(pulled);
        assertNull(pulled.refused);
    }
}
