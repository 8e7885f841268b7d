package io.kvasir.storage.lookup;

import java.util.Arrays;

/**
 * Where the objects of one lookup are: one byte for each cell, which is a shard of a chunk; chunk-major. And what the KV
 * group of each shard needs. The arrays are reused, and only grow. Filled by whoever probes the tiers, read by
 * {@link Planner}.
 */
public final class Presence {
    /** In no tier, and not on its way. */
    public static final byte ABSENT = 0;
    /** In the addressable tier: engines can copy it now. */
    public static final byte READABLE = 1;
    /** In the addressable tier, but still being written or verified. */
    public static final byte ARRIVING = 2;

    private static final byte FIRST_TIER = 3;

    private byte[] cells = {};
    private int[] windows = {};
    private boolean[] skipped = {};
    private int shards;
    private int chunks;
    private boolean anyWindow;

    /** In a tier that engines cannot address, from which it can be fetched. */
    public static byte fetchable(final int tier) {
        return (byte) (FIRST_TIER + tier);
    }

    public static boolean isFetchable(final byte presence) {
        return presence >= FIRST_TIER;
    }

    /** Of what {@link #isFetchable}. */
    public static int tier(final byte presence) {
        return presence - FIRST_TIER;
    }

    /** Begins a lookup: everything is absent, and every group needs every chunk. */
    public void reset(final int newChunks, final int newShards) {
        final int size = Math.multiplyExact(newChunks, newShards);
        if (cells.length < size) {
            cells = new byte[size];
        }
        if (windows.length < newShards) {
            windows = new int[newShards];
            skipped = new boolean[newShards];
        }
        Arrays.fill(cells, 0, size, ABSENT);
        Arrays.fill(windows, 0, newShards, 0);
        Arrays.fill(skipped, 0, newShards, false);
        chunks = newChunks;
        shards = newShards;
        anyWindow = false;
    }

    /** The shard's group needs only the last {@code window} chunks of a prefix. */
    public void window(final int shard, final int window) {
        windows[shard] = window;
        anyWindow = true;
    }

    /** Trailing chunks that the shard's group needs; 0: every chunk. */
    public int window(final int shard) {
        return windows[shard];
    }

    public boolean anyWindow() {
        return anyWindow;
    }

    /** A sparse lookup does not ask for this shard: nobody looks where it is, and chunks are hits without it. */
    public void skip(final int shard) {
        skipped[shard] = true;
    }

    /** Undoes {@link #skip}. */
    public void ask(final int shard) {
        skipped[shard] = false;
    }

    public boolean isSkipped(final int shard) {
        return skipped[shard];
    }

    public void set(final int cell, final byte presence) {
        cells[cell] = presence;
    }

    public byte get(final int cell) {
        return cells[cell];
    }

    public int chunks() {
        return chunks;
    }

    public int shards() {
        return shards;
    }

    /** All shards of the chunk that are asked for are readable. */
    public boolean isReadable(final int chunk) {
        for (int s = 0; s < shards; s++) {
            if (cells[chunk * shards + s] != READABLE && !skipped[s]) {
                return false;
            }
        }
        return true;
    }

    /** No shard of the chunk that is asked for is absent. */
    public boolean isComing(final int chunk) {
        for (int s = 0; s < shards; s++) {
            if (cells[chunk * shards + s] == ABSENT && !skipped[s]) {
                return false;
            }
        }
        return true;
    }
}
