package io.kvasir.storage.tier.ssd;

import io.kvasir.storage.policy.EvictionPolicy;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.rocksdb.RocksDBException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Gives up, while the tier opens, what a configuration with less does not allow: extents, where their files occupy more
 * than the capacity, empty ones first, then those whose objects were written longest ago; then objects beyond the most
 * that there may be, those written longest ago first, as eviction would. Nobody reads or writes yet.
 */
final class LoweredCapacity {
    private static final Logger LOG = LoggerFactory.getLogger(LoweredCapacity.class);

    private final SsdTier.Context context;
    private final TierState state;
    private final PlaceStore places;
    private final FoundObjects found;

    LoweredCapacity(
            final SsdTier.Context context, final TierState state, final PlaceStore places, final FoundObjects found) {
        this.found = found;
        this.context = context;
        this.state = state;
        this.places = places;
    }

    /** Once the state is complete, and before anybody hears of its objects. */
    void enforce() throws IOException, RocksDBException {
        enforceBytes();
        enforceObjects();
    }

    private void enforceObjects() throws RocksDBException {
        final long excess = state.objects() - context.maxObjects();
        if (excess <= 0) {
            return;
        }
        final List<Integer> oldest = new ArrayList<>();
        final EvictionPolicy.Scan scan = state.policy.scan();
        scan.restart();
        for (int entry = scan.next(); entry != EvictionPolicy.NONE && oldest.size() < excess; entry = scan.next()) {
            oldest.add(entry);
        }
        giveUp(oldest);
        context.metrics().evicted.add(excess);
        LOG.warn(
                "ssd {}: there may be {} objects (ssd.objects), and there were {} more; these were given up",
                context.directory(),
                context.maxObjects(),
                excess);
    }

    private void enforceBytes() throws IOException, RocksDBException {
        if (state.pool.hasCapacityFor(0)) {
            return;
        }
        final long before = state.pool.allocatedBytes();
        final long objects = state.objects();
        deleteFree();
        for (final Extent extent : leastValuableFirst()) {
            if (state.pool.hasCapacityFor(0)) {
                break;
            }
            // No place may name a slot of a file that is gone, so the places go first, durably.
            giveUp(extent);
            deleteFree();
        }
        context.metrics().evicted.add(objects - state.objects());
        LOG.warn(
                "ssd {}: ssd.capacity is {} bytes, and extents occupied {}; {} bytes are left, {} objects were given up",
                context.directory(),
                context.capacityBytes(),
                before,
                state.pool.allocatedBytes(),
                objects - state.objects());
    }

    private void deleteFree() throws IOException {
        while (!state.pool.hasCapacityFor(0)) {
            final Extent free = state.pool.takeAnyFree();
            if (free == null) {
                return;
            }
            final long bytes = free.fileBytes;
            free.delete();
            state.pool.unclaim(bytes);
        }
    }

    private List<Extent> leastValuableFirst() {
        final Map<Extent, Double> age = new HashMap<>();
        final List<Extent> order = new ArrayList<>(state.pool.all());
        for (final Extent extent : order) {
            double sum = 0;
            for (int slot = 0; slot < extent.slotCount; slot++) {
                sum += extent.owner(slot) >= 0 ? found.sequence(extent.owner(slot)) : 0;
            }
            age.put(extent, sum / Math.max(1, extent.used()));
        }
        order.sort(Comparator.comparingDouble(age::get));
        return order;
    }

    private void giveUp(final Extent extent) throws RocksDBException {
        final List<Integer> owned = new ArrayList<>();
        for (int slot = 0; slot < extent.slotCount; slot++) {
            if (extent.owner(slot) >= 0) {
                owned.add(extent.owner(slot));
            }
        }
        giveUp(owned);
    }

    private void giveUp(final List<Integer> owned) throws RocksDBException {
        try (PlaceStore.Batch batch = places.batch()) {
            for (final int entry : owned) {
                batch.delete(PlaceStore.key(state.entries.id(entry)), state.entries.length(entry));
            }
            batch.commit();
        }
        for (final int entry : owned) {
            state.policy.remove(entry);
            state.forget(entry);
        }
    }
}
