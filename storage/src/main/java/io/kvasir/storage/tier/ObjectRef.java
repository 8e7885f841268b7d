package io.kvasir.storage.tier;

import io.kvasir.storage.index.ObjectTable;
import io.kvasir.storage.object.ObjectId;

/**
 * Names an object to a tier. Whoever asks about many objects reuses one of these, so it is valid during the call only; a
 * tier that goes on with the object keeps its {@link #id}.
 */
public interface ObjectRef {
    /** Its entry in the object table; negative when it has none. */
    int object();

    /**
     * Its entry in the object table, made when it has none; {@link ObjectTable#FULL} when there is no space for it. The
     * caller says in which tier it is at once.
     */
    int enter();

    /** Allocates. */
    ObjectId id();
}
