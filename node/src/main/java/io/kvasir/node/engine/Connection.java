package io.kvasir.node.engine;

import io.kvasir.storage.tenant.Tenant;
import io.kvasir.storage.tier.Attachment;
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
    /** What it has sent and the server keeps: a half-sent frame, {@link #rest}, {@link #task}. */
    int countedBytes;
    /** Frames that were read and wait for the connection's next turn; null: none. */
    ByteBuffer rest;
    /** The call that goes on in the next turn; null: none. */
    Sliced task;
    /** {@link #task} cannot begin: it gets no turn until it can. */
    boolean blocked;
    /** It waits for a turn. */
    boolean queued;
    /** Its place in the {@link TurnQueue}: when its turn is due in virtual time, and its number among equals. */
    long turnAtNs;

    long turnNumber;
    /** Where in virtual time its last turn ended. */
    long servedNs;

    TurnQueue.Group turnGroup;
    /** Of {@link #held}. */
    long heldBytes;

    TenantGrant tenant;
    Tenant storeTenant;
    Attachment attachment;
    Session session;
    boolean ending;
    private IntHashSet known;

    Connection(final SocketChannel channel, final SelectionKey key, final FrameCutter cutter, final long acceptedNs) {
        this.channel = channel;
        this.key = key;
        this.cutter = cutter;
        this.acceptedNs = acceptedNs;
    }

    /** It has sent more than was worked off: nothing is read before that. */
    boolean isBehind() {
        return rest != null || task != null;
    }

    /** What the server keeps of what it has sent. */
    int keptBytes() {
        return cutter.capacity() + (rest == null ? 0 : rest.capacity()) + (task == null ? 0 : task.bytes);
    }

    /** What it takes of {@link Budget#socketBytes}. */
    long socketBytes() {
        return countedBytes + outputBytes;
    }

    /** It is ending: nothing that waits for it is needed. */
    void letGo() {
        output.clear();
        outputBytes = 0;
        countedBytes = 0;
        rest = null;
        if (task != null) {
            task.drop();
            task = null;
        }
        cutter.letGo();
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
