package io.kvasir.transport;

import java.lang.foreign.MemorySegment;

/** An object that is held for sending. The methods are called on the link's thread and must not block. */
public interface SourceObject {
    ObjectVersion version();

    /** Off-heap, of {@code version().length()} bytes, readable from the link's thread until {@link #release()}. */
    MemorySegment bytes();

    /**
     * Whether the bytes were this version's all along (the slot's generation is still the one that was leased). Asked
     * after the last slice was copied; the receiver keeps nothing without it.
     */
    boolean unchanged();

    /** Ends the lease: the link does not touch the bytes any more. Called once. */
    void release();
}
