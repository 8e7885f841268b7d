package io.kvasir.storage;

/**
 * Where consecutive chunks of a lookup come from.
 *
 * @param status {@link SlotStatus#HIT}, {@link SlotStatus#PENDING} or {@link SlotStatus#MISS}
 * @param tier where the bytes lay when the lookup came; null for a miss
 * @param expectedNs when pending: time until the bytes are here
 */
public record PlanRange(int firstChunk, int chunks, byte status, TierKind tier, long expectedNs) {}
