package io.kvasir.transport;

import java.lang.foreign.MemorySegment;

/** An object that is held for sending. The methods are called on the link's thread and must not block. */
public interface SourceObject {
    ObjectVersion version();

    /**
     * Fills {@code into} from {@code position} on; the bytes stay until {@link #release()}. Throws when they are gone all
     * the same: the object is then missing.
     */
    void read(long position, MemorySegment into);

    /**
     * Whether the bytes were this version's all along (the slot's generation is still the one that was leased). Asked
     * after the last slice was copied; the receiver keeps nothing without it.
     */
    boolean unchanged();

    /** Ends the lease: the link does not touch the bytes any more. Called once. */
    void release();
}
