package io.kvasir.node.engine;

import com.google.protobuf.ByteString;
import com.google.protobuf.CodedOutputStream;
import com.google.protobuf.UnsafeByteOperations;
import io.kvasir.node.engine.v1.Error;
import io.kvasir.node.engine.v1.Response;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.SelectionKey;
import java.nio.channels.SocketChannel;
import java.util.function.Consumer;

/**
 * Writes answers: those that one connection gets in a row are staged and go out in one write. What a socket does not take
 * is queued at its connection, within a limit; such a connection is not read until the queue is empty.
 */
final class Outbox {
    private static final int STAGED_BYTES = 256 * 1024;
    /** Unread answers of one connection, in frames of the largest size. */
    private static final int QUEUED_FRAMES = 4;

    private static final int BUFFERS_IN_A_WRITE = 64;

    private final EngineContext ctx;
    private final EngineMetrics metrics;
    private final Consumer<Connection> end;
    private final ByteString incarnation;
    private final ByteBuffer staged = ByteBuffer.allocateDirect(STAGED_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    private Connection stagedFor;

    /** @param end ends a connection that does not read, or whose socket fails */
    Outbox(final EngineContext ctx, final EngineMetrics metrics, final Consumer<Connection> end) {
        this.ctx = ctx;
        this.metrics = metrics;
        this.end = end;
        incarnation = UnsafeByteOperations.unsafeWrap(ctx.incarnation());
    }

    void send(final Connection connection, final Response.Builder builder) {
        if (connection.ending) {
            return;
        }
        Response response = builder.setIncarnation(incarnation).build();
        int size = response.getSerializedSize();
        if (size > ctx.maxFrameBytes()) {
            metrics.error(Error.Code.RESOURCE_EXHAUSTED);
            response = error(
                    response.getId(),
                    Error.Code.RESOURCE_EXHAUSTED,
                    "the answer has " + size + " bytes; engine.max_frame is " + ctx.maxFrameBytes());
            size = response.getSerializedSize();
        }
        final int total = FrameCutter.PREFIX_BYTES + size;
        if (stagedFor != connection || staged.remaining() < total) {
            flush();
        }
        if (connection.outputBytes > 0) {
            queue(connection, frame(response, size));
        } else if (total > staged.capacity()) {
            write(connection, frame(response, size));
        } else {
            stagedFor = connection;
            encode(response, size, staged);
        }
    }

    /** One error frame, as far as the socket takes it at once, on a channel that is no connection yet. */
    void refuse(final SocketChannel channel, final Error.Code code, final String message) throws IOException {
        final Response refusal = error(0, code, message);
        channel.write(frame(refusal, refusal.getSerializedSize()));
    }

    void flush() {
        final Connection connection = stagedFor;
        if (connection == null) {
            return;
        }
        stagedFor = null;
        staged.flip();
        write(connection, staged);
        staged.clear();
    }

    /** The socket takes bytes again. */
    void writeQueued(final Connection connection) {
        try {
            final ByteBuffer[] batch =
                    connection.output.stream().limit(BUFFERS_IN_A_WRITE).toArray(ByteBuffer[]::new);
            final long written = connection.channel.write(batch);
            metrics.bytesOut.inc((double) written);
            if (written > 0) {
                connection.outputBytes -= written;
                connection.outputSinceNs = ctx.nanoClock().nanoTime();
                while (!connection.output.isEmpty() && !connection.output.peek().hasRemaining()) {
                    connection.output.remove();
                }
            }
            if (connection.output.isEmpty()) {
                connection.key.interestOps(SelectionKey.OP_READ);
            }
        } catch (final IOException e) {
            metrics.fault(Fault.SOCKET_ERROR);
            end.accept(connection);
        }
    }

    /** Writes at once what the socket takes, keeps a copy of the rest. Nothing is queued before. */
    private void write(final Connection connection, final ByteBuffer bytes) {
        try {
            metrics.bytesOut.inc(connection.channel.write(bytes));
            if (bytes.hasRemaining()) {
                connection.outputSinceNs = ctx.nanoClock().nanoTime();
                queue(
                        connection,
                        ByteBuffer.allocate(bytes.remaining()).put(bytes).flip());
            }
        } catch (final IOException e) {
            metrics.fault(Fault.SOCKET_ERROR);
            end.accept(connection);
        }
    }

    private void queue(final Connection connection, final ByteBuffer bytes) {
        connection.output.add(bytes);
        connection.outputBytes += bytes.remaining();
        if (connection.outputBytes > (long) QUEUED_FRAMES * ctx.maxFrameBytes()) {
            metrics.fault(Fault.OUTPUT_LIMIT);
            end.accept(connection);
        } else {
            connection.key.interestOps(SelectionKey.OP_WRITE);
        }
    }

    private Response error(final long id, final Error.Code code, final String message) {
        return Response.newBuilder()
                .setId(id)
                .setIncarnation(incarnation)
                .setError(Error.newBuilder().setCode(code).setMessage(message))
                .build();
    }

    private static ByteBuffer frame(final Response response, final int size) {
        final ByteBuffer buffer =
                ByteBuffer.allocate(FrameCutter.PREFIX_BYTES + size).order(ByteOrder.LITTLE_ENDIAN);
        encode(response, size, buffer);
        return buffer.flip();
    }

    private static void encode(final Response response, final int size, final ByteBuffer target) {
        target.putInt(size);
        final ByteBuffer body = target.slice(target.position(), size);
        final CodedOutputStream output = CodedOutputStream.newInstance(body);
        try {
            response.writeTo(output);
            output.flush();
        } catch (final IOException e) {
            throw new UncheckedIOException("writing to a buffer of the right size", e);
        }
        target.position(target.position() + size);
    }
}
