package io.kvasir.storage.budget;

/**
 * How much one call may ask of the store, and how much of the heap all of them together may take. Every bound has its
 * reason here; the node adds its own and compares the sum with the heap.
 */
public final class StoreLimits {
    /**
     * Keys x declared shards of one call. As many as the records of the longest answer that fits the default
     * {@code engine.max_frame}; a planner's arrays for them are allocated once.
     */
    public static final int CELLS = 131_072;

    /** Lookups that are worked off in slices at a time, one of a tenant, each with arrays of its own; others wait. */
    public static final int LOOKUPS_IN_SLICES = 2;

    /** The reused arrays of all lookups: hash, table entry, entry, its serial, held entry and presence of each cell. */
    public static final long LOOKUP_BYTES = (1L + LOOKUPS_IN_SLICES) * CELLS * (Long.BYTES + 4 * Integer.BYTES + 1);

    /** Records that lookups in slices have packed and not answered yet, at half a frame each. */
    public static long slicedAnswers(final int maxFrameBytes) {
        return LOOKUPS_IN_SLICES * (maxFrameBytes / 2L);
    }

    /** What one slice of a lookup looks at: about a tenth of a millisecond. */
    public static final int CELLS_IN_A_SLICE = 256;

    /** More are looked up in slices. */
    public static final int CELLS_IN_ONE_PIECE = 1024;

    /** Bytes of DRAM for each cell that leases may have, so that not its number but {@code lease.quota} limits them. */
    private static final long BYTES_OF_A_CELL = 16 << 10;

    private static final int FEWEST_LEASED_CELLS = 2 * CELLS;
    private static final int MOST_LEASED_CELLS = 1 << 20;

    /** Leases of all sessions. A power of two. */
    public static final int LEASES = 65_536;

    /** Their deadlines, on the heap. */
    public static final long LEASE_TIMER_BYTES = LEASES * 64L;

    /** Cells of all leases: in the smallest case two of the widest lookups, of which one may be a session's. */
    public static int leasedCells(final long dramCapacity) {
        return Math.clamp(dramCapacity / BYTES_OF_A_CELL, FEWEST_LEASED_CELLS, MOST_LEASED_CELLS);
    }

    /** Cells that one lookup asks the directory for; what lies behind them is asked for once these are found. */
    public static final int ASKED_AT_ONCE = 8192;

    /** Objects of other nodes that this node knows something of: the answers of the last 300 ms, and what comes. */
    public static final int REMEMBERED = 1 << 17;

    /** What is known of one: its record, and who has it. */
    public static final long REMOTE_BYTES = REMEMBERED * 64L;

    /** Objects that one request waits for at a time; it waits for further ones when these have settled. */
    public static final int WAITS = 4096;

    /** One of those on the heap. */
    public static final int WAIT_BYTES = 40;

    /** Namespaces whose tenant is kept in memory; the catalog knows further ones. As many as the catalog keeps. */
    public static final int NAMESPACES = 16_384;

    /** What one turn of a Reserve may look at: eviction candidates and keys. About a millisecond. */
    public static final int RESERVE_STEPS = 16_384;

    private StoreLimits() {}
}
