package io.kvasir.storage.object;

/** Where consecutive chunks of a lookup come from. */
public sealed interface PlanRange {
    int firstChunk();

    int chunks();

    /** {@link SlotStatus#HIT}, {@link SlotStatus#PENDING} or {@link SlotStatus#MISS}. */
    byte status();

    /** Where the bytes lay when the lookup came; null for a miss. */
    TierKind tier();

    /** When pending: nanoseconds until the last of them is here, as far as it is known; else 0. */
    long expectedNs();

    /** Nothing that the engine could use. */
    record Miss(int firstChunk, int chunks) implements PlanRange {
        @Override
        public byte status() {
            return SlotStatus.MISS;
        }

        @Override
        public TierKind tier() {
            return null;
        }

        @Override
        public long expectedNs() {
            return 0;
        }
    }

    /** The very bytes that were committed under these keys. */
    record Exact(int firstChunk, int chunks, byte status, TierKind tier, long expectedNs) implements PlanRange {}
}
