package io.kvasir.node.cluster;

import io.kvasir.storage.Incoming;
import io.kvasir.storage.PeerStore;
import io.kvasir.storage.Reception;
import io.kvasir.storage.move.Move;
import io.kvasir.storage.move.MoveKind;
import io.kvasir.storage.move.MovePriority;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.SlotStatus;
import io.kvasir.storage.tenant.Tenant;
import io.kvasir.storage.tier.ssd.StoredObject;
import io.kvasir.transport.ObjectName;
import io.kvasir.transport.ObjectSink;
import io.kvasir.transport.ObjectVersion;
import io.kvasir.transport.Outcome;
import io.kvasir.transport.Peer;
import io.kvasir.transport.Priority;
import io.kvasir.transport.Reservation;
import io.kvasir.transport.SinkAnswer;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import org.agrona.concurrent.NanoClock;

/** Gives the peer link slots of this node's store. On the link's thread; the store's thread does the work. */
final class StoreSink implements ObjectSink {
    private static final long PUSH_ROOM_NS = 1_000_000_000;

    private record Offer(ObjectId id, StoredObject object, long deadlineNs, Priority priority, SinkAnswer answer) {}

    private final PeerStore store;
    private final Tenant tenant;
    private final NanoClock clock;
    private List<Runnable> tasks = new ArrayList<>();

    /** @param tenant whose objects come; null: the one that each object's namespace belongs to here */
    StoreSink(final PeerStore store, final Tenant tenant, final NanoClock clock) {
        this.store = store;
        this.tenant = tenant;
        this.clock = clock;
    }

    @Override
    public void offer(
            final ObjectName name,
            final ObjectVersion version,
            final Peer from,
            final long deadlineNs,
            final Priority priority,
            final SinkAnswer answer) {
        final ObjectId id = Names.id(name);
        if (id == null) {
            answer.refuse(Outcome.REFUSED);
            return;
        }
        final long untilNs = tenant == null ? Math.min(deadlineNs, clock.nanoTime() + PUSH_ROOM_NS) : deadlineNs;
        final Offer offer = new Offer(id, Names.object(version), untilNs, priority, answer);
        tasks.add(tenant == null ? () -> admit(offer) : () -> place(offer, null));
    }

    /** Several commits in one turn of the store's thread: it is woken once. */
    @Override
    public void flush() {
        if (!tasks.isEmpty()) {
            final List<Runnable> batch = tasks;
            tasks = new ArrayList<>();
            store.execute(() -> batch.forEach(Runnable::run));
        }
    }

    /** What a peer sends has its turn in the mover before it gets a slot. What this node pulls had it before it asked. */
    private void admit(final Offer offer) {
        if (!store.mover().submit(new Replica(offer), offer.deadlineNs)) {
            offer.answer.refuse(Outcome.REFUSED);
        }
    }

    private final class Replica extends Move {
        private final Offer offer;

        Replica(final Offer offer) {
            super(
                    MoveKind.REPLICA,
                    offer.priority == Priority.LOAD ? MovePriority.STORE : MovePriority.BACKGROUND_STORE,
                    offer.object.length());
            this.offer = offer;
        }

        @Override
        protected void start() {
            place(offer, this);
        }

        @Override
        protected void dropped() {
            offer.answer.refuse(Outcome.REFUSED);
        }
    }

    private void refuse(final Offer offer, final Move move, final Outcome outcome) {
        offer.answer.refuse(outcome);
        over(move);
    }

    private void over(final Move move) {
        if (move != null) {
            store.mover().ended(move);
        }
    }

    /** @param move what ends with it; null for a pull, whose move is that of its lookup */
    private void place(final Offer offer, final Move move) {
        final Tenant owner = tenant == null ? store.tenantOf(offer.id.namespace()) : tenant;
        if (owner == null) {
            refuse(offer, move, Outcome.REFUSED);
            return;
        }
        // A pull makes a copy. A move takes only room that nobody has; what an engine waits for may take more.
        final Reception reception = store.receive(
                owner, offer.id, offer.object, tenant != null, tenant != null || offer.priority == Priority.LOAD);
        switch (reception.status()) {
            case SlotStatus.GRANTED -> offer.answer.accept(new Slot(reception.slot(), move));
            case SlotStatus.EXISTS -> refuse(offer, move, Outcome.ALREADY_THERE);
            case SlotStatus.NO_ROOM -> {
                // A region may be on its way; a push waits no longer than for that.
                if (clock.nanoTime() - offer.deadlineNs >= 0) {
                    refuse(offer, move, Outcome.REFUSED);
                } else {
                    store.whenRoom(() -> place(offer, move));
                }
            }
            default -> refuse(offer, move, Outcome.REFUSED);
        }
    }

    private final class Slot implements Reservation {
        private final Incoming incoming;
        private final Move move;

        Slot(final Incoming incoming, final Move move) {
            this.incoming = incoming;
            this.move = move;
        }

        @Override
        public void write(final long position, final MemorySegment from) {
            incoming.write(position, from);
        }

        @Override
        public void complete() {
            tasks.add(() -> {
                incoming.commit();
                over(move);
            });
        }

        @Override
        public void failed(final Outcome reason) {
            tasks.add(() -> {
                incoming.abort();
                over(move);
            });
        }
    }
}
