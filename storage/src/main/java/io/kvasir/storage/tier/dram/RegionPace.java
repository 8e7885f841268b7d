package io.kvasir.storage.tier.dram;

/**
 * How fast one tenant gets regions. The memory of a region costs a processor milliseconds of the kernel's work, so a
 * tenant whose processes damage regions gets one further region a second, and others' calls do not wait for what
 * replaces the damaged ones. Owned by {@link DramTier}; times are milliseconds of its clock.
 */
final class RegionPace {
    static final long INTERVAL_MS = 1000;
    /** So long after the last damage the tenant gets regions as others do. */
    static final long REMEMBERED_MS = 60_000;

    private long endMs;
    private long nextMs;

    /** One of the tenant's regions was found damaged. */
    void damaged(final long nowMs) {
        endMs = nowMs + REMEMBERED_MS;
    }

    boolean mayTake(final long nowMs) {
        return nowMs >= nextMs;
    }

    /** The tenant got a region of new memory. */
    void taken(final long nowMs) {
        if (nowMs < endMs) {
            nextMs = nowMs + INTERVAL_MS;
        }
    }

    /** When {@link #mayTake} holds again. */
    long nextMs() {
        return nextMs;
    }
}
