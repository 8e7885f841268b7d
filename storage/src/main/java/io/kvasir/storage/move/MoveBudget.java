package io.kvasir.storage.move;

/**
 * What may be on its way over one {@link Channel}. One move alone may exceed a bound in bytes, so that an object that is
 * larger than a small budget moves too.
 *
 * @param bytes of all moves that have started and not ended
 * @param storeBytes of those, of stores: a load never waits behind more
 * @param stores that have started and not ended
 * @param storesWaiting stores of one priority that have not started
 * @param loadBytes of loads that wait or move: they have their space in DRAM already. Background loads take half at most
 * @param loads that wait or move; background loads are half at most
 */
public record MoveBudget(long bytes, long storeBytes, int stores, int storesWaiting, long loadBytes, int loads) {
    /** Keeps any disk busy, and takes a slow one a fraction of a second. */
    private static final long MOST_STORE_BYTES = 128L << 20;

    public MoveBudget {
        if (bytes < 1 || storeBytes < 1 || stores < 1 || storesWaiting < 1 || loadBytes < 1 || loads < 1) {
            throw new IllegalArgumentException("every bound of a budget must be at least 1");
        }
    }

    /**
     * Stores take half of the bytes, 128 MiB at most.
     *
     * @param arrivingBytes of DRAM that may be on their way from there
     */
    public static MoveBudget of(
            final long bytes, final int stores, final int storesWaiting, final long arrivingBytes, final int loads) {
        return new MoveBudget(
                bytes, Math.max(1, Math.min(bytes / 2, MOST_STORE_BYTES)), stores, storesWaiting, arrivingBytes, loads);
    }

    /** Of a channel without loads. */
    public static MoveBudget ofStores(final long bytes, final int stores) {
        return new MoveBudget(bytes, bytes, stores, stores, 1, 1);
    }

    /** As much as loads and stores may have on their way, so that neither waits for the other. */
    public static long usualBytes(final long arrivingBytes) {
        return arrivingBytes + MOST_STORE_BYTES;
    }
}
