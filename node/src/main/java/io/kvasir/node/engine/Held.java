package io.kvasir.node.engine;

import io.kvasir.node.engine.v1.Request;

/** A request whose answer waits: for pending objects, for room, or for events. Ends once, in one of three ways. */
abstract class Held {
    final Connection connection;
    final long requestId;
    final Request.CallCase call;
    final long arrivedNs;
    /** When what there is must be answered. */
    final long untilNs;
    /** What it keeps on the heap while it waits, about. */
    final long bytes;
    /** Of the server's timer wheel. */
    long timer;

    private boolean ended;

    Held(
            final Connection connection,
            final long requestId,
            final Request.CallCase call,
            final long arrivedNs,
            final long untilNs,
            final long bytes) {
        this.connection = connection;
        this.requestId = requestId;
        this.call = call;
        this.arrivedNs = arrivedNs;
        this.untilNs = untilNs;
        this.bytes = Budget.HELD_OVERHEAD + bytes;
    }

    /** What was waited for came: answers, or goes on waiting for what came up meanwhile. */
    abstract void ready();

    /** The budget ends: answers what there is. */
    abstract void expire();

    /** Cancelled, or the connection is gone: gives back what was got. Does not answer. */
    abstract void drop();

    final boolean ended() {
        return ended;
    }

    final void end() {
        ended = true;
    }
}
