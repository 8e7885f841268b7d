package io.kvasir.storage.tier.ssd;

import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import java.util.List;

/** Told, on the tier's completions executor and in the order in which it happens, what the tier holds. */
public interface SsdListener {
    SsdListener NONE = new SsdListener() {};

    /**
     * An object that was found on disk.
     *
     * @param number of the id among the tier's, held during the call that names it
     */
    record Found(int number, ObjectId id, long length, Hash256 parent, int chunkIndex) {}

    /**
     * Found on disk when the tier opened, in the order of the chunk indexes, a few hundred at a time; all of these come before
     * {@link #warm()}.
     */
    default void recovered(final List<Found> objects) {}

    /** The tier has found all that it holds. */
    default void warm() {}

    /** The tier cannot be used: every call is rejected from now on. */
    default void failed(final String reason) {}

    default void stored(final ObjectId id, final long length) {}

    /**
     * Removed, evicted, expired or corrupt: a miss from now on. Told when the removal begins, before it is durable: a
     * crash in between, or a disk that takes no writes, gives the object back at the next start.
     */
    default void removed(final ObjectId id) {}
}
