package io.kvasir.node.engine;

import java.io.IOException;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Accepts connections: some in a row, and none for a while after that failed. Owned by {@link EngineServer}. */
final class Acceptor {
    private static final Logger LOG = LoggerFactory.getLogger(Acceptor.class);
    private static final int ACCEPTS_IN_A_ROW = 16;
    private static final long PAUSE_NS = 100_000_000;

    /** Takes over a connection, or refuses and closes it. */
    interface Admission {
        void admit(SocketChannel channel) throws IOException;
    }

    private final ServerSocketChannel listener;
    private final SelectionKey key;
    private final EngineMetrics metrics;
    private final Admission admission;
    private boolean accepting = true;
    private long againNs = Long.MAX_VALUE;

    /**
     * @param listener is bound, and belongs to this from now on
     * @param selector selects its key, which has nothing attached, when somebody connects
     */
    Acceptor(
            final ServerSocketChannel listener,
            final Selector selector,
            final EngineMetrics metrics,
            final Admission admission)
            throws IOException {
        this.listener = listener;
        this.metrics = metrics;
        this.admission = admission;
        listener.configureBlocking(false);
        key = listener.register(selector, SelectionKey.OP_ACCEPT);
    }

    void acceptSome(final long nowNs) {
        for (int i = 0; i < ACCEPTS_IN_A_ROW && accepting; i++) {
            final SocketChannel channel;
            try {
                channel = listener.accept();
            } catch (final IOException e) {
                metrics.fault(Fault.ACCEPT_FAILED);
                LOG.warn("A connection cannot be accepted, next try in 100 ms: {}", e.getMessage());
                key.interestOps(0);
                againNs = nowNs + PAUSE_NS;
                return;
            }
            if (channel == null) {
                return;
            }
            metrics.accepted.inc();
            try {
                channel.configureBlocking(false);
                admission.admit(channel);
            } catch (final IOException e) {
                metrics.fault(Fault.SOCKET_ERROR);
                closeQuietly(channel);
            }
        }
    }

    /** Accepts again when the pause after a failure is over. */
    void resume(final long nowNs) {
        if (nowNs >= againNs && accepting) {
            againNs = Long.MAX_VALUE;
            key.interestOps(SelectionKey.OP_ACCEPT);
        }
    }

    /** No new connections. */
    void stop() {
        accepting = false;
        key.cancel();
        try {
            listener.close();
        } catch (final IOException e) {
            LOG.warn("The engine API's socket did not close", e);
        }
    }

    static void closeQuietly(final SocketChannel channel) {
        try {
            channel.close();
        } catch (final IOException e) {
            LOG.debug("A connection did not close", e);
        }
    }
}
