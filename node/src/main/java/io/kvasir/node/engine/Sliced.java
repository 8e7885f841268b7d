package io.kvasir.node.engine;

import io.kvasir.node.engine.v1.Request;
import io.kvasir.node.engine.v1.Response;

/**
 * A call over many independent items that is worked off over several turns of its connection, so that other connections
 * have theirs in between. Later requests of the same connection wait for it.
 */
abstract class Sliced {
    /** Of one step: well under a millisecond's work for the most expensive call. */
    private static final int OBJECTS = 256;

    final long requestId;
    final Request.CallCase call;
    final long arrivedNs;
    /** What it keeps in memory. */
    final int bytes;

    private final int count;
    private final int inAStep;
    private int at;

    /** @param shards objects that each item stands for */
    Sliced(final Request request, final long arrivedNs, final int count, final int shards, final int bytes) {
        this.requestId = request.getId();
        this.call = request.getCallCase();
        this.arrivedNs = arrivedNs;
        this.count = count;
        this.inAStep = Math.max(1, OBJECTS / shards);
        this.bytes = bytes;
    }

    /** It cannot begin yet: what it needs is in use by others. */
    boolean isBlocked() {
        return false;
    }

    /** Its connection is gone: gives back what it has. */
    void drop() {}

    /** Works on items {@code from} to {@code to - 1}. */
    abstract void items(int from, int to);

    /** After the last item. */
    abstract Response.Builder answer();

    /** Works on the next items; true when there are no more. */
    boolean step() {
        final int from = at;
        at = Math.min(count, from + inAStep);
        items(from, at);
        return at == count;
    }
}
