package io.kvasir.node.engine;

import io.kvasir.node.engine.v1.Error;
import io.kvasir.node.engine.v1.Events;
import io.kvasir.node.engine.v1.Request;
import io.kvasir.node.engine.v1.Response;
import io.kvasir.storage.EngineStore;
import io.kvasir.storage.object.ObjectEvent;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/** Events: what happened to a tenant's objects. */
final class EventCalls {
    private final EngineContext ctx;
    private final EngineServer server;
    private final HeldRequests held;
    private final Map<String, EventRing> rings = new HashMap<>();
    /** What concerned all tenants: the beginning of the stream of one that is new here. */
    private final List<ObjectEvent> cleared = new ArrayList<>();

    EventCalls(final EngineContext ctx, final EngineServer server, final EngineStore store, final HeldRequests held) {
        this.ctx = ctx;
        this.server = server;
        this.held = held;
        store.onEvent(this::onEvent);
    }

    Response.Builder events(
            final Connection connection,
            final long id,
            final Events events,
            final long arrivedNs,
            final long deadlineNs) {
        if (connection.tenant == null) {
            throw new CallException(Error.Code.NOT_ATTACHED, "Hello has to come first");
        }
        final EventRing ring = ring(connection.tenant.name());
        if (events.getAfter() < 0) {
            throw CallException.invalid("after is " + Long.toUnsignedString(events.getAfter())
                    + "; no event has such a number, the last one of this tenant is " + ring.last());
        }
        // A number of an earlier incarnation: that stream is over, and this one begins at its oldest event.
        final long unknown = events.getAfter() > ring.last() ? events.getAfter() : 0;
        final long after = unknown == 0 ? events.getAfter() : 0;
        final int limit =
                events.getLimit() <= 0 ? EventRing.MAX_EVENTS : Math.min(events.getLimit(), EventRing.MAX_EVENTS);
        if (after < ring.last() || events.getWaitMs() == 0) {
            return Response.newBuilder().setEvents(ring.after(after, limit, unknown));
        }
        final long waitNs = TimeUnit.MILLISECONDS.toNanos(Integer.toUnsignedLong(events.getWaitMs()));
        final long untilNs = Math.min(arrivedNs + waitNs, deadlineNs - ReadCalls.ANSWER_NS);
        final HeldEvents waiting = new HeldEvents(connection, id, arrivedNs, untilNs, ring, after, limit, unknown);
        if (!held.add(waiting)) {
            return Response.newBuilder().setEvents(ring.after(after, limit, unknown));
        }
        ring.await(waiting);
        return null;
    }

    private void onEvent(final ObjectEvent event) {
        if (event.kind() != ObjectEvent.Kind.CLEARED) {
            add(ring(event.tenant()), event);
            return;
        }
        rings.values().forEach(ring -> add(ring, event));
        cleared.add(event);
    }

    private void add(final EventRing ring, final ObjectEvent event) {
        ring.add(event, server.nowMs());
        for (final Held waiter : ring.takeWaiters()) {
            held.wake(waiter);
        }
    }

    private EventRing ring(final String tenant) {
        return rings.computeIfAbsent(tenant, name -> {
            final EventRing ring = new EventRing(ctx.nodeName(), ctx.eventsKept());
            cleared.forEach(event -> ring.add(event, server.nowMs()));
            return ring;
        });
    }

    private final class HeldEvents extends Held {
        private final EventRing ring;
        private final long after;
        private final int limit;
        private final long unknown;

        HeldEvents(
                final Connection connection,
                final long requestId,
                final long arrivedNs,
                final long untilNs,
                final EventRing ring,
                final long after,
                final int limit,
                final long unknown) {
            super(connection, requestId, Request.CallCase.EVENTS, arrivedNs, untilNs, 0);
            this.ring = ring;
            this.after = after;
            this.limit = limit;
            this.unknown = unknown;
        }

        @Override
        void ready() {
            held.remove(this);
            server.answer(this, Response.newBuilder().setEvents(ring.after(after, limit, unknown)));
        }

        @Override
        void expire() {
            ring.forget(this);
            server.answer(this, Response.newBuilder().setEvents(ring.after(after, limit, unknown)));
        }

        @Override
        void drop() {
            ring.forget(this);
        }
    }
}
