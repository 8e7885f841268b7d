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
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.LongConsumer;

/**
 * Writes answers: those that one connection gets in a row are staged and go out in one write. What a socket does not take
 * is queued at its connection, within a limit; such a connection is not read until the queue is empty.
 */
final class Outbox {
    private static final int STAGED_BYTES = 256 * 1024;
    /** Unread answers of one connection, in frames of the largest size. */
    private static final int QUEUED_FRAMES = 2;

    private static final int BUFFERS_IN_A_WRITE = 64;
    /** The JDK copies what is written from the heap to memory of its own that it keeps: as much as one write has. */
    private static final int BYTES_IN_A_WRITE = 256 * 1024;

    private final EngineContext ctx;
    private final EngineMetrics metrics;
    private final Consumer<Connection> end;
    private final LongConsumer queued;
    private final ByteString incarnation;
    private final ByteBuffer staged = ByteBuffer.allocateDirect(STAGED_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    private Connection stagedFor;

    /**
     * @param end ends a connection that does not read, or whose socket fails
     * @param queued told by how many bytes the unread answers of all connections became more or less
     */
    Outbox(
            final EngineContext ctx,
            final EngineMetrics metrics,
            final Consumer<Connection> end,
            final LongConsumer queued) {
        this.ctx = ctx;
        this.metrics = metrics;
        this.end = end;
        this.queued = queued;
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
            final ByteBuffer first = connection.output.peek();
            if (first == null) {
                return;
            }
            final long written = first.remaining() > BYTES_IN_A_WRITE
                    ? writeSome(connection.channel, first)
                    : connection.channel.write(batch(connection));
            metrics.bytesOut.inc((double) written);
            if (written > 0) {
                connection.outputBytes -= written;
                queued.accept(-written);
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

    /** The buffers that go out in one write. */
    private static ByteBuffer[] batch(final Connection connection) {
        final List<ByteBuffer> batch = new ArrayList<>();
        int bytes = 0;
        for (final ByteBuffer each : connection.output) {
            bytes += each.remaining();
            if (bytes > BYTES_IN_A_WRITE || batch.size() == BUFFERS_IN_A_WRITE) {
                break;
            }
            batch.add(each);
        }
        return batch.toArray(ByteBuffer[]::new);
    }

    private static int writeSome(final SocketChannel channel, final ByteBuffer bytes) throws IOException {
        final int end = bytes.limit();
        bytes.limit(Math.min(end, bytes.position() + BYTES_IN_A_WRITE));
        try {
            return channel.write(bytes);
        } finally {
            bytes.limit(end);
        }
    }

    /** Writes at once what the socket takes, keeps a copy of the rest. Nothing is queued before. */
    private void write(final Connection connection, final ByteBuffer bytes) {
        try {
            int written;
            do {
                written = writeSome(connection.channel, bytes);
                metrics.bytesOut.inc(written);
            } while (written > 0 && bytes.hasRemaining());
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
        if (connection.ending) {
            return;
        }
        connection.output.add(bytes);
        connection.outputBytes += bytes.remaining();
        queued.accept(bytes.remaining());
        if (connection.ending) {
            return;
        }
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
