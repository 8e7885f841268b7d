package io.kvasir.storage.object;

/**
 * Something happened to an object, or to a whole tier.
 *
 * @param tenant whose object it is; null for {@link Kind#CLEARED}, which concerns all
 * @param id null for {@link Kind#CLEARED}
 */
public record ObjectEvent(Kind kind, String tenant, ObjectId id, TierKind tier) {
    /** What happened. */
    public enum Kind {
        /** It is in the tier now. */
        STORED,
        /** It has left the tier. */
        REMOVED,
        /** The tier began empty, or cannot be used: nothing that an earlier start of the node had there is left. */
        CLEARED
    }

    public static ObjectEvent cleared(final TierKind tier) {
        return new ObjectEvent(Kind.CLEARED, null, null, tier);
    }
}
