package io.kvasir.bench.suite;

import io.kvasir.node.engine.DutyCycle;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;

/**
 * Sends back what it reads, in the same {@link DutyCycle} as the engine API's server. The benchmark suite {@code control}
 * starts it for its reference.
 */
public final class EchoServer implements DutyCycle.Worker {
    private static final int BUFFER_BYTES = 256 * 1024;

    private final Selector selector;
    private final ServerSocketChannel listener;
    private final long spinNs;
    private final ByteBuffer buffer = ByteBuffer.allocateDirect(BUFFER_BYTES);

    private EchoServer(final Path socket, final long spinNs) throws IOException {
        this.spinNs = spinNs;
        selector = Selector.open();
        listener = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
        listener.bind(UnixDomainSocketAddress.of(socket));
        listener.configureBlocking(false);
        listener.register(selector, SelectionKey.OP_ACCEPT);
    }

    /** Arguments: the socket's path, microseconds to spin. Says "ready", and ends when its input does. */
    public static void main(final String[] args) throws IOException {
        if (args.length != 2) {
            throw new IllegalArgumentException("usage: EchoServer SOCKET SPIN_US; seen " + args.length + " arguments");
        }
        final EchoServer server =
                new EchoServer(Path.of(args[0]), TimeUnit.MICROSECONDS.toNanos(Long.parseLong(args[1])));
        Thread.ofPlatform().daemon().name("echo").start(() -> DutyCycle.run(server, () -> true));
        System.out.println("ready");
        while (System.in.read() >= 0) {
            // Only the end of the input matters.
        }
    }

    @Override
    public long spinNs() {
        return spinNs;
    }

    @Override
    public int doWork() {
        try {
            return selector.selectNow(this::onKey);
        } catch (final IOException e) {
            throw new UncheckedIOException("the echo server's selector failed", e);
        }
    }

    @Override
    public int await() {
        try {
            return selector.select(this::onKey);
        } catch (final IOException e) {
            throw new UncheckedIOException("the echo server's selector failed", e);
        }
    }

    private void onKey(final SelectionKey key) {
        try {
            if (key.isAcceptable()) {
                final SocketChannel accepted = listener.accept();
                if (accepted != null) {
                    accepted.configureBlocking(false);
                    accepted.register(selector, SelectionKey.OP_READ);
                }
                return;
            }
            final SocketChannel channel = (SocketChannel) key.channel();
            buffer.clear();
            if (channel.read(buffer) < 0) {
                channel.close();
                return;
            }
            buffer.flip();
            while (buffer.hasRemaining()) {
                channel.write(buffer);
            }
        } catch (final IOException e) {
            key.cancel();
        }
    }
}
