package io.kvasir.node.engine;

import com.google.protobuf.CodedInputStream;
import com.google.protobuf.DiscardUnknownFieldsParser;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Parser;
import com.google.protobuf.UnsafeByteOperations;
import io.kvasir.node.engine.v1.Error;
import io.kvasir.node.engine.v1.Request;
import io.kvasir.node.engine.v1.Response;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayDeque;
import java.util.function.Supplier;

/**
 * Gives each connection its turn: a bounded part of what it has sent is read and worked off, then others have theirs.
 * Owned by the server's thread.
 */
final class Turns {
    private static final int BUFFER_BYTES = 256 * 1024;
    private static final int READS_IN_A_ROW = 4;
    /** What a turn may take, a call that is under way excepted. */
    private static final long TURN_NS = 250_000;
    /** What the turns of all connections in one duty cycle may take. */
    private static final long CYCLE_NS = 500_000;
    /** A shorter turn would be little but its own overhead. */
    private static final long SHORTEST_TURN_NS = 10_000;

    private final EngineContext ctx;
    private final EngineServer server;
    private final Outbox outbox;
    private final EngineMetrics metrics;
    private final ByteBuffer in = ByteBuffer.allocate(BUFFER_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    private final FrameArrays arrays = new FrameArrays();
    private final Parser<Request> parser = DiscardUnknownFieldsParser.wrap(Request.parser());
    private final FrameCutter.Sink sink = this::onFrame;
    private final TurnQueue queue = new TurnQueue();
    /** Connections whose call cannot begin yet. */
    private final ArrayDeque<Connection> blocked = new ArrayDeque<>();

    private Calls calls;
    private Connection reading;
    private long turnEndsNs;

    Turns(final EngineContext ctx, final EngineServer server, final Outbox outbox, final EngineMetrics metrics) {
        this.ctx = ctx;
        this.server = server;
        this.outbox = outbox;
        this.metrics = metrics;
    }

    /** Set once, before the first turn. */
    void calls(final Calls value) {
        calls = value;
    }

    void connectionEnded(final Connection connection) {
        calls.connectionEnded(connection);
    }

    FrameCutter cutter() {
        return new FrameCutter(ctx.maxFrameBytes(), arrays);
    }

    /** Connections that wait for a turn. */
    int waiting() {
        return queue.size() + blocked.size();
    }

    /** Of one turn while so many connections wait for theirs. */
    static long turnNs(final int turns) {
        return Math.max(SHORTEST_TURN_NS, Math.min(TURN_NS, CYCLE_NS / Math.max(1, turns)));
    }

    /** Works on the call until it is done or its connection's turn is over; null when the answer comes later. */
    Response.Builder work(final Connection connection, final Sliced task) {
        while (!task.step()) {
            if (task.isBlocked()) {
                connection.task = task;
                connection.blocked = true;
                blocked.add(connection);
                return null;
            }
            if (isTurnOver()) {
                connection.task = task;
                return null;
            }
        }
        return task.answer();
    }

    private boolean isTurnOver() {
        return server.readClock() - turnEndsNs >= 0;
    }

    /** Something has arrived from it. */
    void readable(final Connection connection) {
        if (!connection.isBehind()) {
            enqueue(connection);
        }
    }

    /** Its next turn, if there is something left to do; one that has not read its answers waits until it has. */
    void later(final Connection connection) {
        if (connection.isBehind()) {
            enqueue(connection);
        }
    }

    private void enqueue(final Connection connection) {
        if (!connection.blocked && mayGoOn(connection)) {
            queue.add(connection);
        }
    }

    /** Unread answers do not keep a call that is under way from its end: what it uses is wanted by others. */
    private static boolean mayGoOn(final Connection connection) {
        return !connection.ending && (connection.outputBytes == 0 || connection.task != null);
    }

    /** Turns of those that wait for one, for a bounded time: others may have sent something meanwhile. */
    int doWork() {
        unblock();
        final int count = queue.size();
        if (count == 0) {
            return 0;
        }
        long nowNs = server.readClock();
        final long endNs = nowNs + CYCLE_NS;
        Connection connection;
        while (nowNs - endNs < 0 && (connection = queue.poll()) != null) {
            final long beganNs = nowNs;
            if (mayGoOn(connection)) {
                try {
                    take(connection, beganNs);
                } catch (final RuntimeException e) {
                    server.failed(connection, e);
                }
            }
            nowNs = server.readClock();
            queue.served(connection, nowNs - beganNs);
            later(connection);
        }
        return count;
    }

    /** Those whose call was blocked have their turn when it can begin. */
    private void unblock() {
        if (!blocked.isEmpty()) {
            blocked.removeIf(connection -> {
                final boolean remains = !connection.ending && connection.task.isBlocked();
                if (!remains) {
                    connection.blocked = false;
                    later(connection);
                }
                return !remains;
            });
        }
    }

    /** The call that is under way, then what was read before, then what has arrived, for {@link #turnNs}. */
    private void take(final Connection connection, final long nowNs) {
        turnEndsNs = nowNs + turnNs(queue.size() + 1);
        reading = connection;
        try {
            goOn(connection);
            readSome(connection);
        } catch (final FrameCutter.LengthException e) {
            server.breakOff(connection, Fault.FRAME_LENGTH, Error.Code.INVALID_ARGUMENT, e.getMessage());
        } catch (final IOException e) {
            metrics.fault(Fault.SOCKET_ERROR);
            server.end(connection);
        } finally {
            reading = null;
        }
        outbox.flush();
    }

    private void goOn(final Connection connection) throws FrameCutter.LengthException {
        final Sliced task = connection.task;
        if (task != null) {
            connection.task = null;
            finish(connection, task.requestId, task.call, task.arrivedNs, () -> work(connection, task));
        }
        if (connection.rest != null && connection.task == null && !connection.ending && connection.outputBytes == 0) {
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
                server.end(connection);
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
            connection.frameSinceNs = server.nowNs();
        }
        countKept(connection);
    }

    private void countKept(final Connection connection) {
        if (!connection.ending) {
            final int kept = connection.keptBytes();
            final int more = kept - connection.countedBytes;
            connection.countedBytes = kept;
            server.socketBytes(more);
        }
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
                server.refuse(connection, e.id, Error.Code.INVALID_ARGUMENT, e.getMessage());
            }
            return goesOn(connection);
        } catch (final InvalidProtocolBufferException e) {
            server.breakOff(
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
        final long arrivedNs = server.readClock();
        finish(connection, id, request.getCallCase(), arrivedNs, () -> calls.call(connection, request, arrivedNs));
        return goesOn(connection);
    }

    /** False ends the connection. */
    private boolean isFree(final Connection connection, final long id) {
        if (id != 0 && !connection.held.containsKey(id)) {
            return true;
        }
        server.breakOff(
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
                server.answer(connection, id, call, arrivedNs, response);
            }
        } catch (final CallException e) {
            server.refuse(connection, id, e.code(), e.getMessage());
        } catch (final IllegalArgumentException e) {
            server.refuse(connection, id, Error.Code.INVALID_ARGUMENT, e.getMessage());
        } catch (final RuntimeException e) {
            server.internal(connection, id, call, e);
        }
    }
}
