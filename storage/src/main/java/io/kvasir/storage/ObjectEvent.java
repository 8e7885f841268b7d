package io.kvasir.storage;

/**
 * Something happened to an object.
 *
 * @param removed false: stored in {@code tier}; true: gone from it
 */
public record ObjectEvent(String tenant, ObjectId id, TierKind tier, boolean removed) {}
