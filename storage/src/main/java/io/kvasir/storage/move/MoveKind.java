package io.kvasir.storage.move;

/** What a move is for, and the device or link that it uses. */
public enum MoveKind {
    /** SSD to DRAM. */
    PROMOTE(Channel.SSD),
    /** DRAM to SSD. */
    DEMOTE(Channel.SSD),
    /** DRAM to the tier above it, as a second copy. */
    SECOND_COPY(Channel.DEVICE),
    /** From another node, for a lookup. */
    PULL(Channel.LINK),
    /** To the node that a prefill is handed to. */
    HANDOFF(Channel.LINK),
    /** To a peer with space, before it is evicted here. */
    LAST_COPY(Channel.LINK),
    /** To a peer with space, before this node leaves. */
    DRAIN(Channel.LINK),
    /** From another node that sends it. */
    REPLICA(Channel.REPLICAS);

    private final Channel channel;

    MoveKind(final Channel channel) {
        this.channel = channel;
    }

    public Channel channel() {
        return channel;
    }
}
