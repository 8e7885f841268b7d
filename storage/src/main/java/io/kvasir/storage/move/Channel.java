package io.kvasir.storage.move;

/**
 * A device or link with a budget of its own. What other nodes begin has another one than what this node begins: else two
 * nodes that send to each other could each fill what the other waits for.
 */
public enum Channel {
    SSD,
    /** To the tier above DRAM. */
    DEVICE,
    /** To and from other nodes, begun here. */
    LINK,
    /** From other nodes, begun there. */
    REPLICAS
}
