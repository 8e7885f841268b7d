package io.kvasir.transport;

import io.kvasir.transport.LinkCounters.Counter;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * Gets slots for offered objects: spends the peer's credits, asks the sink, tells the holder to send; and hands each
 * reservation back to its owner, once. Used by {@link Receiver} only.
 */
final class InboundSlots {
    /** Hears what the sinks answer. */
    interface Listener {
        /** A slot was reserved for an object of this transfer, which did not get on until now. */
        void progressed(InboundTransfer transfer);

        void refused(InboundObject object, Outcome reason);
    }

    private final LinkContext context;
    private final Links links;
    private final Messages messages;
    private final Answers answers;
    private final Listener listener;
    /** Wait for a place at the sink. */
    private final List<InboundObject> full = new ArrayList<>();

    private final Set<ObjectSink> toFlush = new HashSet<>();
    private int sinkUse;

    InboundSlots(
            final LinkContext context,
            final Links links,
            final Messages messages,
            final Answers answers,
            final Listener listener) {
        this.context = context;
        this.links = links;
        this.messages = messages;
        this.answers = answers;
        this.listener = listener;
    }

    /** Takes an offered object one step further; called whenever something that it waited for has come. */
    void proceed(final InboundObject object) {
        if (object.ended || object.offered == null || object.accepted || object.asked != null) {
            return;
        }
        final Link link = object.transfer.link;
        if (object.reservation != null && !object.reservedVersion.sameBytes(object.offered)) {
            giveBack(object, Outcome.MISSING);
        }
        if (object.reservation == null) {
            final long length = object.offered.length();
            if (link.creditUsed > 0 && link.creditUsed + length > context.credits()) {
                link.waitForCredit.add(object);
                return;
            }
            if (sinkUse >= context.maxReservations() || !answers.take()) {
                full.add(object);
                return;
            }
            takeCredit(object, link, length);
            askSink(object, link);
            return;
        }
        takeCredit(object, link, object.reservedVersion.length());
        object.accepted = true;
        if (object.received > 0) {
            context.counters().add(Counter.BYTES_RESUMED, object.received);
        }
        links.send(link, messages.accept(link, object.transfer.number, object.wireIndex, object.received));
    }

    private void askSink(final InboundObject object, final Link link) {
        final ObjectVersion version = object.offered;
        object.asked = version;
        sinkUse++;
        toFlush.add(object.sink);
        final AtomicBoolean answered = new AtomicBoolean();
        try {
            object.sink.offer(
                    object.name,
                    version,
                    link.peer,
                    object.transfer.deadlineNs,
                    object.transfer.priority,
                    new SinkAnswer() {
                        @Override
                        public void accept(final Reservation reservation) {
                            Answers.once(answered);
                            answers.answer(() -> onReserved(object, version, reservation));
                        }

                        @Override
                        public void refuse(final Outcome reason) {
                            Answers.once(answered);
                            answers.answer(() -> onSinkRefused(object, reason));
                        }
                    });
        } catch (final RuntimeException e) {
            context.errors().onError("the sink failed at an offer: " + e);
            if (answered.compareAndSet(false, true)) {
                answers.answer(() -> onSinkRefused(object, Outcome.REFUSED));
            }
        }
    }

    private void onReserved(final InboundObject object, final ObjectVersion version, final Reservation reservation) {
        object.asked = null;
        context.counters().add(Counter.RESERVATIONS, 1);
        if (object.ended) {
            finish(object, reservation, Outcome.CANCELLED);
        } else {
            object.reserve(reservation, version);
            if (object.transfer != null) {
                listener.progressed(object.transfer);
                proceed(object);
            }
        }
    }

    private void onSinkRefused(final InboundObject object, final Outcome reason) {
        object.asked = null;
        sinkUse--;
        if (!object.ended) {
            listener.refused(object, reason);
        }
    }

    void giveBack(final InboundObject object, final Outcome reason) {
        finish(object, object.giveUp(), reason);
    }

    /** Hands a reservation back to its owner, for good. */
    private void finish(final InboundObject object, final Reservation reservation, final Outcome outcome) {
        sinkUse--;
        context.counters().add(Counter.RESERVATIONS, -1);
        toFlush.add(object.sink);
        try {
            if (outcome == Outcome.STORED) {
                reservation.complete();
            } else {
                reservation.failed(outcome);
            }
        } catch (final RuntimeException e) {
            context.errors().onError("the sink failed at the end of object " + object.index + ": " + e);
        }
    }

    private static void takeCredit(final InboundObject object, final Link link, final long bytes) {
        if (object.creditLink == null) {
            object.creditLink = link;
            object.credit = bytes;
            link.creditUsed += bytes;
        }
    }

    void releaseCredit(final InboundObject object) {
        final Link link = object.creditLink;
        if (link != null) {
            link.creditUsed -= object.credit;
            object.creditLink = null;
            // One at a time: whoever gets on asks for the rest when it ends.
            while (!link.waitForCredit.isEmpty()) {
                final InboundObject next = link.waitForCredit.peek();
                final boolean stale = next.ended || next.transfer == null || next.transfer.link != link;
                if (!stale && link.creditUsed > 0 && link.creditUsed + next.offered.length() > context.credits()) {
                    break;
                }
                link.waitForCredit.poll();
                if (!stale) {
                    proceed(next);
                }
            }
        }
    }

    /** Lets the sinks wake their owners, once for all that they were told. */
    int flush() {
        if (toFlush.isEmpty()) {
            return 0;
        }
        for (final ObjectSink sink : toFlush) {
            try {
                sink.flush();
            } catch (final RuntimeException e) {
                context.errors().onError("the sink failed at flush: " + e);
            }
        }
        toFlush.clear();
        return 1;
    }

    void tick() {
        if (!full.isEmpty()) {
            final List<InboundObject> again = List.copyOf(full);
            full.clear();
            again.forEach(this::proceed);
        }
    }
}
