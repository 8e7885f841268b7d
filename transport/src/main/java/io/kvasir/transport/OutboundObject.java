package io.kvasir.transport;

/** One object on its way out: asked of the source, offered, accepted, sent slice by slice, confirmed. */
final class OutboundObject {
    enum Phase {
        /** The source was asked. */
        OPENING,
        /** The peer knows its version, and has not said from where on it wants it. */
        OFFERED,
        SENDING,
        /** All is sent, and a push waits for the peer's word. */
        SENT,
        ENDED
    }

    final OutboundTransfer transfer;
    final int index;
    Phase phase = Phase.OPENING;
    SourceObject source;
    ObjectVersion version;
    long tag;
    long sent;

    OutboundObject(final OutboundTransfer transfer, final int index) {
        this.transfer = transfer;
        this.index = index;
    }
}
