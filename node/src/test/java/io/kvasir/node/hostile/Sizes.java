package io.kvasir.node.hostile;

import java.util.Random;

/**
 * How large one hostile action is. Each number is at or beside a limit of the node, or any below it; an action uses those
 * that it needs, and what else it draws follows from {@code seed}.
 */
public record Sizes(int keys, int shards, int repeats, int bytes, int waitMs, long seed) {
    public static final int MAX_KEYS = 65_537;
    public static final int MAX_SHARDS = 4_097;
    public static final int MAX_REPEATS = 1_100;
    public static final int MAX_BYTES = (8 << 20) + 1;
    public static final int MAX_WAIT_MS = 60_000;
    private static final int[] KEYS = {0, 1, 2, 512, 4_096, 16_384, 65_535, 65_536, MAX_KEYS};
    private static final int[] SHARDS = {1, 2, 16, 256, 1_024, 4_095, 4_096, MAX_SHARDS};
    private static final int[] REPEATS = {1, 2, 8, 80, 555, 1_024, MAX_REPEATS};
    private static final int[] BYTES = {0, 1, 31, 32, 33, 1 << 16, 1 << 20, MAX_BYTES - 2, MAX_BYTES - 1, MAX_BYTES};
    private static final int[] WAITS = {0, 1, 200, 5_000, 30_000, MAX_WAIT_MS};

    /** At the limits. */
    public static Sizes largest(final long seed) {
        return new Sizes(MAX_KEYS - 1, MAX_SHARDS - 1, MAX_REPEATS, MAX_BYTES - 1, 30_000, seed);
    }

    public static Sizes draw(final Random random) {
        return new Sizes(
                edgeOrAny(random, KEYS),
                Math.max(1, edgeOrAny(random, SHARDS)),
                Math.max(1, edgeOrAny(random, REPEATS)),
                edgeOrAny(random, BYTES),
                edgeOrAny(random, WAITS),
                random.nextLong());
    }

    public static int[] keyEdges() {
        return KEYS.clone();
    }

    public static int[] shardEdges() {
        return SHARDS.clone();
    }

    public static int[] repeatEdges() {
        return REPEATS.clone();
    }

    public static int[] byteEdges() {
        return BYTES.clone();
    }

    public static int[] waitEdges() {
        return WAITS.clone();
    }

    public Random random() {
        return new Random(seed);
    }

    /** Repeats, for an action of which each one costs much. */
    public int repeats(final int most) {
        return Math.min(repeats, most);
    }

    private static int edgeOrAny(final Random random, final int[] edges) {
        final int largest = edges[edges.length - 1];
        return random.nextInt(3) > 0 ? edges[random.nextInt(edges.length)] : random.nextInt(largest + 1);
    }
}
