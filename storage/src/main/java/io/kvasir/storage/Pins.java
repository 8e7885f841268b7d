package io.kvasir.storage;

import io.kvasir.storage.dram.DramTier;
import java.util.HashMap;
import java.util.Map;
import org.agrona.collections.Int2ObjectHashMap;
import org.agrona.collections.IntArrayList;

/** Entries that are not evicted until a time. What a tenant pins is bounded. Owned by {@link ObjectStore}. */
final class Pins {
    private record Pin(String tenant, long bytes, long untilNs) {}

    private final DramTier dram;
    private final long quotaBytes;
    private final Int2ObjectHashMap<Pin> pins = new Int2ObjectHashMap<>();
    private final Map<String, Long> bytesByTenant = new HashMap<>();

    Pins(final DramTier dram, final long quotaBytes) {
        this.dram = dram;
        this.quotaBytes = quotaBytes;
    }

    /** Pins all of a chunk's entries or, past the tenant's quota, none. */
    boolean pin(
            final ObjectStore.Tenant tenant, final int[] entries, final int from, final int count, final long untilNs) {
        long bytes = 0;
        for (int i = from; i < from + count; i++) {
            bytes += pins.containsKey(entries[i]) ? 0 : dram.slotBytes(entries[i]);
        }
        if (bytesByTenant.getOrDefault(tenant.name(), 0L) + bytes > quotaBytes) {
            return false;
        }
        for (int i = from; i < from + count; i++) {
            forget(entries[i]);
            final Pin pin = new Pin(tenant.name(), dram.slotBytes(entries[i]), untilNs);
            pins.put(entries[i], pin);
            bytesByTenant.merge(pin.tenant, pin.bytes, Long::sum);
            dram.pin(entries[i], true);
        }
        return true;
    }

    boolean unpin(final int entry) {
        if (!pins.containsKey(entry)) {
            return false;
        }
        forget(entry);
        dram.pin(entry, false);
        return true;
    }

    /** The entry is gone or pinned anew. */
    void forget(final int entry) {
        final Pin pin = pins.remove(entry);
        if (pin != null) {
            bytesByTenant.merge(pin.tenant, -pin.bytes, Long::sum);
        }
    }

    void expire(final long nowNs) {
        if (pins.isEmpty()) {
            return;
        }
        final IntArrayList ended = new IntArrayList();
        pins.forEach((entry, pin) -> {
            if (pin.untilNs - nowNs <= 0) {
                ended.add(entry);
            }
        });
        ended.forEachInt(this::unpin);
    }
}
