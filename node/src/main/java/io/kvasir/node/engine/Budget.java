package io.kvasir.node.engine;

import io.kvasir.storage.budget.StoreLimits;

/**
 * What engines' requests may take of the heap, all connections together. With the store's part ({@link StoreLimits}) and
 * what a node needs by itself the sum has to fit {@code -Xmx} of {@code ops/node.jvm.args}; {@link #shortfall} says when
 * it does not. Each bound is checked before what it bounds is allocated.
 */
final class Budget {
    private static final long MIB = 1L << 20;

    /**
     * Half-sent frames, requests that wait for their connection's next turn, and unread answers. Four connections that
     * send or do not read the longest frame fill it; {@link #socketBytes} is more where {@code engine.max_frame} is.
     */
    private static final long SOCKET_BYTES = 32 * MIB;

    private static final int SOCKET_FRAMES = 4;

    /** Requests whose answers are held: 450 waiting prompts of 512 chunks, or 7 of 65,536. */
    static final long HELD_BYTES = 16 * MIB;

    /** Of one connection: half, so that none takes all. */
    static final long HELD_BYTES_EACH = HELD_BYTES / 2;

    /** What a held request takes beside its keys. */
    static final long HELD_OVERHEAD = 512;

    /** Shards, hit rules and namespaces of all sessions: 36 sessions of 4,096 shards, or 1,024 of 128. */
    static final long SESSION_BYTES = 8 * MIB;

    static final long SHARD_BYTES = 56;
    static final long RULE_BYTES = 72;
    static final long NAMESPACE_BYTES = 80;

    /** The one call that is under way: its frame, its keys, its records and its answer. */
    private static final int CALL_FRAMES = 3;

    /** Classes' static state, metrics, the cluster's parts, events, and indexes of what the tiers hold. */
    private static final long NODE_BYTES = 64 * MIB;

    private Budget() {}

    static long socketBytes(final int maxFrameBytes) {
        return Math.max(SOCKET_BYTES, (long) SOCKET_FRAMES * maxFrameBytes);
    }

    static long sum(final int maxFrameBytes) {
        return socketBytes(maxFrameBytes)
                + HELD_BYTES
                + SESSION_BYTES
                + (long) CALL_FRAMES * maxFrameBytes
                + StoreLimits.LOOKUP_BYTES
                + StoreLimits.slicedAnswers(maxFrameBytes)
                + StoreLimits.LEASE_TIMER_BYTES
                + StoreLimits.REMOTE_BYTES
                + NODE_BYTES;
    }

    /** What to tell the operator when the heap is too small for all of this at once; null when it is not. */
    static String shortfall(final int maxFrameBytes, final long heapBytes) {
        final long needed = sum(maxFrameBytes);
        return needed <= heapBytes
                ? null
                : "engine.max_frame is " + maxFrameBytes + " bytes: requests may take " + needed / MIB
                        + " MiB of the heap, which has " + heapBytes / MIB
                        + " MiB; give the node a larger -Xmx (ops/node.jvm.args) or a smaller engine.max_frame";
    }
}
