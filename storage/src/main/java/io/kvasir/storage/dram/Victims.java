package io.kvasir.storage.dram;

import io.kvasir.storage.policy.EvictionPolicy;

/**
 * Chooses what gives way. Looks at a bounded number of the coldest objects, so that a reserve pays a bounded time:
 * first an object that is on SSD too and has no children here, then a parent that is on SSD. What is nowhere else goes
 * only when the SSD makes no progress.
 */
final class Victims {
    /** From {@link #find}: try again when there is room. */
    static final int WAIT = -2;

    private static final int NONE = Entries.NONE;
    /** Objects of the wanted size that are weighed before a choice is made. */
    private static final int WEIGHED = 64;
    /** Objects that are looked at for one. */
    private static final int LOOKED_AT = 2048;

    private final Entries entries;
    private final EvictionPolicy policy;
    private final DramContext context;

    Victims(final Entries entries, final EvictionPolicy policy, final DramContext context) {
        this.entries = entries;
        this.policy = policy;
        this.context = context;
    }

    /**
     * An object whose slot this writer can have; {@link #WAIT} when there will be one once another writer has finished
     * or the SSD has what is on its way; {@link Entries#NONE} when there is none of this size.
     *
     * <p>A region that this writer has already is preferred, so that a batch does not close many regions to others.
     */
    int find(final TenantArena tenant, final long slotBytes, final long writer) {
        final int weighAtMost = context.demotes().getAsBoolean() ? WEIGHED : 1;
        int durable = NONE;
        int undemoted = NONE;
        int parent = NONE;
        boolean busy = false;
        int weighed = 0;
        int looked = 0;
        for (int entry = policy.coldest();
                entry != NONE && looked < LOOKED_AT && weighed < weighAtMost;
                entry = policy.warmer(entry), looked++) {
            final Region region = entries.region[entry];
            if (region.slotBytes != slotBytes || region.tenant != tenant) {
                continue;
            }
            if (!region.admits(writer) || !mayGo(entry)) {
                busy |= !entries.pinned[entry];
                continue;
            }
            weighed++;
            if (!context.durable().test(entries.hash[entry])) {
                undemoted = undemoted == NONE ? entry : undemoted;
            } else if (entries.children[entry] > 0) {
                parent = parent == NONE ? entry : parent;
            } else if (region.isWrittenBy(writer)) {
                return entry;
            } else {
                durable = durable == NONE ? entry : durable;
            }
        }
        if (durable != NONE) {
            return durable;
        }
        if (parent != NONE) {
            return parent;
        }
        if (undemoted != NONE) {
            return context.mayDropUndemoted().getAsBoolean() ? undemoted : WAIT;
        }
        return busy ? WAIT : NONE;
    }

    /** The region of the coldest object whose region nobody writes or reads, and in which all may go. */
    Region regionToMove() {
        final boolean undemotedToo = context.mayDropUndemoted().getAsBoolean();
        int looked = 0;
        Region refused = null;
        for (int entry = policy.coldest(); entry != NONE && looked < LOOKED_AT; entry = policy.warmer(entry)) {
            looked++;
            final Region region = entries.region[entry];
            if (region == refused) {
                continue;
            }
            if (region.isIdle() && mayGo(region, undemotedToo)) {
                return region;
            }
            refused = region;
        }
        return null;
    }

    private boolean mayGo(final Region region, final boolean undemotedToo) {
        for (final int entry : region.entryOf) {
            if (entry != NONE
                    && (!mayGo(entry) || (!undemotedToo && !context.durable().test(entries.hash[entry])))) {
                return false;
            }
        }
        return true;
    }

    private boolean mayGo(final int entry) {
        return entries.holds[entry] == 0 && !entries.pinned[entry];
    }
}
