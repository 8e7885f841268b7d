package io.kvasir.storage.dram;

import io.kvasir.storage.policy.EvictionPolicy;

/**
 * Chooses what gives way. Looks at a bounded number of the coldest objects, so that a reserve pays a bounded time:
 * first an object that is on SSD too and has no children here, then one that is not on SSD, then a parent.
 */
final class Victims {
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

    /** An object whose slot this writer can have, or {@link Entries#NONE}. */
    int find(final TenantArena tenant, final long slotBytes, final long writer) {
        int undemoted = NONE;
        int parent = NONE;
        int weighed = 0;
        int looked = 0;
        for (int entry = policy.coldest();
                entry != NONE && looked < LOOKED_AT && weighed < WEIGHED;
                entry = policy.warmer(entry), looked++) {
            final Region region = entries.region[entry];
            if (region.slotBytes != slotBytes || region.tenant != tenant || !region.admits(writer) || !mayGo(entry)) {
                continue;
            }
            weighed++;
            if (entries.children[entry] > 0) {
                parent = parent == NONE ? entry : parent;
            } else if (context.durable().test(entries.hash[entry])) {
                return entry;
            } else {
                undemoted = undemoted == NONE ? entry : undemoted;
            }
        }
        return undemoted == NONE ? parent : undemoted;
    }

    /** The region of the coldest object whose region nobody writes or reads and nothing in it is pinned. */
    Region regionToMove() {
        int looked = 0;
        Region refused = null;
        for (int entry = policy.coldest(); entry != NONE && looked < LOOKED_AT; entry = policy.warmer(entry)) {
            looked++;
            final Region region = entries.region[entry];
            if (region == refused) {
                continue;
            }
            if (region.isIdle() && nothingPinned(region)) {
                return region;
            }
            refused = region;
        }
        return null;
    }

    private boolean nothingPinned(final Region region) {
        for (final int entry : region.entryOf) {
            if (entry != NONE && !mayGo(entry)) {
                return false;
            }
        }
        return true;
    }

    private boolean mayGo(final int entry) {
        return entries.holds[entry] == 0 && !entries.pinned[entry];
    }
}
