package io.kvasir.node.cluster;

import io.kvasir.storage.move.Move;
import io.kvasir.storage.move.MoveKind;
import io.kvasir.storage.move.MovePriority;
import io.kvasir.storage.move.Mover;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.transport.Outcome;
import io.kvasir.transport.Priority;
import io.kvasir.transport.PushRequest;
import io.kvasir.transport.TransferListener;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Executor;
import java.util.function.BiConsumer;
import java.util.function.Predicate;

/**
 * Objects on their way from this node to others. Each waits for its turn in the store's {@link Mover}; those that start
 * in one turn of the store go to a peer as one transfer. Owned by the store's thread.
 */
final class Pushes {
    /** What one transfer is for. */
    private record Target(Peer peer, Priority priority) {}

    private final Mover mover;
    private final Executor owner;
    private final Predicate<PushRequest> link;
    private final Map<Peer, Set<Push>> waiting = new HashMap<>();
    private final Map<Target, List<Push>> started = new HashMap<>();
    private int transfers;

    /**
     * @param owner runs tasks on the store's thread
     * @param link starts a transfer; false: it cannot now
     */
    Pushes(final Mover mover, final Executor owner, final Predicate<PushRequest> link) {
        this.mover = mover;
        this.owner = owner;
        this.link = link;
    }

    /** Transfers under way. */
    int transfers() {
        return transfers;
    }

    /**
     * Sends an object to a node.
     *
     * @param bytes what it counts for in the budget
     * @param ended hears, on the store's thread and after this returns, how it ended
     */
    void push(
            final MoveKind kind,
            final Peer peer,
            final ObjectId id,
            final long bytes,
            final long byNs,
            final BiConsumer<ObjectId, Outcome> ended) {
        final Push push = new Push(kind, peer, id, bytes, byNs, ended);
        if (!mover.submit(push, byNs)) {
            push.neverStarted(Outcome.BUSY);
        } else if (!push.hasStarted) {
            waiting.computeIfAbsent(peer, ignored -> new HashSet<>()).add(push);
        }
    }

    /** It has left the cluster: what waits for it is taken back. */
    void gone(final Peer peer) {
        final Set<Push> pushes = waiting.remove(peer);
        if (pushes != null) {
            for (final Push push : pushes) {
                if (mover.cancel(push)) {
                    push.neverStarted(Outcome.UNREACHABLE);
                }
            }
        }
    }

    private final class Push extends Move {
        private final Target target;
        private final ObjectId id;
        private final long byNs;
        private final BiConsumer<ObjectId, Outcome> ended;
        private boolean hasStarted;

        Push(
                final MoveKind kind,
                final Peer peer,
                final ObjectId id,
                final long bytes,
                final long byNs,
                final BiConsumer<ObjectId, Outcome> ended) {
            // An engine waits for what is handed off; nobody waits for a copy.
            super(kind, kind == MoveKind.HANDOFF ? MovePriority.STORE : MovePriority.BACKGROUND_STORE, bytes);
            target = new Target(peer, kind == MoveKind.HANDOFF ? Priority.LOAD : Priority.STORE);
            this.id = id;
            this.byNs = byNs;
            this.ended = ended;
        }

        @Override
        protected void start() {
            hasStarted = true;
            waitsNoLonger();
            started.computeIfAbsent(target, ignored -> new ArrayList<>()).add(this);
        }

        @Override
        protected void dropped() {
            waitsNoLonger();
            ended.accept(id, Outcome.DEADLINE);
        }

        private void waitsNoLonger() {
            final Set<Push> others = waiting.get(target.peer);
            if (others != null && others.remove(this) && others.isEmpty()) {
                waiting.remove(target.peer);
            }
        }

        private void neverStarted(final Outcome outcome) {
            owner.execute(() -> ended.accept(id, outcome));
        }

        private void end(final Outcome outcome) {
            mover.ended(this);
            ended.accept(id, outcome);
        }
    }

    /** Hands what has started to the link; called every duty cycle. */
    int doWork() {
        if (started.isEmpty()) {
            return 0;
        }
        final Map<Target, List<Push>> batches = Map.copyOf(started);
        started.clear();
        batches.forEach(this::transfer);
        return batches.size();
    }

    private void transfer(final Target target, final List<Push> batch) {
        transfers++;
        final TransferListener listener = new TransferListener() {
            @Override
            public void onObject(final int index, final Outcome outcome) {
                owner.execute(() -> batch.get(index).end(outcome));
            }

            @Override
            public void onEnd() {
                owner.execute(() -> transfers--);
            }
        };
        final long byNs = batch.stream()
                .map(push -> push.byNs)
                .reduce((a, b) -> a - b > 0 ? a : b)
                .orElseThrow();
        final PushRequest request = new PushRequest(
                Names.peer(target.peer),
                batch.stream().map(push -> Names.name(push.id)).toList(),
                byNs,
                target.priority,
                listener);
        if (!link.test(request)) {
            for (int i = 0; i < batch.size(); i++) {
                listener.onObject(i, Outcome.BUSY);
            }
            listener.onEnd();
        }
    }
}
