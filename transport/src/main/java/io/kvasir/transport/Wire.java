package io.kvasir.transport;

import io.aeron.logbuffer.BufferClaim;
import org.agrona.DirectBuffer;

/**
 * What the link needs of a network: {@link AeronWire}, or a simulation of one in tests. All on the link's thread.
 * Addresses are {@code host:port}.
 */
interface Wire extends AutoCloseable {
    /** How far an outgoing or incoming stream is. */
    enum State {
        OPENING,
        /** Messages pass. */
        UP,
        /** For good: the other side fell silent, closed or refused. */
        GONE
    }

    /** A stream to a peer's control port. */
    interface ControlOut {
        State state();

        /** Why the peer refused it, in the peer's words, unproven; null when it did not. */
        String rejection();

        /** False: no room now. */
        boolean offer(DirectBuffer message, int offset, int length);

        void close();
    }

    /** A stream that carries slices to a peer. */
    interface DataOut {
        State state();

        /** False: no room now. The caller commits the claim. */
        boolean claim(int length, BufferClaim claim);

        void close();
    }

    /** A stream that carries slices from a peer. UP as soon as the peer may start to send. */
    interface DataIn {
        State state();

        void close();
    }

    interface ControlHandler {
        /** Somebody's stream reached the control port. */
        void onControlOpened(long source);

        /** A message of some stream that reached the control port. */
        void onControl(long source, DirectBuffer buffer, int offset, int length);

        /** That stream is over. */
        void onControlGone(long source);
    }

    interface DataHandler {
        void onData(DirectBuffer buffer, int offset, int length);
    }

    /** Largest control message, seal included. */
    int maxControl();

    /** Largest message of the data streams. */
    int maxData();

    ControlOut openControl(String endpoint);

    DataOut openData(String endpoint, int session);

    /** Takes what comes with this session, and nothing else. */
    DataIn listen(int session, DataHandler handler);

    /** Ends a stream that reached the control port; its sender is told why. */
    void reject(long source, String reason);

    /** Runs what must run, and hands over what has arrived. */
    int doWork(ControlHandler handler);

    @Override
    void close();
}
