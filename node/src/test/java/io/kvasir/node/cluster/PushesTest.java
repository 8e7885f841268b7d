package io.kvasir.node.cluster;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.lease.TimerWheel;
import io.kvasir.storage.move.Channel;
import io.kvasir.storage.move.MoveBudget;
import io.kvasir.storage.move.MoveKind;
import io.kvasir.storage.move.Mover;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.Shard;
import io.kvasir.transport.Outcome;
import io.kvasir.transport.Priority;
import io.kvasir.transport.PushRequest;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.junit.jupiter.api.Test;

class PushesTest {
    private static final long SECOND = 1_000_000_000;
    private static final Peer NEAR = new Peer(1, "01".repeat(16), "near", "127.0.0.1", 7800, new UUID(0, 1));
    private static final Peer FAR = new Peer(2, "02".repeat(16), "far", "127.0.0.1", 7900, new UUID(0, 2));

    private final TimerWheel timers = new TimerWheel(0);
    private final Mover mover = new Mover(timers, Map.of(Channel.LINK, new MoveBudget(100, 100, 10, 4, 100, 10)));
    private final ArrayDeque<Runnable> tasks = new ArrayDeque<>();
    private final List<PushRequest> sent = new ArrayList<>();
    private final List<String> ended = new ArrayList<>();
    private boolean linkTakes = true;
    private final Pushes pushes = new Pushes(mover, tasks::add, request -> linkTakes && sent.add(request));

    private void push(final MoveKind kind, final Peer peer, final long number, final long bytes) {
        pushes.push(
                kind,
                peer,
                new ObjectId(Hash256.ZERO, new Hash256(number, 0, 0, 0), new Shard(0, 1, 0, 1, 0, 0, 1, 0, 1)),
                bytes,
                SECOND,
                (id, outcome) -> ended.add(id.key().a() + " " + outcome));
    }

    private void turn() {
        while (!tasks.isEmpty()) {
            tasks.poll().run();
        }
        pushes.doWork();
    }

    private void end(final PushRequest request) {
        for (int i = 0; i < request.objects().size(); i++) {
            request.listener().onObject(i, Outcome.STORED);
        }
        request.listener().onEnd();
        turn();
    }

    @Test
    void shouldSendAsOneTransferWhatStartsTogether() {
        push(MoveKind.DRAIN, NEAR, 1, 10);
        push(MoveKind.DRAIN, FAR, 2, 10);
        push(MoveKind.DRAIN, NEAR, 3, 10);
        push(MoveKind.HANDOFF, NEAR, 4, 10);
        turn();
        assertEquals(3, sent.size());
        assertEquals(3, pushes.transfers());
        final PushRequest drained = sent.stream()
                .filter(request -> request.objects().size() == 2)
                .findFirst()
                .orElseThrow();
        assertEquals(Priority.STORE, drained.priority());
        assertEquals(NEAR.linkPort(), drained.peer().port());
        end(drained);
        assertEquals(List.of("1 STORED", "3 STORED"), ended);
        assertEquals(2, pushes.transfers());
        assertEquals(20, mover.movingBytes(Channel.LINK));
    }

    @Test
    void shouldKeepToTheBudgetAndSendHandoffsFirst() {
        push(MoveKind.LAST_COPY, NEAR, 1, 80);
        push(MoveKind.LAST_COPY, NEAR, 2, 80);
        push(MoveKind.HANDOFF, NEAR, 3, 80);
        turn();
        assertEquals(1, sent.size());
        end(sent.getLast());
        assertEquals(2, sent.size());
        assertEquals(Priority.LOAD, sent.getLast().priority());
        end(sent.getLast());
        end(sent.getLast());
        assertEquals(List.of("1 STORED", "3 STORED", "2 STORED"), ended);
        assertEquals(0, mover.movingBytes(Channel.LINK));
    }

    @Test
    void shouldEndWhatTheLinkOrTheQueueDoesNotTakeAndWhatIsLate() {
        push(MoveKind.DRAIN, NEAR, 0, 100);
        for (int number = 1; number <= 5; number++) {
            push(MoveKind.DRAIN, NEAR, number, 100);
        }
        assertEquals(List.of(), ended, "nobody hears before the call has returned");
        turn();
        assertEquals(List.of("5 BUSY"), ended);
        timers.poll(2 * SECOND, 100);
        assertEquals(
                List.of("5 BUSY", "1 DEADLINE", "2 DEADLINE", "3 DEADLINE", "4 DEADLINE"),
                ended.stream()
                        .sorted((a, b) -> a.endsWith("BUSY") ? -1 : b.endsWith("BUSY") ? 1 : a.compareTo(b))
                        .toList());
        ended.clear();
        end(sent.getLast());
        linkTakes = false;
        push(MoveKind.DRAIN, NEAR, 6, 100);
        turn();
        turn();
        assertEquals(List.of("0 STORED", "6 BUSY"), ended);
        assertEquals(0, pushes.transfers());
        assertTrue(mover.takes(MoveKind.DRAIN, io.kvasir.storage.move.MovePriority.STORE, 1));
        assertEquals(0, mover.movingBytes(Channel.LINK));
    }

    @Test
    void shouldTakeBackWhatWaitsForAPeerThatIsGone() {
        push(MoveKind.DRAIN, NEAR, 0, 100);
        push(MoveKind.DRAIN, FAR, 1, 100);
        push(MoveKind.DRAIN, NEAR, 2, 100);
        push(MoveKind.DRAIN, FAR, 3, 100);
        turn();
        pushes.gone(FAR);
        turn();
        assertEquals(
                List.of("1 UNREACHABLE", "3 UNREACHABLE"),
                ended.stream().sorted().toList());
        ended.clear();
        end(sent.getLast());
        end(sent.getLast());
        assertEquals(List.of("0 STORED", "2 STORED"), ended);
        assertEquals(2, sent.size());
    }
}
