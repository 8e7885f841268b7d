package io.kvasir.node.engine;

import com.google.protobuf.CodedInputStream;
import com.google.protobuf.DiscardUnknownFieldsParser;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Parser;
import com.google.protobuf.UnsafeByteOperations;
import io.kvasir.node.engine.v1.Error;
import io.kvasir.node.engine.v1.Request;
import io.kvasir.node.engine.v1.Response;
import io.kvasir.storage.ObjectStore;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.function.Supplier;
import org.agrona.concurrent.Agent;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The engine API's server and the object store's owner: one thread reads sockets, answers calls and drives the store, so
 * no call changes threads. {@link #doWork()} never blocks; {@link #await} sleeps until there is work.
 */
public final class EngineServer implements Agent, AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(EngineServer.class);
    private static final int BUFFER_BYTES = 256 * 1024;
    /** Reads of one connection before the others have their turn. */
    private static final int READS_IN_A_ROW = 4;

    private static final int ACCEPTS_IN_A_ROW = 16;
    /** What one connection's turn may take, a call that is under way excepted, before others have theirs. */
    private static final long TURN_NS = 250_000;

    private static final long ACCEPT_PAUSE_NS = 100_000_000;
    private static final long DUTY_FAILURE_NS = 1_000_000_000;

    private final EngineContext ctx;
    private final EngineMetrics metrics;
    private final Selector selector;
    private final ServerSocketChannel listener;
    private final SelectionKey listenerKey;
    private final ObjectStore store;
    private final Calls calls;
    private final HeldRequests held;
    private final Outbox outbox;
    private final ByteBuffer in = ByteBuffer.allocate(BUFFER_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    private final Set<Connection> connections = new LinkedHashSet<>();
    private final List<Connection> ending = new ArrayList<>();
    /** Connections that get a turn though nothing arrives from them: they are behind. */
    private final ArrayDeque<Connection> behind = new ArrayDeque<>();

    private final FrameArrays arrays = new FrameArrays();
    private final Parser<Request> parser = DiscardUnknownFieldsParser.wrap(Request.parser());
    private final FrameCutter.Sink sink = this::onFrame;
    private volatile boolean asleep;
    /** The clocks were read before a sleep that has ended. */
    private boolean slept;

    private final long spinNs;
    private final long busySpinNs;

    private Connection reading;
    /** See {@link Budget#socketBytes}. */
    private long socketBytes;

    private long turnEndsNs;
    private long nowNs;
    private long nowMs;
    private long sweptNs;
    private long acceptAgainNs = Long.MAX_VALUE;
    private boolean accepting = true;
    private long dutyFailureNs = System.nanoTime() - DUTY_FAILURE_NS;

    /** Takes over {@code listener}, which is bound; makes the store. */
    public EngineServer(final EngineContext context, final ServerSocketChannel listener) {
        this.ctx = context.conclude();
        this.listener = listener;
        this.metrics = new EngineMetrics(ctx.registry());
        this.spinNs = ctx.spin().toNanos();
        this.busySpinNs = Math.max(spinNs, ctx.busySpin().toNanos());
        this.outbox = new Outbox(ctx, metrics, this::end, this::socketBytes);
        try {
            selector = Selector.open();
            listener.configureBlocking(false);
            listenerKey = listener.register(selector, SelectionKey.OP_ACCEPT);
        } catch (final IOException e) {
            throw new UncheckedIOException("the engine API's socket cannot be watched: " + ctx.socket(), e);
        }
        readClocks();
        sweptNs = nowNs;
        store = ctx.store().apply(this::wakeup);
        store.onRegionRetired(region -> connections.forEach(connection -> connection.forgets(region)));
        held = new HeldRequests(this, metrics, nowNs);
        calls = new Calls(ctx, this, store, held, metrics);
        final String shortfall =
                Budget.shortfall(ctx.maxFrameBytes(), Runtime.getRuntime().maxMemory());
        if (shortfall != null) {
            LOG.warn(shortfall);
        }
    }

    /** Wakes the owner when it sleeps; from any thread. */
    public void wakeup() {
        if (asleep) {
            selector.wakeup();
        }
    }

    @Override
    public String roleName() {
        return "engine";
    }

    @Override
    public int doWork() {
        readClocks();
        int work = 0;
        try {
            work += selector.selectNow(this::onKey);
        } catch (final IOException e) {
            throw new UncheckedIOException("the engine API's selector failed", e);
        }
        work += driveStore();
        work += serveBehind();
        work += held.doWork(nowNs);
        outbox.flush();
        sweep();
        work += endConnections();
        return work;
    }

    /** Sleeps until a socket or the store has something, a timer is due, or {@code maxMs} passed; returns the work done. */
    public int await(final long maxMs) {
        asleep = true;
        int work = 0;
        try {
            work += driveStore() + behind.size();
            if (work == 0) {
                slept = true;
                work += selector.select(this::onKey, held.isEmpty() ? maxMs : 1);
            }
        } catch (final IOException e) {
            throw new UncheckedIOException("the engine API's selector failed", e);
        } finally {
            asleep = false;
            slept = false;
        }
        return work;
    }

    /** How long to ask for work after there was some: longer while an engine copies, since its next call comes soon. */
    public long spinNs() {
        return store.isInUse() ? busySpinNs : spinNs;
    }

    /** True once calls can be served; owner thread. */
    public boolean isReady() {
        return store.isReady();
    }

    /** For people; owner thread. */
    public String describeStore() {
        return store.describe();
    }

    /** No new connections. */
    public void stopAccepting() {
        accepting = false;
        listenerKey.cancel();
        try {
            listener.close();
        } catch (final IOException e) {
            LOG.warn("The engine API's socket did not close", e);
        }
    }

    /** Ends what is held with what there is, then every connection, then the store within {@code boundNs}. */
    public void shutdown(final long boundNs) {
        final long end = ctx.nanoClock().nanoTime() + boundNs;
        stopAccepting();
        held.endAll();
        outbox.flush();
        for (final Connection connection : List.copyOf(connections)) {
            end(connection);
        }
        endConnections();
        store.shutdown(Math.max(0, end - ctx.nanoClock().nanoTime()));
        close();
    }

    /** Closes sockets; the store is closed by {@link #shutdown}. */
    @Override
    public void close() {
        for (final Connection connection : List.copyOf(connections)) {
            closeQuietly(connection.channel);
        }
        connections.clear();
        try {
            listener.close();
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

    /** Works on the call until it is done or its connection's turn is over; null when the answer comes later. */
    Response.Builder work(final Connection connection, final Sliced task) {
        while (!task.step()) {
            if (isTurnOver()) {
                connection.task = task;
                return null;
            }
        }
        return task.answer();
    }

    private boolean isTurnOver() {
        return readClock() - turnEndsNs >= 0;
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
        }
        if (!key.isValid()) {
            return;
        }
        final Connection connection = (Connection) key.attachment();
        try {
            if (connection == null) {
                acceptSome();
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
            if (connection.isBehind()) {
                later(connection);
            }
        }
        if (!connection.ending && key.isValid() && key.isReadable() && !connection.isBehind()) {
            turn(connection);
        }
    }

    /** It gets its next turn when all others have had one; who does not read answers waits until it does. */
    private void later(final Connection connection) {
        if (!connection.queued && !connection.ending && connection.outputBytes == 0) {
            connection.queued = true;
            behind.add(connection);
        }
    }

    private int serveBehind() {
        final int count = behind.size();
        for (int left = count; left > 0; left--) {
            final Connection connection = behind.poll();
            connection.queued = false;
            if (!connection.ending && connection.outputBytes == 0) {
                try {
                    turn(connection);
                } catch (final RuntimeException e) {
                    failed(connection, e);
                }
            }
        }
        return count;
    }

    private void failed(final Connection connection, final RuntimeException e) {
        metrics.fault(Fault.INTERNAL);
        LOG.error("A connection's turn failed inside the node", e);
        if (connection != null) {
            end(connection);
        }
    }

    private void acceptSome() {
        for (int i = 0; i < ACCEPTS_IN_A_ROW && accepting; i++) {
            final SocketChannel channel;
            try {
                channel = listener.accept();
            } catch (final IOException e) {
                metrics.fault(Fault.ACCEPT_FAILED);
                LOG.warn("A connection cannot be accepted, next try in 100 ms: {}", e.getMessage());
                listenerKey.interestOps(0);
                acceptAgainNs = nowNs + ACCEPT_PAUSE_NS;
                return;
            }
            if (channel == null) {
                return;
            }
            metrics.accepted.inc();
            try {
                channel.configureBlocking(false);
                admit(channel);
            } catch (final IOException e) {
                metrics.fault(Fault.SOCKET_ERROR);
                closeQuietly(channel);
            }
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
        final Connection connection = new Connection(channel, key, new FrameCutter(ctx.maxFrameBytes(), arrays), nowNs);
        key.attach(connection);
        connections.add(connection);
        metrics.connections.set(connections.size());
    }

    /** The call that is under way, then what was read before, then what has arrived, for {@link #TURN_NS}. */
    private void turn(final Connection connection) {
        turnEndsNs = readClock() + TURN_NS;
        reading = connection;
        try {
            goOn(connection);
            readSome(connection);
        } catch (final FrameCutter.LengthException e) {
            breakOff(connection, Fault.FRAME_LENGTH, Error.Code.INVALID_ARGUMENT, e.getMessage());
        } catch (final IOException e) {
            metrics.fault(Fault.SOCKET_ERROR);
            end(connection);
        } finally {
            reading = null;
        }
        outbox.flush();
        if (connection.isBehind()) {
            later(connection);
        }
    }

    private void goOn(final Connection connection) throws FrameCutter.LengthException {
        final Sliced task = connection.task;
        if (task != null) {
            connection.task = null;
            finish(connection, task.requestId, task.call, task.arrivedNs, () -> work(connection, task));
        }
        if (connection.rest != null && connection.task == null && !connection.ending) {
            feed(connection, connection.rest);
        }
    }

    private void readSome(final Connection connection) throws IOException, FrameCutter.LengthException {
        for (int i = 0; i < READS_IN_A_ROW; i++) {
            if (connection.isBehind() || connection.ending || connection.outputBytes > 0 || (i > 0 && isTurnOver())) {
                return;
            }
            in.clear();
            final int count = connection.channel.read(in);
            if (count < 0) {
                if (connection.cutter.keptBytes() > 0) {
                    metrics.fault(Fault.TRUNCATED_FRAME);
                }
                end(connection);
                return;
            }
            if (count == 0) {
                return;
            }
            metrics.bytesIn.inc(count);
            feed(connection, in.flip());
            if (count < in.capacity()) {
                return;
            }
        }
    }

    /** Hands on the frames until the turn is over; the others are kept for the next one. */
    private void feed(final Connection connection, final ByteBuffer bytes) throws FrameCutter.LengthException {
        final boolean between = connection.cutter.keptBytes() == 0;
        final long frames = connection.cutter.frames();
        connection.cutter.feed(bytes, sink);
        if (!bytes.hasRemaining()) {
            connection.rest = null;
        } else if (connection.rest == null && !connection.ending) {
            connection.rest = ByteBuffer.allocate(bytes.remaining()).put(bytes).flip();
        }
        if (connection.cutter.keptBytes() > 0 && (between || connection.cutter.frames() != frames)) {
            connection.frameSinceNs = nowNs;
        }
        countKept(connection);
    }

    private void countKept(final Connection connection) {
        if (!connection.ending) {
            final int kept = connection.keptBytes();
            final int more = kept - connection.countedBytes;
            connection.countedBytes = kept;
            socketBytes(more);
        }
    }

    /** Counts; when all connections together have too much, the one that has most is ended. */
    private void socketBytes(final long more) {
        socketBytes += more;
        while (more > 0 && socketBytes > Budget.socketBytes(ctx.maxFrameBytes())) {
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
        metrics.socketBytes.set((double) socketBytes);
    }

    private boolean onFrame(final byte[] bytes, final int offset, final int length) {
        final Connection connection = reading;
        final Request request;
        try {
            Outline.check(bytes, offset, length);
            final CodedInputStream input =
                    UnsafeByteOperations.unsafeWrap(bytes, offset, length).newCodedInput();
            input.enableAliasing(true);
            request = parser.parseFrom(input);
        } catch (final Outline.RefusedException e) {
            if (isFree(connection, e.id)) {
                refuse(connection, e.id, Error.Code.INVALID_ARGUMENT, e.getMessage());
            }
            return goesOn(connection);
        } catch (final InvalidProtocolBufferException e) {
            breakOff(
                    connection,
                    Fault.UNDECODABLE_FRAME,
                    Error.Code.INVALID_ARGUMENT,
                    "a frame of " + length + " bytes is no Request: " + e.getMessage());
            return false;
        }
        final long id = request.getId();
        if (!isFree(connection, id)) {
            return false;
        }
        final long arrivedNs = readClock();
        finish(connection, id, request.getCallCase(), arrivedNs, () -> calls.call(connection, request, arrivedNs));
        return goesOn(connection);
    }

    /** False ends the connection. */
    private boolean isFree(final Connection connection, final long id) {
        if (id != 0 && !connection.held.containsKey(id)) {
            return true;
        }
        breakOff(
                connection,
                Fault.UNDECODABLE_FRAME,
                Error.Code.INVALID_ARGUMENT,
                "id is " + Long.toUnsignedString(id) + "; it must not be 0 and not be in use by a held request");
        return false;
    }

    /** Whether the connection's next frame has its turn now. */
    private boolean goesOn(final Connection connection) {
        return !connection.ending && connection.task == null && connection.outputBytes == 0 && !isTurnOver();
    }

    /** Runs the call, or goes on with it, and answers when it is done. */
    private void finish(
            final Connection connection,
            final long id,
            final Request.CallCase call,
            final long arrivedNs,
            final Supplier<Response.Builder> work) {
        try {
            final Response.Builder response = work.get();
            if (response != null) {
                answer(connection, id, call, arrivedNs, response);
            }
        } catch (final CallException e) {
            refuse(connection, id, e.code(), e.getMessage());
        } catch (final IllegalArgumentException e) {
            refuse(connection, id, Error.Code.INVALID_ARGUMENT, e.getMessage());
        } catch (final RuntimeException e) {
            internal(connection, id, call, e);
        }
    }

    private void internal(
            final Connection connection, final long id, final Request.CallCase call, final RuntimeException e) {
        metrics.fault(Fault.INTERNAL);
        LOG.error("A call of {} failed inside the node", call, e);
        refuse(connection, id, Error.Code.INTERNAL, call + " failed inside the node; its log says why");
    }

    /** Says why, then ends this connection. */
    private void breakOff(final Connection connection, final Fault fault, final Error.Code code, final String message) {
        metrics.fault(fault);
        LOG.atInfo()
                .addKeyValue("reason", fault)
                .addKeyValue("tenant", connection.tenant == null ? "" : connection.tenant.name())
                .log("Ending a connection: {}", message);
        refuse(connection, 0, code, message);
        end(connection);
    }

    private void end(final Connection connection) {
        if (!connection.ending) {
            connection.ending = true;
            ending.add(connection);
            socketBytes -= connection.socketBytes();
            connection.letGo();
        }
    }

    private int endConnections() {
        if (ending.isEmpty()) {
            return 0;
        }
        outbox.flush();
        final int count = ending.size();
        for (int i = 0; i < ending.size(); i++) {
            final Connection connection = ending.get(i);
            connections.remove(connection);
            try {
                held.dropAll(connection);
                calls.connectionEnded(connection);
            } catch (final RuntimeException e) {
                metrics.fault(Fault.INTERNAL);
                LOG.error("A connection's end failed", e);
            }
            closeQuietly(connection.channel);
        }
        ending.clear();
        metrics.connections.set(connections.size());
        return count;
    }

    /** Ends who keeps the node waiting; looks a few times in each stall limit. */
    private void sweep() {
        if (nowNs >= acceptAgainNs && accepting) {
            acceptAgainNs = Long.MAX_VALUE;
            listenerKey.interestOps(SelectionKey.OP_ACCEPT);
        }
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

    private static void closeQuietly(final SocketChannel channel) {
        try {
            channel.close();
        } catch (final IOException e) {
            LOG.debug("A connection did not close", e);
        }
    }
}
