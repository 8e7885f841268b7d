package io.kvasir.storage.tier.ssd;

/** How a write or a removal ended. Only {@link Status#DURABLE} and {@link Status#ALREADY} mean that it is on disk. */
public record WriteOutcome(Status status, String reason) {
    public enum Status {
        /** Survives {@code kill -9} and loss of power. */
        DURABLE,
        /** The object was there already; this payload was not written. */
        ALREADY,
        /** No room, and nothing may be evicted. */
        FULL,
        /** The queue is full, or the tier is closed; nothing was tried. */
        REJECTED,
        FAILED,
        /** Answer to a removal: it is gone, also after a restart. */
        REMOVED,
        /** Answer to a removal: it was not there. */
        ABSENT
    }

    static final WriteOutcome DURABLE = new WriteOutcome(Status.DURABLE, "");
    static final WriteOutcome ALREADY = new WriteOutcome(Status.ALREADY, "");
    static final WriteOutcome REMOVED = new WriteOutcome(Status.REMOVED, "");
    static final WriteOutcome ABSENT = new WriteOutcome(Status.ABSENT, "");

    static WriteOutcome full(final String reason) {
        return new WriteOutcome(Status.FULL, reason);
    }

    static WriteOutcome rejected(final String reason) {
        return new WriteOutcome(Status.REJECTED, reason);
    }

    static WriteOutcome failed(final String reason) {
        return new WriteOutcome(Status.FAILED, reason);
    }

    /** True when the bytes under this id are durable now. */
    public boolean isStored() {
        return status == Status.DURABLE || status == Status.ALREADY;
    }
}
