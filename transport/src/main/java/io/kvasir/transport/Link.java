package io.kvasir.transport;

import io.kvasir.transport.wire.MessageHeaderEncoder;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import org.agrona.DirectBuffer;
import org.agrona.collections.Long2ObjectHashMap;
import org.agrona.concurrent.UnsafeBuffer;

/**
 * One link between this node and a peer: its streams, its keys, and the transfers that use it. Owned by {@link Links};
 * {@link Receiver} and {@link Sender} keep their transfers here.
 */
final class Link {
    enum Phase {
        /** Opens its control stream to the peer. */
        CONNECTING,
        /** Has sent Hello or Welcome. */
        GREETED,
        /** The peer has proved itself. */
        UP,
        CLOSED
    }

    /** Control messages that may wait for room; more is a peer that does not take them. */
    private static final int MAX_WAITING = 1 << 16;

    private static final int SEQUENCE_AT = MessageHeaderEncoder.ENCODED_LENGTH + 8;

    final long number;
    final Peer peer;
    final boolean initiator;
    final long[] ownNonce;
    final int[] ownSessions;
    final Wire.ControlOut out;
    final long startedNs;
    final Long2ObjectHashMap<InboundTransfer> inbound = new Long2ObjectHashMap<>();
    final Long2ObjectHashMap<OutboundTransfer> outbound = new Long2ObjectHashMap<>();
    final ArrayDeque<InboundObject> waitForCredit = new ArrayDeque<>();
    final List<Wire.DataIn> in = new ArrayList<>();
    final List<OutStream> streams = new ArrayList<>();
    final ArrayDeque<OutboundTransfer> toOpen = new ArrayDeque<>();
    Phase phase = Phase.CONNECTING;
    LinkKeys sealing;
    LinkKeys opening;
    long source = NO_SOURCE;
    int[] peerSessions = {};
    boolean ready;
    boolean peerReady;
    long lastUsedNs;
    long lastHeardNs;
    long creditUsed;
    int openObjects;
    private final ArrayDeque<byte[]> waiting = new ArrayDeque<>();
    private final UnsafeBuffer resend = new UnsafeBuffer(0, 0);
    private long nextOut;
    private long nextIn;

    static final long NO_SOURCE = -1;

    Link(
            final long number,
            final Peer peer,
            final boolean initiator,
            final long[] ownNonce,
            final int[] ownSessions,
            final Wire.ControlOut out,
            final long nowNs) {
        this.number = number;
        this.peer = peer;
        this.initiator = initiator;
        this.ownNonce = ownNonce;
        this.ownSessions = ownSessions;
        this.out = out;
        // The first message of an initiator is read before there is a link.
        nextIn = initiator ? 0 : 1;
        startedNs = nowNs;
        lastUsedNs = nowNs;
        lastHeardNs = nowNs;
    }

    boolean idle() {
        return inbound.isEmpty() && outbound.isEmpty();
    }

    /** Numbers, seals and sends the message, or keeps it until there is room. False: too many wait, give the link up. */
    boolean send(final UnsafeBuffer message, final int length) {
        message.putLong(SEQUENCE_AT, nextOut++, java.nio.ByteOrder.LITTLE_ENDIAN);
        final int sealed = sealing.seal(message, 0, length);
        if (waiting.isEmpty() && out.offer(message, 0, sealed)) {
            return true;
        }
        if (waiting.size() == MAX_WAITING) {
            return false;
        }
        final byte[] copy = new byte[sealed];
        message.getBytes(0, copy);
        waiting.add(copy);
        return true;
    }

    int flush() {
        int work = 0;
        while (!waiting.isEmpty()) {
            resend.wrap(waiting.peek());
            if (!out.offer(resend, 0, resend.capacity())) {
                break;
            }
            waiting.poll();
            work++;
        }
        return work;
    }

    /** Length of the message inside the seal; -1 when it is not the peer's next message. */
    int open(final DirectBuffer message, final int offset, final int length) {
        final int inside = opening.open(message, offset, length);
        if (inside < SEQUENCE_AT + 8
                || message.getLong(offset + SEQUENCE_AT, java.nio.ByteOrder.LITTLE_ENDIAN) != nextIn) {
            return -1;
        }
        nextIn++;
        return inside;
    }

    @Override
    public String toString() {
        return "link to " + peer + " (" + phase + ")";
    }
}
