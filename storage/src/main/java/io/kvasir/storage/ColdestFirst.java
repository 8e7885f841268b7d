package io.kvasir.storage;

import io.kvasir.storage.policy.EvictionPolicy;
import io.kvasir.storage.tier.dram.DramTier;
import java.util.function.Consumer;

/**
 * A walk, over many duty cycles, through what DRAM loses next, for who saves it before. Owned by {@link StoreAgent}.
 */
final class ColdestFirst {
    private static final int LOOKED_AT_ONCE = 256;

    private final DramTier dram;
    private final SsdShelf ssd;
    private final EvictionPolicy.Scan scan;
    private boolean walking;
    private long bytes;

    ColdestFirst(final DramTier dram, final SsdShelf ssd) {
        this.dram = dram;
        this.ssd = ssd;
        scan = dram.scan();
    }

    /** See {@link PeerStore#nextToLeave}. */
    boolean next(final long withinBytes, final Consumer<Leaving> each) {
        if (!walking) {
            walking = true;
            bytes = 0;
            scan.restart();
        }
        for (int looked = 0; looked < LOOKED_AT_ONCE; looked++) {
            final int entry = bytes >= withinBytes ? DramTier.NONE : scan.next();
            if (entry == DramTier.NONE) {
                walking = false;
                return false;
            }
            if (dram.isPinned(entry)) {
                continue;
            }
            bytes += dram.slotBytes(entry);
            if (dram.isReadable(entry) && !ssd.has(dram.object(entry))) {
                each.accept(new Leaving(dram.id(entry), dram.slotBytes(entry), dram.isCopied(entry)));
            }
        }
        return true;
    }
}
