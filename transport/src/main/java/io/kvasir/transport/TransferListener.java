package io.kvasir.transport;

/** Hears how a transfer goes. Called on the link's thread; must not block. */
public interface TransferListener {
    /**
     * One object's end; each object has exactly one, at the latest a little after the deadline. For a pull that is
     * {@link Outcome#STORED} the sink's {@code complete} was called before.
     *
     * @param index into the list that was asked for
     */
    void onObject(int index, Outcome outcome);

    /** After the last object's end. */
    default void onEnd() {}

    /** A holder sent bytes that do not have their version's checksum. The pull goes on with the next holder, if any. */
    default void onCorrupt(final int index, final Peer holder, final ObjectVersion version) {}
}
