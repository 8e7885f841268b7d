package io.kvasir.storage.tier.dram;

import io.kvasir.storage.object.TierKind;
import java.util.ArrayList;
import java.util.List;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Regions whose payload files engines have truncated or punched holes in: nothing in them counts any more, and they end
 * when nobody uses them. Owned by {@link DramTier}.
 */
final class Damage {
    private static final Logger LOG = LoggerFactory.getLogger(Damage.class);

    private final DramContext context;
    private final DramTier dram;
    private final Regions regions;
    private final List<Region> ruined = new ArrayList<>();

    Damage(final DramContext context, final DramTier dram, final Regions regions) {
        this.context = context;
        this.dram = dram;
        this.regions = regions;
    }

    /** Whether the region is damaged; its objects are dropped when that is found. */
    boolean inspect(final Region region) {
        if (region.isRuined()) {
            return true;
        }
        final String damage = region.damage();
        if (damage.isEmpty()) {
            return false;
        }
        region.ruined();
        ruined.add(region);
        region.tenant.pace.damaged(context.clock().time());
        context.counters().regionsRuined.increment();
        int dropped = 0;
        for (final int entry : region.entryOf.clone()) {
            // What is being written ends with its commit or abort.
            if (entry != DramTier.NONE && !dram.isWriting(entry) && !dram.isCondemned(entry)) {
                dram.dropOrCondemn(entry);
                dropped++;
            }
        }
        LOG.error(
                "{} of tenant {} {}: a process of this tenant did that. The {} objects in it are dropped;"
                        + " all other regions are as they were",
                region.dataFile,
                region.tenant.name,
                damage,
                dropped);
        return true;
    }

    /** Ends those that nobody uses any more. */
    void discardUnused() {
        if (!ruined.isEmpty()) {
            ruined.removeIf(this::discard);
        }
    }

    private boolean discard(final Region region) {
        // A region that is being emptied ends with what is under way.
        if (!region.isIdle() || region.isEmptying()) {
            return false;
        }
        regions.discard(region);
        context.tierListener().spaceFreed(TierKind.DRAM);
        return true;
    }
}
