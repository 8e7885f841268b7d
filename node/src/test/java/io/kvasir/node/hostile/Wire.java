package io.kvasir.node.hostile;

import io.kvasir.node.engine.v1.Request;
import io.kvasir.node.engine.v1.Response;
import java.io.EOFException;
import java.io.IOException;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.SocketChannel;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;

/** A connection on which nothing waits longer than it is told, whatever the node does. Times are {@code System.nanoTime}. */
public final class Wire implements AutoCloseable {
    private static final int LENGTH_BYTES = Integer.BYTES;
    /** The longest answer that is believed; a node's default limit is 8 MiB. */
    private static final int MAX_ANSWER_BYTES = 64 << 20;

    private final SocketChannel channel;
    private final ByteBuffer length = ByteBuffer.allocate(LENGTH_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    private Selector selector;
    private ByteBuffer body;
    private long id;

    public Wire(final Path socket) throws IOException {
        channel = SocketChannel.open(UnixDomainSocketAddress.of(socket));
        channel.configureBlocking(false);
    }

    /** Writes a request under the next id, which is returned; 0 when not all of it was written in time. */
    public long send(final Request.Builder request, final long untilNs) throws IOException {
        final long next = ++id;
        final byte[] bytes = request.setId(next).build().toByteArray();
        return write(frame(bytes.length, bytes), untilNs) ? next : 0;
    }

    /** Whether all bytes were written in time. */
    public boolean write(final byte[] bytes, final long untilNs) throws IOException {
        final ByteBuffer buffer = ByteBuffer.wrap(bytes);
        while (buffer.hasRemaining()) {
            if (channel.write(buffer) == 0 && !await(SelectionKey.OP_WRITE, untilNs)) {
                return false;
            }
        }
        return true;
    }

    public static byte[] frame(final int length, final byte[] body) {
        return ByteBuffer.allocate(LENGTH_BYTES + body.length)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putInt(length)
                .put(body)
                .array();
    }

    /** The next answer, whichever request it belongs to; null when none was whole in time. */
    public Response read(final long untilNs) throws IOException {
        while (length.hasRemaining()) {
            if (!fill(length, untilNs)) {
                return null;
            }
        }
        if (body == null) {
            final int bytes = length.getInt(0);
            if (bytes < 0 || bytes > MAX_ANSWER_BYTES) {
                throw new IOException("the node sent a frame of " + bytes + " bytes");
            }
            body = ByteBuffer.allocate(bytes);
        }
        while (body.hasRemaining()) {
            if (!fill(body, untilNs)) {
                return null;
            }
        }
        final Response response = Response.parseFrom(body.flip());
        body = null;
        length.clear();
        return response;
    }

    /** Sends, and reads until the answer to this request comes; null when it did not come in time. */
    public Response call(final Request.Builder request, final long untilNs) throws IOException {
        final long mine = send(request, untilNs);
        if (mine == 0) {
            return null;
        }
        Response response;
        do {
            response = read(untilNs);
        } while (response != null && response.getId() != mine);
        return response;
    }

    /** Reads and forgets answers until the time is over or the node closes. */
    public void drain(final long untilNs) throws IOException {
        final ByteBuffer sink = ByteBuffer.allocate(1 << 18);
        int count;
        do {
            count = channel.read(sink.clear());
        } while (count > 0 || (count == 0 && await(SelectionKey.OP_READ, untilNs)));
    }

    private boolean fill(final ByteBuffer buffer, final long untilNs) throws IOException {
        final int count = channel.read(buffer);
        if (count < 0) {
            throw new EOFException("the node has closed the connection");
        }
        return count > 0 || await(SelectionKey.OP_READ, untilNs);
    }

    /** False when the time is over. */
    private boolean await(final int operation, final long untilNs) throws IOException {
        final long left = untilNs - System.nanoTime();
        if (left <= 0) {
            return false;
        }
        if (selector == null) {
            selector = Selector.open();
            channel.register(selector, operation);
        } else {
            channel.keyFor(selector).interestOps(operation);
        }
        selector.select(key -> {}, Math.max(1, TimeUnit.NANOSECONDS.toMillis(left)));
        return true;
    }

    @Override
    public void close() throws IOException {
        channel.close();
        if (selector != null) {
            selector.close();
        }
    }
}
