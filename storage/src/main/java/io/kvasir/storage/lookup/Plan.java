package io.kvasir.storage.lookup;

/** What {@link Planner} found. Belongs to it, and is overwritten by its next plan. */
public final class Plan {
    /** Hears the ranges of a plan in order, without gaps. */
    public interface Ranges {
        void miss(int firstChunk, int chunks);

        /**
         * The very bytes that were stored under these keys.
         *
         * @param pending false: leased
         * @param tier the slowest in which any of them lay
         * @param expectedNs of what is pending: until the last of them is here, as far as it is known
         */
        void exact(int firstChunk, int chunks, boolean pending, int tier, long expectedNs);
    }

    private enum Status {
        MISS,
        HIT,
        PENDING
    }

    int hits;
    /** Of a prefix: hits, and the pending chunks behind them. */
    int reachable;
    /** Of a sparse lookup: what is readable is leased in the chunks before this one. */
    int leaseEnd;
    /** Of a sparse lookup: what is on its way is waited for in the chunks before this one. */
    int awaitEnd;

    int pending;
    long leasedBytes;
    /** Of those, what no session has leased; as far as {@link Planner} was asked to know. */
    long newlyLeasedBytes;

    boolean isCut;

    private final int addressable;
    private final Planner.Transfers transfers = new Planner.Transfers();
    private Presence presence;
    private Costs costs;
    private boolean sparse;

    Plan(final int addressable) {
        this.addressable = addressable;
    }

    void begin(final Presence cells, final Costs cellCosts, final boolean isSparse) {
        presence = cells;
        costs = cellCosts;
        sparse = isSparse;
        hits = 0;
        reachable = 0;
        leaseEnd = 0;
        awaitEnd = 0;
        pending = 0;
        leasedBytes = 0;
        newlyLeasedBytes = 0;
        isCut = false;
    }

    /** Leading chunks that are hits; of a sparse lookup all that are. */
    public int hits() {
        return hits;
    }

    /** Chunks that will be hits when what is on its way is here. */
    public int pending() {
        return sparse ? pending : reachable - hits;
    }

    /** Chunks that have cells which are leased or waited for: the leading ones. */
    public int end() {
        return sparse ? Math.max(leaseEnd, awaitEnd) : reachable;
    }

    /** Leading chunks among which all leased cells are. */
    public int leasedChunks() {
        return sparse ? leaseEnd : hits;
    }

    /** What leasing its cells takes of the session's limit, at most. */
    public long leasedBytes() {
        return leasedBytes;
    }

    /** The limit left out hits. */
    public boolean isCut() {
        return isCut;
    }

    /** The cell is readable, and needed for the hits: it is to be leased. */
    public boolean isLeased(final int chunk, final int shard) {
        if (presence.get(chunk * presence.shards() + shard) != Presence.READABLE) {
            return false;
        }
        return sparse ? chunk < leaseEnd : isNeeded(hits, chunk, shard);
    }

    /** The cell is not readable yet, and needed for what is pending. */
    public boolean isAwaited(final int chunk, final int shard) {
        if (presence.get(chunk * presence.shards() + shard) == Presence.READABLE) {
            return false;
        }
        return sparse
                ? status(chunk) == Status.PENDING && !presence.isSkipped(shard)
                : isNeeded(reachable, chunk, shard);
    }

    private boolean isNeeded(final int prefix, final int chunk, final int shard) {
        final int window = presence.window(shard);
        return chunk < prefix && (window == 0 || chunk >= prefix - window);
    }

    private Status status(final int chunk) {
        if (!sparse) {
            return chunk < hits ? Status.HIT : chunk < reachable ? Status.PENDING : Status.MISS;
        }
        if (chunk < leaseEnd && presence.isReadable(chunk)) {
            return Status.HIT;
        }
        return chunk < awaitEnd && presence.isComing(chunk) && !presence.isReadable(chunk)
                ? Status.PENDING
                : Status.MISS;
    }

    /** Says the plan. */
    public void ranges(final Ranges out) {
        transfers.clear();
        int first = 0;
        Status rangeStatus = null;
        int rangeTier = 0;
        long rangeNs = 0;
        final int end = end();
        for (int chunk = 0; chunk < end; chunk++) {
            final Status status = status(chunk);
            final int tier = status == Status.MISS ? 0 : slowest(chunk);
            if (rangeStatus != null && (status != rangeStatus || tier != rangeTier)) {
                say(out, first, chunk, rangeStatus, rangeTier, rangeNs);
                first = chunk;
                rangeNs = 0;
            }
            if (status == Status.PENDING) {
                rangeNs = Math.max(rangeNs, begin(chunk));
            }
            rangeStatus = status;
            rangeTier = tier;
        }
        if (rangeStatus != null && rangeStatus != Status.MISS) {
            say(out, first, end, rangeStatus, rangeTier, rangeNs);
            first = end;
        }
        if (first < presence.chunks()) {
            out.miss(first, presence.chunks() - first);
        }
    }

    private static void say(
            final Ranges out, final int first, final int end, final Status status, final int tier, final long ns) {
        if (status == Status.MISS) {
            out.miss(first, end - first);
        } else {
            out.exact(first, end - first, status == Status.PENDING, tier, ns);
        }
    }

    /** The slowest tier in which a needed cell of the chunk lay. */
    private int slowest(final int chunk) {
        int slowest = addressable;
        for (int s = 0; s < presence.shards(); s++) {
            final int cell = chunk * presence.shards() + s;
            final byte where = presence.get(cell);
            if (isLeased(chunk, s)) {
                slowest = Math.max(slowest, costs.origin(cell));
            } else if (Presence.isFetchable(where) && isAwaited(chunk, s)) {
                slowest = Math.max(slowest, Presence.tier(where));
            }
        }
        return slowest;
    }

    /** Begins the chunk's transfers; nanoseconds until the last of them has ended. */
    private long begin(final int chunk) {
        long expectedNs = 0;
        for (int s = 0; s < presence.shards(); s++) {
            final int cell = chunk * presence.shards() + s;
            final byte where = presence.get(cell);
            if (Presence.isFetchable(where) && isAwaited(chunk, s)) {
                transfers.add(Presence.tier(where), costs.queueNs(cell), costs.transferNs(cell));
                expectedNs = Math.max(expectedNs, transfers.expectedNs(Presence.tier(where)));
            }
        }
        return expectedNs;
    }
}
