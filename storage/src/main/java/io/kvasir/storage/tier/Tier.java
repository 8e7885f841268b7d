package io.kvasir.storage.tier;

import io.kvasir.storage.object.TierKind;
import io.kvasir.storage.tenant.Tenant;

/**
 * A place that holds objects, with a capacity and a cost. Lookups see every tier through this; one that engines cannot
 * address is fetched from. The thread that owns the store calls it, and no call waits.
 */
public interface Tier {
    /** From {@link #fetch}: the object is not here, or cannot be read now. */
    int NOT_HERE = -1;
    /** From {@link #fetch}: enough is on its way, or there is no space for it just now; ask again. */
    int LATER = -4;
    /** From {@link #fetch}: it is on its way, and {@link #waitFor} says what to wait for. */
    int UNDER_WAY = -5;

    /** Whether an object is here, as far as the tier knows. */
    enum Answer {
        ABSENT,
        PRESENT,
        /** Being found out. */
        ASKED,
        /** Nobody has asked: {@link #ask} does. */
        UNKNOWN
    }

    TierKind kind();

    Answer answer(ObjectRef object, long nowNs);

    /** Bytes of an object that is here; 0: not known. */
    long bytes(ObjectRef object);

    // ---- expected times, in ns; of objects that are here

    /** Until a fetch that is asked for now begins, behind what the tier is busy with. */
    long busyNs();

    /** What this object takes beyond {@link #busyNs}, beside the others that are fetched. */
    long latencyNs(ObjectRef object);

    /** By which fetching this object delays those that are fetched after it. */
    long transferNs(ObjectRef object);

    // ---- asking, for a tier that does not know what it has

    /** False: it is never {@link Answer#UNKNOWN} whether an object is here. */
    default boolean isAsked() {
        return false;
    }

    /** Starts to find out about those of the first {@code chunks} chunks' cells that nobody has asked for. */
    default void ask(final Question question, final int chunks, final long nowNs) {}

    /** What settles when more is known of the object, or when it is fetched; 0: nothing is under way. */
    default int waitFor(final ObjectRef object) {
        return 0;
    }

    // ---- fetching

    /**
     * Starts to bring an object into the addressable tier, at the latest with {@link #flush}.
     *
     * @param worthNs what that may take to be worth it
     * @return the entry that is being written, {@link #UNDER_WAY}, {@link #LATER} or {@link #NOT_HERE}
     */
    int fetch(Tenant tenant, ObjectRef object, long worthNs, long nowNs);

    /** All that one call fetches was named. */
    default void flush(final Tenant tenant) {}
}
