package io.kvasir.node.engine;

import io.kvasir.node.engine.v1.Error;
import io.kvasir.node.engine.v1.Request;
import io.kvasir.node.engine.v1.Response;
import io.kvasir.storage.StoreAgent;
import io.kvasir.storage.tier.Attachment;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.util.ArrayDeque;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import org.agrona.concurrent.Agent;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The engine API's server and the object store's owner: one thread reads sockets, answers calls and drives the store, so
 * no call changes threads. {@link #doWork()} never blocks; {@link #await} sleeps until there is work.
 */
public final class EngineServer implements Agent, AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(EngineServer.class);
    /** How long connections are taken down in one duty cycle: each has a file, and leases to give back. */
    private static final long ENDS_NS = 500_000;

    private static final long DUTY_FAILURE_NS = 1_000_000_000;

    private final EngineContext ctx;
    private final EngineMetrics metrics;
    private final Selector selector;
    private final Acceptor acceptor;
    private final StoreAgent store;
    private final HeldRequests held;
    private final Outbox outbox;
    private final Turns turns;
    private final Set<Connection> connections = new LinkedHashSet<>();
    private final ArrayDeque<Connection> ending = new ArrayDeque<>();
    private final WakeupSignal wakeup;
    /** The clocks were read before a sleep that has ended. */
    private boolean slept;

    private final long spinNs;
    private final long busySpinNs;

    /** See {@link Budget#socketBytes}. */
    private long socketBytes;

    private boolean freeingSocketBytes;

    private long nowNs;
    private long nowMs;
    private long sweptNs;
    private long dutyFailureNs = System.nanoTime() - DUTY_FAILURE_NS;

    /** Takes over {@code listener}, which is bound; makes the store. */
    public EngineServer(final EngineContext context, final ServerSocketChannel listener) {
        this.ctx = context.conclude();
        this.metrics = new EngineMetrics(ctx.registry());
        this.spinNs = ctx.spin().toNanos();
        this.busySpinNs = Math.max(spinNs, ctx.busySpin().toNanos());
        this.outbox = new Outbox(ctx, metrics, this::end, this::socketBytes);
        try {
            selector = Selector.open();
            wakeup = new WakeupSignal(selector::wakeup);
            acceptor = new Acceptor(listener, selector, metrics, this::admit);
        } catch (final IOException e) {
            throw new UncheckedIOException("the engine API's socket cannot be watched: " + ctx.socket(), e);
        }
        readClocks();
        sweptNs = nowNs;
        store = ctx.store().apply(this::wakeup);
        store.engines().onRegionRetired(region -> connections.forEach(connection -> connection.forgets(region)));
        store.engines().onProcessEnded(this::endOf);
        held = new HeldRequests(this, metrics, nowNs);
        turns = new Turns(ctx, this, outbox, metrics);
        turns.calls(new Calls(ctx, this, turns, store.engines(), held, metrics));
        final String shortfall =
                Budget.shortfall(ctx.maxFrameBytes(), Runtime.getRuntime().maxMemory());
        if (shortfall != null) {
            LOG.warn(shortfall);
        }
    }

    /**
     * Parses the descriptors of the schema, which the map in a namespace's fields needs. That takes 0.1 s, which an engine's
     * first call would take on the owner's thread. Any thread.
     */
    public static void loadSchema() {
        LOG.debug(
                "The schema has {} messages",
                Request.getDescriptor().getFile().getMessageTypes().size());
    }

    /** Wakes the owner when it sleeps; from any thread. */
    public void wakeup() {
        wakeup.signal();
    }

    @Override
    public String roleName() {
        return "engine";
    }

    @Override
    public int doWork() {
        readClocks();
        ctx.stalls().begin(nowNs);
        int work = 0;
        try {
            work += selector.selectNow(this::onKey);
        } catch (final IOException e) {
            throw new UncheckedIOException("the engine API's selector failed", e);
        }
        work += turns.doWork();
        work += driveStore();
        work += held.doWork(nowNs);
        outbox.flush();
        sweep();
        work += endConnections();
        ctx.stalls().end();
        return work;
    }

    /** Sleeps until a socket or the store has something, a timer is due, or {@code maxMs} passed; returns the work done. */
    public int await(final long maxMs) {
        wakeup.aboutToSleep();
        int work = 0;
        try {
            ctx.stalls().begin(ctx.nanoClock().nanoTime());
            work += driveStore() + turns.waiting() + ending.size();
            if (work == 0) {
                slept = true;
                ctx.stalls().end();
                work += selector.select(this::onKey, held.isEmpty() ? maxMs : 1);
                turns.doWork();
            }
        } catch (final IOException e) {
            throw new UncheckedIOException("the engine API's selector failed", e);
        } finally {
            wakeup.awake();
            slept = false;
            ctx.stalls().end();
        }
        return work;
    }

    /** How long to ask for work after there was some: longer while an engine copies, since its next call comes soon. */
    public long spinNs() {
        return store.engines().isInUse() ? busySpinNs : spinNs;
    }

    /** True once calls can be served; owner thread. */
    public boolean isReady() {
        return store.isReady();
    }

    /** For people; owner thread. */
    public String describeStore() {
        return store.admin().describe();
    }

    /** No new connections. */
    public void stopAccepting() {
        acceptor.stop();
    }

    /** No new connections; ends what is held with what there is, then every connection. */
    public void closeConnections() {
        stopAccepting();
        held.endAll();
        outbox.flush();
        for (final Connection connection : List.copyOf(connections)) {
            end(connection);
        }
        while (!ending.isEmpty()) {
            endConnections();
        }
        try {
            // What is registered is closed for good with the next selection: until then peers could still connect.
            selector.selectNow(key -> {});
        } catch (final IOException e) {
            LOG.warn("The engine API's connections did not close", e);
        }
    }

    /** {@link #closeConnections()}, and the store within {@code boundNs}. */
    public void shutdown(final long boundNs) {
        final long end = ctx.nanoClock().nanoTime() + boundNs;
        closeConnections();
        store.shutdown(Math.max(0, end - ctx.nanoClock().nanoTime()));
        close();
    }

    /** Closes sockets; the store is closed by {@link #shutdown}. */
    @Override
    public void close() {
        for (final Connection connection : List.copyOf(connections)) {
            Acceptor.closeQuietly(connection.channel);
        }
        connections.clear();
        acceptor.stop();
        try {
            selector.close();
        } catch (final IOException e) {
            LOG.warn("The engine API's selector did not close", e);
        }
    }

    // ---- for the calls

    long nowNs() {
        return nowNs;
    }

    /** The time now, not at the beginning of this turn. */
    long readClock() {
        return ctx.nanoClock().nanoTime();
    }

    /** Unix ms at the beginning of this turn: many events happen in one. */
    long nowMs() {
        return nowMs;
    }

    void answer(final Held request, final Response.Builder response) {
        answer(request.connection, request.requestId, request.call, request.arrivedNs, response);
    }

    void answer(
            final Connection connection,
            final long id,
            final Request.CallCase call,
            final long arrivedNs,
            final Response.Builder response) {
        outbox.send(connection, response.setId(id));
        metrics.call(call, ctx.nanoClock().nanoTime() - arrivedNs);
    }

    void refuse(final Connection connection, final long id, final Error.Code code, final String message) {
        metrics.error(code);
        outbox.send(
                connection,
                Response.newBuilder()
                        .setId(id)
                        .setError(Error.newBuilder().setCode(code).setMessage(message)));
    }

    /** Runs one held request's turn with the same care as a call. */
    void guarded(final Held request, final Runnable turn) {
        try {
            turn.run();
        } catch (final CallException e) {
            held.remove(request);
            refuse(request.connection, request.requestId, e.code(), e.getMessage());
        } catch (final RuntimeException e) {
            held.remove(request);
            internal(request.connection, request.requestId, request.call, e);
        }
    }

    // ---- the duty cycle

    private void readClocks() {
        nowNs = ctx.nanoClock().nanoTime();
        nowMs = ctx.epochClock().time();
    }

    /** Counts; when all connections together have too much, the one that has most is ended. */
    void socketBytes(final long more) {
        socketBytes += more;
        if (more > 0 && !freeingSocketBytes) {
            // The answer that says why a connection ends is itself counted here.
            freeingSocketBytes = true;
            try {
                freeSocketBytes();
            } finally {
                freeingSocketBytes = false;
            }
        }
        metrics.socketBytes.set((double) socketBytes);
    }

    private void freeSocketBytes() {
        while (socketBytes > Budget.socketBytes(ctx.maxFrameBytes())) {
            Connection most = null;
            for (final Connection each : connections) {
                if (!each.ending && (most == null || each.socketBytes() > most.socketBytes())) {
                    most = each;
                }
            }
            if (most == null || most.socketBytes() == 0) {
                return;
            }
            breakOff(
                    most,
                    most.outputBytes > 0 ? Fault.OUTPUT_LIMIT : Fault.FRAME_MEMORY,
                    Error.Code.RESOURCE_EXHAUSTED,
                    "unfinished requests and unread answers of all connections together exceed "
                            + Budget.socketBytes(ctx.maxFrameBytes()) + " bytes; this one had most: "
                            + most.socketBytes());
        }
    }

    private int driveStore() {
        try {
            return store.doWork();
        } catch (final RuntimeException e) {
            metrics.fault(Fault.INTERNAL);
            if (nowNs - dutyFailureNs > DUTY_FAILURE_NS) {
                dutyFailureNs = nowNs;
                LOG.error("The object store's duty cycle failed; further failures of this second are only counted", e);
            }
            return 0;
        }
    }

    private void onKey(final SelectionKey key) {
        if (slept) {
            slept = false;
            readClocks();
            ctx.stalls().begin(nowNs);
        }
        if (!key.isValid()) {
            return;
        }
        final Connection connection = (Connection) key.attachment();
        try {
            if (connection == null) {
                acceptor.acceptSome(nowNs);
            } else {
                serve(connection, key);
            }
        } catch (final RuntimeException e) {
            failed(connection, e);
        }
    }

    private void serve(final Connection connection, final SelectionKey key) {
        if (key.isWritable()) {
            outbox.writeQueued(connection);
            turns.later(connection);
        }
        if (!connection.ending && key.isValid() && key.isReadable()) {
            turns.readable(connection);
        }
    }

    /** A connection's turn, or one of the listener (null), failed. */
    void failed(final Connection connection, final RuntimeException e) {
        metrics.fault(Fault.INTERNAL);
        LOG.error("A connection's turn failed inside the node", e);
        if (connection != null) {
            end(connection);
        }
    }

    private void admit(final SocketChannel channel) throws IOException {
        if (connections.size() >= ctx.maxConnections()) {
            metrics.fault(Fault.CONNECTION_LIMIT);
            metrics.error(Error.Code.RESOURCE_EXHAUSTED);
            outbox.refuse(
                    channel,
                    Error.Code.RESOURCE_EXHAUSTED,
                    "engine.max_connections is " + ctx.maxConnections() + ", all in use");
            channel.close();
            return;
        }
        final SelectionKey key = channel.register(selector, SelectionKey.OP_READ);
        final Connection connection = new Connection(channel, key, turns.cutter(), nowNs);
        key.attach(connection);
        connections.add(connection);
        metrics.connections.set(connections.size());
    }

    void internal(final Connection connection, final long id, final Request.CallCase call, final RuntimeException e) {
        metrics.fault(Fault.INTERNAL);
        LOG.error("A call of {} failed inside the node", call, e);
        refuse(connection, id, Error.Code.INTERNAL, call + " failed inside the node; its log says why");
    }

    /** What it had is not its own any more, so nothing that it asked for may run. */
    private void endOf(final Attachment attachment) {
        for (final Connection connection : connections) {
            if (connection.attachment != null && connection.attachment.id() == attachment.id() && !connection.ending) {
                held.dropAll(connection);
                breakOff(
                        connection,
                        Fault.PROCESS_ENDED,
                        Error.Code.NOT_ATTACHED,
                        "the lock on " + attachment.lockFile() + " is free: its process has ended or gave it up");
            }
        }
    }

    /** Says why, then ends this connection. */
    void breakOff(final Connection connection, final Fault fault, final Error.Code code, final String message) {
        breakOff(connection, 0, fault, code, message);
    }

    /** @param id of the request that this answers; 0: of none */
    void breakOff(
            final Connection connection,
            final long id,
            final Fault fault,
            final Error.Code code,
            final String message) {
        metrics.fault(fault);
        LOG.atInfo()
                .addKeyValue("reason", fault)
                .addKeyValue("tenant", connection.tenant == null ? "" : connection.tenant.name())
                .log("Ending a connection: {}", message);
        refuse(connection, id, code, message);
        end(connection);
    }

    void end(final Connection connection) {
        if (!connection.ending) {
            connection.ending = true;
            ending.add(connection);
            socketBytes -= connection.socketBytes();
            metrics.socketBytes.set((double) socketBytes);
            connection.letGo();
        }
    }

    private int endConnections() {
        if (ending.isEmpty()) {
            return 0;
        }
        outbox.flush();
        final long untilNs = readClock() + ENDS_NS;
        int count = 0;
        while (!ending.isEmpty() && (count == 0 || readClock() - untilNs < 0)) {
            final Connection connection = ending.poll();
            count++;
            connections.remove(connection);
            try {
                held.dropAll(connection);
                turns.connectionEnded(connection);
            } catch (final RuntimeException e) {
                metrics.fault(Fault.INTERNAL);
                LOG.error("A connection's end failed", e);
            }
            Acceptor.closeQuietly(connection.channel);
        }
        metrics.connections.set(connections.size());
        return count;
    }

    /** Ends who keeps the node waiting; looks a few times in each stall limit. */
    private void sweep() {
        acceptor.resume(nowNs);
        final long limit = ctx.stallLimit().toNanos();
        if (nowNs - sweptNs < limit / 8) {
            return;
        }
        sweptNs = nowNs;
        for (final Connection connection : connections) {
            if (connection.attachment == null && nowNs - connection.acceptedNs > limit) {
                breakOff(connection, Fault.NO_HELLO, Error.Code.DEADLINE_EXCEEDED, "no Hello in " + ctx.stallLimit());
            } else if (connection.cutter.keptBytes() > 0 && nowNs - connection.frameSinceNs > limit) {
                breakOff(
                        connection,
                        Fault.SLOW_FRAME,
                        Error.Code.DEADLINE_EXCEEDED,
                        "a frame was not whole in " + ctx.stallLimit());
            } else if (connection.outputBytes > 0 && nowNs - connection.outputSinceNs > limit) {
                metrics.fault(Fault.SLOW_READER);
                end(connection);
            }
        }
    }
}
