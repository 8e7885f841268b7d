package io.kvasir.node.engine;

import io.kvasir.storage.ObjectStore;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.SocketChannel;
import java.util.ArrayDeque;
import java.util.HashMap;
import java.util.Map;
import org.agrona.collections.IntHashSet;

/** State of one engine process's connection. Owned by the server's thread, which does the work. */
final class Connection {
    /** Requests of one connection whose answers are held. */
    static final int MAX_HELD = 1024;

    final SocketChannel channel;
    final SelectionKey key;
    final FrameCutter cutter;
    final long acceptedNs;
    final Map<Long, Held> held = new HashMap<>();
    /** Answers that the socket did not take yet. */
    final ArrayDeque<ByteBuffer> output = new ArrayDeque<>(0);

    long outputBytes;
    /** When {@link #output} last got shorter, or began. */
    long outputSinceNs;
    /** When the half-sent frame began. */
    long frameSinceNs;
    /** Its share of the server's half-sent bytes. */
    int countedBytes;

    TenantGrant tenant;
    ObjectStore.Tenant storeTenant;
    ObjectStore.Attachment attachment;
    Session session;
    boolean ending;
    private IntHashSet known;

    Connection(final SocketChannel channel, final SelectionKey key, final int maxFrameBytes, final long acceptedNs) {
        this.channel = channel;
        this.key = key;
        this.cutter = new FrameCutter(maxFrameBytes);
        this.acceptedNs = acceptedNs;
    }

    /** True the first time: the engine has not been told of this region on this connection. */
    boolean learns(final int region) {
        if (known == null) {
            known = new IntHashSet();
        }
        return known.add(region);
    }

    /** The region ended; its number may come again. */
    void forgets(final int region) {
        if (known != null) {
            known.remove(region);
        }
    }
}
