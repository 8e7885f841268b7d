package io.kvasir.storage;

import io.kvasir.storage.lookup.LeaseListener;
import io.kvasir.storage.lookup.LookupCells;
import io.kvasir.storage.tier.AddressableTiers;
import io.kvasir.storage.tier.dram.DramTier;

/** Tells all places of an object that it was used, when a lookup has leased it. Owned by {@link StoreAgent}. */
final class Uses implements LeaseListener {
    private final AddressableTiers slots;
    private final DramTier dram;
    private final SsdShelf ssd;
    private final SecondCopies copies;
    private final Arrivals arrivals;

    Uses(
            final AddressableTiers slots,
            final DramTier dram,
            final SsdShelf ssd,
            final SecondCopies copies,
            final Arrivals arrivals) {
        this.slots = slots;
        this.dram = dram;
        this.ssd = ssd;
        this.copies = copies;
        this.arrivals = arrivals;
    }

    @Override
    public void leased(final LookupCells cells, final int cell) {
        final int number = cells.entry(cell);
        final int object = slots.object(number);
        slots.touch(number);
        if (slots.isMain(number)) {
            ssd.used(object);
            arrivals.leased(number);
            copies.used(number);
            return;
        }
        // The copies below stay as warm as this one, which goes with the last of them.
        final int below = slots.findMain(object);
        if (below != DramTier.NONE && dram.isReadable(below)) {
            dram.touch(below);
        }
        ssd.used(object);
    }
}
