package io.kvasir.storage.tier.dram;

import io.kvasir.storage.budget.StoreLimits;
import io.kvasir.storage.policy.CopiesFirst;
import io.kvasir.storage.policy.EvictionPolicy;
import io.kvasir.storage.policy.TenantOrder;
import io.kvasir.storage.policy.VictimSearch;
import io.kvasir.storage.policy.VictimSearch.Verdict;
import io.kvasir.storage.tenant.TenantAccount;
import org.agrona.collections.IntArrayList;
import org.agrona.collections.IntHashSet;

/**
 * Chooses what gives way in DRAM, in bounded time: copies of what another node has, then the coldest object that is on SSD
 * too. What is nowhere else goes only when the SSD makes no progress.
 */
final class Victims {
    /** From {@link #find}: try again when there is room. */
    static final int WAIT = VictimSearch.WAIT;

    private static final int NONE = Entries.NONE;
    /** Objects that are looked at for one region. */
    private static final int LOOKED_AT = 2048;
    /** What a search needs so that finding nothing means that nothing of that size goes: most of a call's budget. */
    static final int THOROUGH = StoreLimits.RESERVE_STEPS / 2;
    /** For {@link #regionToMove}, which comes after a search that may have used up its budget in long chains. */
    private static final int MOVE_STEPS = 8192;
    /** Slots of a region are looked at in a row, which costs less than an entry on its own. */
    private static final int SLOTS_OF_A_STEP = 16;
    /** Searches in a tenant's own order after one in the order of all met none of its objects. */
    private static final int OWN_SEARCHES = 64;

    /** Objects of other pools that are evicted at once. */
    private static final int COLDER = 512;

    /** Whose regions may be taken for a tenant; never what another one has of its minimum. */
    enum From {
        ALL,
        ITSELF,
        OTHERS
    }

    private final Entries entries;
    private final VictimSearch search;
    private final EvictionPolicy.Scan scan;
    private final CopiesFirst policy;
    private final DramContext context;
    /** Regions that one search for a region has looked at. */
    private final IntHashSet seen = new IntHashSet();
    /** Null: no tenant has a minimum or a maximum. */
    private final TenantOrder.Walk own;

    /** The best region that {@link #regionToMove} has seen, and the bytes that would be lost with it. */
    private Region least;

    private long leastLost;

    /** Objects of other pools that the last search met before one of its own, the coldest first. */
    private final IntArrayList colder = new IntArrayList();

    private final IntHashSet colderSeen = new IntHashSet();
    private long colderBytes;
    private boolean ownMet;
    /** For which the last search was. */
    private TenantArena finding;

    Victims(final Entries entries, final EvictionOrder order, final DramContext context) {
        own = order.ofTenants() == null ? null : order.ofTenants().walk();
        this.entries = entries;
        this.context = context;
        policy = order.policy();
        search = new VictimSearch(policy, entries.chains);
        scan = policy.scan();
    }

    /**
     * An object whose slot this writer can have; {@link #WAIT} when there will be one once another writer has finished
     * or the SSD has what is on its way; {@link Entries#NONE} when there is none of this size.
     *
     * <p>A region that this writer has already is preferred, so that a batch does not close many regions to others.
     */
    int find(final Pool pool, final long writer, final Eviction evicts, final From from) {
        colder.clear();
        colderSeen.clear();
        colderBytes = 0;
        ownMet = false;
        final TenantArena tenant = pool.tenant;
        finding = tenant;
        final VictimSearch.Candidates candidates = entry -> judge(entry, pool, writer, evicts, from);
        if (own == null) {
            return search.find(candidates, () -> mayLose(evicts));
        }
        if (tenant.ownSearches == 0) {
            final int found = search.find(candidates, () -> mayLose(evicts));
            if (found != NONE && found != WAIT) {
                return found;
            }
            // Others' objects may hide the tenant's, and may be such that stay.
            tenant.ownSearches = OWN_SEARCHES;
            if (search.left() <= 0) {
                return WAIT;
            }
        }
        tenant.ownSearches--;
        return search.find(own.of(tenant.account.number()), candidates, () -> mayLose(evicts));
    }

    /**
     * An object of this size of the tenant's own regions, in no order, for when thousands of colder objects of other sizes
     * come before all of them and stay; {@link Entries#NONE} when none can go.
     */
    int hidden(final Pool pool, final long writer, final Eviction evicts) {
        int lost = NONE;
        int looked = 0;
        for (final Region region : pool.regions()) {
            if (region.isRuined() || search.left() <= 0) {
                continue;
            }
            search.spend(1 + region.slots / SLOTS_OF_A_STEP);
            for (int i = 0; i < region.slots && looked < LOOKED_AT; i++, looked++) {
                final int slot = (region.hiddenTaken + i) % region.slots;
                final int entry = region.entryOf[slot];
                if (entry == NONE || entries.state[entry] == Entries.WRITING) {
                    continue;
                }
                final Verdict verdict = judge(entry, pool, writer, evicts, From.ITSELF);
                if (verdict.compareTo(Verdict.FITS) >= 0) {
                    // What is put there now is not taken before all others had their turn.
                    region.hiddenTaken = slot + 1;
                    if (region.hiddenTaken == region.slots) {
                        region.hiddenTaken = 0;
                        pool.last(region);
                    }
                    return entry;
                }
                lost = lost == NONE && verdict == Verdict.LOST ? entry : lost;
            }
        }
        return lost != NONE && mayLose(evicts) ? lost : NONE;
    }

    /**
     * Evicts what the last {@link #find} met in other pools, when that was more than a region's bytes before it met an
     * object of its own pool, or when it met none: else the pool that is used most would never get what others do not use.
     *
     * @return whether it did; then what was found stays
     */
    boolean evictColder(final Regions.Evictor evictor) {
        if (colder.isEmpty() || (ownMet && colderBytes < context.regionBytes())) {
            return false;
        }
        boolean evicted = false;
        for (int i = 0; i < colder.size(); i++) {
            final int entry = colder.getInt(i);
            final Region region = entries.region[entry];
            if (region.tenant.account.maySpareSlots(region.slotBytes) || region.tenant == finding) {
                evictor.evict(entry);
                evicted = true;
            }
        }
        return evicted;
    }

    private void met(final int entry, final Region region, final Eviction evicts, final From from) {
        if (ownMet
                || colderBytes >= context.regionBytes()
                || colder.size() >= COLDER
                || !mayGo(entry)
                || region.isRuined()
                // What is leased or written keeps its region, so that space in it would be of no use.
                || !region.isIdle()
                || !(region.tenant == finding
                        || (from != From.ITSELF && region.tenant.account.maySpareSlots(region.slotBytes)))) {
            return;
        }
        final boolean goes =
                isSafe(entry) || (evicts.isAnything() && (!context.demotes().getAsBoolean() || isNeverSaved(region)));
        if (goes && colderSeen.add(entry)) {
            colder.addInt(entry);
            colderBytes += region.slotBytes;
        }
    }

    /** For the searches of one call, {@link #regionToMove} included. */
    void budget(final int steps) {
        search.budget(steps);
    }

    int left() {
        return search.left();
    }

    private boolean mayLose(final Eviction evicts) {
        return evicts == Eviction.AT_ONCE
                || (evicts == Eviction.ANYTHING && context.mayDropUndemoted().getAsBoolean());
    }

    /** Its bytes are somewhere else too. */
    private boolean isSafe(final int entry) {
        return policy.isCopied(entry) || context.durable().test(entries.object[entry]);
    }

    /** Its tenant has so much on SSD as it may: waiting for the SSD would be in vain. */
    private static boolean isNeverSaved(final Region region) {
        return !region.tenant.account.mayWrite(region.slotBytes);
    }

    private Verdict judge(final int entry, final Pool pool, final long writer, final Eviction evicts, final From from) {
        final Region region = entries.region[entry];
        if (region.pool() != pool) {
            met(entry, region, evicts, from);
            return Verdict.NEVER;
        }
        if (entries.pinned[entry]) {
            return Verdict.NEVER;
        }
        // A slot of a region that is being emptied is given to nobody.
        if (region.isEmptying() || !region.admits(writer) || !mayGo(entry)) {
            return Verdict.LATER;
        }
        if (evicts.isAnything() && !context.demotes().getAsBoolean()) {
            // No tier below: whatever goes is gone, so the first that can go is taken.
            ownMet = true;
            return Verdict.BEST;
        }
        if (!isSafe(entry) && !(evicts.isAnything() && isNeverSaved(region))) {
            return Verdict.LOST;
        }
        ownMet = true;
        return region.isWrittenBy(writer) ? Verdict.BEST : Verdict.FITS;
    }

    /**
     * Of the regions that nobody writes or reads, one in which all may go: that of the coldest object, when all of it is
     * somewhere else too; else, and only when the SSD makes no progress, the one with which the fewest bytes are lost.
     */
    Region regionToMove(final TenantArena tenant, final Eviction evicts, final From from) {
        final boolean mayLose = mayLose(evicts);
        least = null;
        leastLost = mayLose ? Long.MAX_VALUE : 1;
        search.budget(Math.max(search.left(), MOVE_STEPS));
        seen.clear();
        if (from == From.ALL) {
            lookForRegion(scan, tenant, evicts, from);
        }
        if (own != null && least == null) {
            // One tenant after the other, since the objects of those that give nothing may be the coldest of all.
            if (from != From.OTHERS) {
                lookForRegion(own.of(tenant.account.number()), tenant, evicts, From.ITSELF);
            }
            if (from != From.ITSELF && least == null) {
                for (final TenantAccount giver : context.accounts().exceeding()) {
                    if (least == null && giver != tenant.account) {
                        lookForRegion(own.of(giver.number()), tenant, evicts, From.OTHERS);
                    }
                }
            }
        }
        return least;
    }

    /** As {@link #regionToMove}, of all regions of the tenant: those of the coldest objects may all have to stay. */
    Region hiddenRegion(final TenantArena tenant, final Eviction evicts) {
        least = null;
        leastLost = mayLose(evicts) ? Long.MAX_VALUE : 1;
        seen.clear();
        for (final Region region : tenant.regions) {
            weigh(region, tenant, evicts, From.ITSELF);
        }
        return least;
    }

    private void lookForRegion(
            final EvictionPolicy.Scan order, final TenantArena tenant, final Eviction evicts, final From from) {
        // No tier below: whatever goes is gone, so the coldest is taken.
        final boolean coldest = evicts.isAnything() && !context.demotes().getAsBoolean();
        order.restart();
        int entry = order.next();
        for (int looked = 0; entry != NONE && looked < LOOKED_AT && search.left() > 0; entry = order.next(), looked++) {
            search.spend(1);
            weigh(entries.region[entry], tenant, evicts, from);
            if (least != null && (leastLost == 0 || coldest)) {
                break;
            }
        }
    }

    private void weigh(final Region region, final TenantArena tenant, final Eviction evicts, final From from) {
        if (search.left() <= 0 || !seen.add(region.id) || !region.isIdle() || !mayTake(region, tenant, from)) {
            return;
        }
        final long lost = lostWith(region, evicts, leastLost);
        if (lost < leastLost) {
            least = region;
            leastLost = lost;
        }
    }

    private static boolean mayTake(final Region region, final TenantArena tenant, final From from) {
        return region.tenant == tenant
                ? from != From.OTHERS
                : from != From.ITSELF && region.tenant.account.maySpare(region.dataBytes());
    }

    /** Bytes of slots whose objects are nowhere else; {@code bound} when it is that much or something may not go. */
    private long lostWith(final Region region, final Eviction evicts, final long bound) {
        final boolean neverSaved = evicts.isAnything() && isNeverSaved(region);
        search.spend(region.slots / SLOTS_OF_A_STEP);
        long lost = 0;
        for (final int entry : region.entryOf) {
            if (entry != NONE) {
                if (!mayGo(entry)) {
                    return bound;
                }
                lost += neverSaved || isSafe(entry) ? 0 : region.slotBytes;
                if (lost >= bound) {
                    return bound;
                }
            }
        }
        return lost;
    }

    private boolean mayGo(final int entry) {
        return entries.holds[entry] == 0 && !entries.pinned[entry];
    }
}
