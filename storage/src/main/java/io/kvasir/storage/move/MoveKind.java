package io.kvasir.storage.move;

/** What a move is for, and the device or link that it uses. */
public enum MoveKind {
    /** SSD to DRAM. */
    PROMOTE(Channel.SSD),
    /** DRAM to SSD. */
    DEMOTE(Channel.SSD);

    private final Channel channel;

    MoveKind(final Channel channel) {
        this.channel = channel;
    }

    public Channel channel() {
        return channel;
    }
}
