package io.kvasir.storage.policy;

import java.util.function.BooleanSupplier;

/**
 * Finds what gives way: the coldest entry by the policy's order, or rather the end of the chain below it; a copy that
 * another holder also has goes itself, since what continues it stays reachable through that holder. Looks at a bounded
 * number of entries, so that who needs room pays a bounded time.
 */
public final class VictimSearch {
    /** From {@link #find}: there will be a victim later. */
    public static final int WAIT = -2;

    private static final int NONE = EvictionPolicy.NONE;
    /** Fitting entries that are weighed before a choice is made. */
    private static final int WEIGHED = 64;
    /** Entries that are looked at for one. */
    private static final int LOOKED_AT = 2048;

    /** What a tier says about one entry. */
    public enum Verdict {
        /** Its place is of no use, or it stays whatever happens. */
        NEVER,
        /** Its place would do, later. */
        LATER,
        /** It can go, but would be lost: nothing else has it. */
        LOST,
        /** It can go. */
        FITS,
        /** It can go, and no other place is better. */
        BEST
    }

    /** The tier's view of its entries. */
    @FunctionalInterface
    public interface Candidates {
        Verdict judge(int entry);
    }

    private final CopiesFirst policy;
    private final EvictionPolicy.Scan scan;
    private final Chains chains;
    private int left = Integer.MAX_VALUE;

    public VictimSearch(final CopiesFirst policy, final Chains chains) {
        this.policy = policy;
        scan = policy.scan();
        this.chains = chains;
    }

    /** Entries that all searches until the next call of this may look at; what they used up ends them early. */
    public void budget(final int steps) {
        left = steps;
    }

    /** What is left of the budget; below 1 when it is used up. */
    public int left() {
        return left;
    }

    /** Something else was looked at, on the same budget. */
    public void spend(final int steps) {
        left -= steps;
    }

    /**
     * The entry to evict; {@link #WAIT} when some would do later, {@link EvictionPolicy#NONE} when none will. What would
     * be lost goes only when nothing else can.
     *
     * @param mayLose whether what would be lost may go now; else it is waited for
     */
    public int find(final Candidates candidates, final BooleanSupplier mayLose) {
        return find(scan, candidates, mayLose);
    }

    /** @param order in which entries are looked at, from its beginning */
    public int find(final EvictionPolicy.Scan order, final Candidates candidates, final BooleanSupplier mayLose) {
        int fits = NONE;
        int parent = NONE;
        int lost = NONE;
        boolean later = false;
        int weighed = 0;
        order.restart();
        int entry = order.next();
        for (int looked = 0;
                entry != NONE && looked < LOOKED_AT && weighed < WEIGHED && left > 0;
                entry = order.next(), looked++) {
            left--;
            final boolean copied = policy.isCopied(entry);
            if (!copied && fits != NONE && policy.isCopied(fits)) {
                // No better place makes up for a copy that stays.
                return fits;
            }
            int at = entry;
            if (!copied) {
                at = chains.end(entry);
                left -= chains.lastDepth();
            }
            Verdict verdict = candidates.judge(at);
            if (at != entry && verdict.compareTo(Verdict.FITS) < 0) {
                final Verdict above = candidates.judge(entry);
                if (above.compareTo(verdict) > 0) {
                    at = entry;
                    verdict = above;
                }
            }
            switch (verdict) {
                case NEVER -> {
                    continue;
                }
                case LATER -> {
                    later = true;
                    continue;
                }
                case LOST -> lost = lost == NONE ? at : lost;
                case FITS, BEST -> {
                    if (!copied && chains.hasChildren(at)) {
                        parent = parent == NONE ? at : parent;
                    } else if (verdict == Verdict.BEST) {
                        return at;
                    } else {
                        fits = fits == NONE ? at : fits;
                    }
                }
            }
            weighed++;
        }
        if (fits != NONE) {
            return fits;
        }
        if (parent != NONE) {
            return parent;
        }
        if (lost != NONE) {
            return mayLose.getAsBoolean() ? lost : WAIT;
        }
        return later ? WAIT : NONE;
    }
}
