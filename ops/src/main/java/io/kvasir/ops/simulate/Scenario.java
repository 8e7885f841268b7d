package io.kvasir.ops.simulate;

import io.kvasir.node.placement.Placement;
import io.kvasir.storage.policy.PolicyKind;

/**
 * One simulation.
 *
 * @param capacity chunks that each node has room for; 0: without limit
 * @param linkGbps of each node, the same both ways
 * @param chunkBytes that a pull moves
 */
record Scenario(
        int nodes,
        int capacity,
        PolicyKind policy,
        Routing routing,
        Sharing sharing,
        Placement placement,
        double linkGbps,
        long chunkBytes,
        long seed) {
    /** What nodes have of each other. */
    enum Sharing {
        /** They fetch from each other. */
        POOLED,
        /** Each is alone. */
        LOCAL,
        /** As pooled, but each knows at once who has what: the difference to pooled is the directory's. */
        IDEAL
    }

    /** Who chooses the node for a request, and how. */
    enum Routing {
        /** Any node. */
        RANDOM,
        /** The least of the chunks to compute there + 0.1 x the chunks computed there so far. */
        PREFIX
    }
}
