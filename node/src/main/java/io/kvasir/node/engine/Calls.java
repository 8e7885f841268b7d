package io.kvasir.node.engine;

import io.kvasir.node.engine.v1.CancelResult;
import io.kvasir.node.engine.v1.Error;
import io.kvasir.node.engine.v1.PingResult;
import io.kvasir.node.engine.v1.Request;
import io.kvasir.node.engine.v1.Response;
import io.kvasir.storage.EngineStore;
import java.util.concurrent.TimeUnit;

/** Hands each request to the part that answers it. Called by the server for one decoded frame at a time. */
final class Calls {
    private final EngineContext ctx;
    private final HeldRequests held;
    private final JoinCalls joins;
    private final LookupCalls lookups;
    private final ReadCalls reads;
    private final WriteCalls writes;
    private final EventCalls events;
    private final ClusterCalls cluster;

    Calls(
            final EngineContext ctx,
            final EngineServer server,
            final Turns turns,
            final EngineStore store,
            final HeldRequests held,
            final EngineMetrics metrics) {
        this.ctx = ctx;
        this.held = held;
        joins = new JoinCalls(ctx, server, store, held, metrics);
        reads = new ReadCalls(ctx, turns, store);
        lookups = new LookupCalls(ctx, server, turns, store, held, metrics);
        writes = new WriteCalls(ctx, server, turns, store, held);
        events = new EventCalls(ctx, server, store, held);
        cluster = new ClusterCalls(ctx, server, turns, store, held);
    }

    /** Null when the answer comes later. */
    Response.Builder call(final Connection connection, final Request request, final long arrivedNs) {
        return switch (request.getCallCase()) {
            case PING ->
                Response.newBuilder()
                        .setPing(PingResult.newBuilder()
                                .setPayload(request.getPing().getPayload()));
            case LOOKUP -> lookups.lookup(connection, request, arrivedNs, until(request, arrivedNs));
            case RESOLVE -> reads.resolve(connection, request, arrivedNs);
            case RENEW -> reads.renew(connection, request, arrivedNs);
            case RELEASE -> reads.release(connection, request, arrivedNs);
            case RESERVE ->
                writes.reserve(connection, request.getId(), request.getReserve(), arrivedNs, until(request, arrivedNs));
            case COMMIT -> writes.commit(connection, request, arrivedNs);
            case ABORT -> writes.abort(connection, request, arrivedNs);
            case PIN -> writes.pin(connection, request, arrivedNs, until(request, arrivedNs));
            case UNPIN -> writes.unpin(connection, request, arrivedNs, until(request, arrivedNs));
            case HELLO ->
                joins.hello(connection, request.getId(), request.getHello(), arrivedNs, until(request, arrivedNs));
            case ATTACH -> joins.attach(connection, request.getAttach());
            case OPEN_NAMESPACE -> joins.openNamespace(connection, request.getOpenNamespace());
            case EVENTS ->
                events.events(connection, request.getId(), request.getEvents(), arrivedNs, until(request, arrivedNs));
            case CANCEL ->
                Response.newBuilder()
                        .setCancel(CancelResult.newBuilder()
                                .setCancelled(held.cancel(
                                        connection, request.getCancel().getRequest())));
            case HANDOFF -> cluster.handoff(connection, request, arrivedNs);
            case SCORES ->
                cluster.scores(connection, request.getId(), request.getScores(), arrivedNs, until(request, arrivedNs));
            case CALL_NOT_SET ->
                throw new CallException(
                        Error.Code.UNSUPPORTED, "the request has no call, or one that this node does not know");
        };
    }

    void connectionEnded(final Connection connection) {
        joins.connectionEnded(connection);
    }

    /** The connection's session; refuses before Attach. */
    static Session session(final Connection connection) {
        if (connection.session == null) {
            throw new CallException(
                    Error.Code.NOT_ATTACHED,
                    connection.attachment == null ? "Hello has to come first" : "Attach has to come first");
        }
        return connection.session;
    }

    static Session.Opened namespace(final Session session, final int handle) {
        final Session.Opened opened = session.namespace(handle);
        if (opened == null) {
            throw new CallException(
                    Error.Code.UNKNOWN_NAMESPACE,
                    "namespace is " + Integer.toUnsignedString(handle) + "; this session never opened it");
        }
        return opened;
    }

    private long until(final Request request, final long arrivedNs) {
        final long budgetNs = request.getDeadlineMs() == 0
                ? ctx.defaultDeadline().toNanos()
                : TimeUnit.MILLISECONDS.toNanos(Integer.toUnsignedLong(request.getDeadlineMs()));
        return arrivedNs + budgetNs;
    }
}
