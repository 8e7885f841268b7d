package io.kvasir.storage.tier;

import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.TierKind;

/**
 * Told what happens in the tiers, on the thread that owns the store and in the order in which it happens. A tier changes
 * the object table first and tells afterwards, so that whoever is told finds there what he is told.
 */
public interface TierListener {
    /** It was in the tier when that opened. All of these come before {@link #warm}. */
    default void found(TierKind tier, ObjectId id, long length, Hash256 parent, int chunkIndex) {}

    /** Everything that the tier had when it opened was told. */
    default void warm(TierKind tier, boolean empty) {}

    /** The tier is out of use: nothing is in it any more. */
    default void lost(TierKind tier) {}

    /**
     * An object is readable in the tier.
     *
     * @param tenant null: the tier does not know
     * @param parent {@link Hash256#ZERO} for the first of a chain, and where it is not known
     * @param chunkIndex -1: not known
     */
    default void present(TierKind tier, String tenant, ObjectId id, long length, Hash256 parent, int chunkIndex) {}

    /**
     * An object is a miss in the tier from now on. Told once for each time that it was found or present, before its slot
     * is another one's and before its removal is durable; a crash in between may give it back at the next start.
     *
     * @param tenant null: the tier does not know
     * @param uses times that it was leased there
     */
    default void leaving(TierKind tier, String tenant, ObjectId id, int uses) {}

    /** What was waited for is over: an entry that was being written or verified, or what {@link Tier#waitFor} named. */
    default void settled(int event) {}

    /** Requests that wait for space in the tier may try again. */
    default void spaceFreed(TierKind tier) {}
}
