package io.kvasir.node;

import com.google.protobuf.ByteString;
import io.kvasir.node.engine.v1.Attach;
import io.kvasir.node.engine.v1.AttachResult;
import io.kvasir.node.engine.v1.CreateSession;
import io.kvasir.node.engine.v1.Hello;
import io.kvasir.node.engine.v1.HelloResult;
import io.kvasir.node.engine.v1.JoinSession;
import io.kvasir.node.engine.v1.Namespace;
import io.kvasir.node.engine.v1.OpenNamespace;
import io.kvasir.node.engine.v1.Request;
import io.kvasir.node.engine.v1.Response;
import io.kvasir.node.engine.v1.Shard;
import java.io.EOFException;
import java.io.IOException;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/** An engine for tests: one connection, blocking, that speaks raw frames or the generated messages. */
final class EngineClient implements AutoCloseable {
    static final Shard SHARD = Shard.newBuilder()
            .setLayerEnd(1)
            .setHeadEnd(1)
            .setPpSize(1)
            .setCpSize(1)
            .build();
    static final Namespace NAMESPACE =
            Namespace.newBuilder().setModel("m").setChunkTokens(256).build();

    final SocketChannel channel;
    private FileChannel lock;
    private long id;

    EngineClient(final Path socket) throws IOException {
        channel = SocketChannel.open(UnixDomainSocketAddress.of(socket));
    }

    /** Hello with the lock taken, then a new session with one shard and {@link #NAMESPACE} open as handle 1. */
    static EngineClient attached(final Path socket) throws IOException {
        final EngineClient client = new EngineClient(socket);
        client.hello("");
        client.create();
        client.call(
                Request.newBuilder().setOpenNamespace(OpenNamespace.newBuilder().setNamespace(NAMESPACE)));
        return client;
    }

    HelloResult hello(final String token) throws IOException {
        final HelloResult hello = call(Request.newBuilder()
                        .setHello(Hello.newBuilder()
                                .setProtocol(1)
                                .setClient("test")
                                .setToken(ByteString.copyFromUtf8(token))))
                .getHello();
        lock = FileChannel.open(Path.of(hello.getDirectory(), hello.getLockFile()), StandardOpenOption.WRITE);
        lock.lock();
        return hello;
    }

    AttachResult create() throws IOException {
        return call(Request.newBuilder()
                        .setAttach(Attach.newBuilder()
                                .setCreate(CreateSession.newBuilder()
                                        .setName("test")
                                        .addShards(SHARD))))
                .getAttach();
    }

    /** A session of so many shards. */
    Response create(final int shards) throws IOException {
        final CreateSession.Builder session = CreateSession.newBuilder().setName("test");
        for (int i = 0; i < shards; i++) {
            session.addShards(SHARD.toBuilder().setLayerBegin(i).setLayerEnd(i + 1));
        }
        return call(Request.newBuilder().setAttach(Attach.newBuilder().setCreate(session)));
    }

    Response join(final AttachResult session, final ByteString secret) throws IOException {
        return call(Request.newBuilder()
                .setAttach(Attach.newBuilder()
                        .setJoin(JoinSession.newBuilder()
                                .setSession(session.getSession())
                                .setSecret(secret))));
    }

    /** Sends and reads the next answer, whosever it is. */
    Response call(final Request.Builder request) throws IOException {
        send(request);
        return read();
    }

    /** Returns the request's id. */
    long send(final Request.Builder request) throws IOException {
        final byte[] body = request.setId(++id).build().toByteArray();
        write(frame(body.length, body));
        return id;
    }

    void write(final byte[] bytes) throws IOException {
        final ByteBuffer buffer = ByteBuffer.wrap(bytes);
        while (buffer.hasRemaining()) {
            channel.write(buffer);
        }
    }

    static byte[] frame(final int length, final byte[] body) {
        return ByteBuffer.allocate(4 + body.length)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putInt(length)
                .put(body)
                .array();
    }

    /** The next answer; {@link EOFException} when the node has closed. */
    Response read() throws IOException {
        final int length = fill(4).getInt();
        return Response.parseFrom(fill(length));
    }

    /** Reads until the node closes; a reset counts as that. */
    void expectEnd() throws IOException {
        final ByteBuffer sink = ByteBuffer.allocate(64 * 1024);
        try {
            int count;
            do {
                count = channel.read(sink.clear());
            } while (count >= 0);
        } catch (final IOException reset) {
            return;
        }
    }

    /** Whether the node has closed; of a channel that does not block. */
    boolean hasEnded() {
        final ByteBuffer sink = ByteBuffer.allocate(64 * 1024);
        try {
            int count;
            do {
                count = channel.read(sink.clear());
            } while (count > 0);
            return count < 0;
        } catch (final IOException reset) {
            return true;
        }
    }

    private ByteBuffer fill(final int count) throws IOException {
        final ByteBuffer buffer = ByteBuffer.allocate(count).order(ByteOrder.LITTLE_ENDIAN);
        while (buffer.hasRemaining()) {
            if (channel.read(buffer) < 0) {
                throw new EOFException("the node has closed the connection");
            }
        }
        return buffer.flip();
    }

    @Override
    public void close() throws IOException {
        channel.close();
        if (lock != null) {
            lock.close();
        }
    }
}
