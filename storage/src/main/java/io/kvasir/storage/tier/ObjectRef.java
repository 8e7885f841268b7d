package io.kvasir.storage.tier;

import io.kvasir.storage.object.ObjectId;

/**
 * Names an object to a tier. Whoever asks about many objects reuses one of these, so it is valid during the call only; a
 * tier that goes on with the object keeps its {@link #id}.
 */
public interface ObjectRef {
    /** Its entry in the object table; negative when it has none. */
    int object();

    /** See {@link ObjectId#hash64()}. */
    long hash();

    /** Allocates. */
    ObjectId id();
}
