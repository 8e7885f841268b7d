package io.kvasir.storage.policy;

import java.util.Arrays;

/**
 * The least worth goes first: predicted reuse x time saved / bytes.
 *
 * <p><b>Predicted reuse</b> falls with the time since the last use, as 1 / age, and is scaled by what this tier has seen
 * of objects of the same kind: the share of them that was used again before it left. Kinds are how often an object was
 * used, and whether it is the end of its chain; uses are remembered for objects that left, so that what comes back is
 * not new. How much the shares tell of what has been idle for long depends on how fast reuse falls with age just there:
 * where it falls as age^-slope, rates are equal when ages differ as shares^(1 / slope), so that is what ages are divided
 * by ({@link ReuseAges}). Only an end counts in full at any age. Age counts objects that were added, not seconds: a
 * night without traffic makes nothing colder. <b>Time saved</b> is the prefill of the chunk, whose attention grows with
 * its place in the chain. Priority doubles the worth with each step.
 *
 * <p>One queue by last use for each kind and each step of worth; the candidates are their heads, so a choice costs one
 * look at each queue that has entries.
 */
public final class CostAwarePolicy implements EvictionPolicy {
    private static final int KINDS = 7;
    private static final int END_OF_CHAIN = 0;
    /** Steps of worth are doublings; what lies beyond counts as the last step. */
    private static final int STEPS = 8;

    private static final int MIDDLE_STEP = 3;
    private static final int MOST_PRIORITY_STEPS = 3;
    /** Chunks before a chunk whose attention costs as much again as the rest of its prefill: 32k tokens of an 8B model. */
    private static final double CHUNKS_TO_DOUBLE = 128;
    /** Of the slope of reuse ages: beyond, they are too few to tell. */
    private static final double STEEPEST = 4;

    private static final int PAST_FOR_EACH = 4;
    private static final double PRIOR = 20;
    private static final double WINDOW = 1 << 17;
    private static final int REFRESH = 256;

    private final EntryLists lists = new EntryLists(KINDS * STEPS);
    private final PastUses gone = new PastUses(lists.capacity() * PAST_FOR_EACH);
    private final ReuseAges ages = new ReuseAges();
    private final double[] again = new double[KINDS];
    private final double[] seen = new double[KINDS];
    /** By queue: age is divided by it. */
    private final double[] weight = new double[KINDS * STEPS];

    private long[] lastUse = new long[lists.capacity()];
    private long[] hash = new long[lists.capacity()];
    private byte[] uses = new byte[lists.capacity()];
    private byte[] step = new byte[lists.capacity()];
    private boolean[] extended = new boolean[lists.capacity()];
    private long added;
    private int learned;
    private double middle = Double.NaN;

    /** A policy that knows nothing yet: the order is that of last use and worth. */
    public CostAwarePolicy() {
        Arrays.fill(again, PRIOR / 2);
        Arrays.fill(seen, PRIOR);
        refresh();
    }

    @Override
    public void add(
            final int entry, final long objectHash, final long bytes, final int chunkIndex, final int priority) {
        added++;
        if (entry >= hash.length) {
            final int size = Math.max(entry + 1, hash.length * 2);
            lastUse = Arrays.copyOf(lastUse, size);
            hash = Arrays.copyOf(hash, size);
            uses = Arrays.copyOf(uses, size);
            step = Arrays.copyOf(step, size);
            extended = Arrays.copyOf(extended, size);
            gone.grow(size * PAST_FOR_EACH);
        }
        hash[entry] = objectHash;
        final int past = gone.take(objectHash);
        if (past >= 0) {
            ages.used(gone.sinceTaken(added));
        }
        uses[entry] = (byte) (past + 1);
        extended[entry] = false;
        step[entry] = (byte) step(bytes, chunkIndex, priority);
        enqueue(entry);
    }

    @Override
    public void expect(final long[] hashes, final int count) {
        gone.expect(hashes, count);
    }

    @Override
    public void touch(final int entry) {
        ages.used(added - lastUse[entry] + 1);
        learn(kind(entry), 1);
        lists.remove(entry);
        uses[entry] = (byte) Math.min(uses[entry] + 1, Byte.MAX_VALUE);
        enqueue(entry);
    }

    @Override
    public void extended(final int entry) {
        if (!extended[entry]) {
            extended[entry] = true;
            lists.remove(entry);
            enqueue(entry);
        }
    }

    @Override
    public void remove(final int entry) {
        ages.left(added - lastUse[entry] + 1);
        learn(kind(entry), 0);
        gone.put(hash[entry], uses[entry], lastUse[entry]);
        lists.remove(entry);
    }

    @Override
    public void withdraw(final int entry) {
        if (uses[entry] > 0) {
            gone.put(hash[entry], uses[entry] - 1, lastUse[entry]);
        }
        lists.remove(entry);
    }

    @Override
    public Scan scan() {
        final int[] walk = lists.walk();
        return new Scan() {
            @Override
            public void restart() {
                lists.restart(walk);
            }

            @Override
            public int next() {
                int best = NONE;
                double most = -1;
                for (int queue = 0; queue < walk.length; queue++) {
                    final int entry = walk[queue];
                    if (entry != NONE) {
                        final double idle = (added - lastUse[entry] + 1) / weight[queue];
                        if (idle > most) {
                            most = idle;
                            best = entry;
                        }
                    }
                }
                if (best != NONE) {
                    walk[lists.queueOf(best)] = lists.after(best);
                }
                return best;
            }
        };
    }

    private void enqueue(final int entry) {
        lastUse[entry] = added;
        lists.append(entry, kind(entry) * STEPS + step[entry]);
    }

    private int kind(final int entry) {
        final int used = uses[entry];
        if (used == 0) {
            return extended[entry] ? 1 : END_OF_CHAIN;
        }
        return used < 3 ? used + 1 : used < 5 ? 4 : used < 9 ? 5 : 6;
    }

    private int step(final long bytes, final int chunkIndex, final int priority) {
        final double saved = (1 + Math.max(0, chunkIndex) / CHUNKS_TO_DOUBLE) / Math.max(1, bytes);
        final double doublings = Math.log(saved) / Math.log(2);
        if (Double.isNaN(middle)) {
            // The first object stands for a usual one.
            middle = doublings;
        }
        final long steps =
                Math.round(doublings - middle) + Math.clamp(priority, -MOST_PRIORITY_STEPS, MOST_PRIORITY_STEPS);
        return Math.toIntExact(Math.clamp(MIDDLE_STEP + steps, 0, STEPS - 1));
    }

    private void learn(final int kind, final int usedAgain) {
        again[kind] += usedAgain;
        seen[kind]++;
        if (seen[kind] > WINDOW) {
            again[kind] /= 2;
            seen[kind] /= 2;
        }
        if (++learned % REFRESH == 0) {
            refresh();
        }
    }

    private void refresh() {
        final double exponent = 1 / Math.clamp(ages.slope(), 1, STEEPEST);
        for (int queue = 0; queue < weight.length; queue++) {
            final int kind = queue / STEPS;
            final double share = (again[kind] + 0.5) / (seen[kind] + 1);
            weight[queue] = (kind == END_OF_CHAIN ? share : Math.pow(share, exponent)) * (1 << queue % STEPS);
        }
    }
}
