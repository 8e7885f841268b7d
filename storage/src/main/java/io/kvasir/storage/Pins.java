package io.kvasir.storage;

import io.kvasir.storage.catalog.Remembered;
import io.kvasir.storage.lookup.LookupCells;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.tier.dram.DramTier;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.agrona.collections.Int2ObjectHashMap;
import org.agrona.collections.IntArrayList;

/**
 * Entries that are not evicted until a time; the catalog keeps them over restarts. What a tenant pins is bounded.
 * Owned by {@link StoreAgent}.
 */
final class Pins {
    private record Pin(String tenant, long bytes, long untilUnixMs) {}

    private final DramTier dram;
    private final Remembered remembered;
    private final long quotaBytes;
    private final Int2ObjectHashMap<Pin> pins = new Int2ObjectHashMap<>();
    private final Map<String, Long> bytesByTenant = new HashMap<>();

    Pins(final DramTier dram, final Remembered remembered, final long quotaBytes) {
        this.dram = dram;
        this.remembered = remembered;
        this.quotaBytes = quotaBytes;
    }

    /** Pins what is readable of a sparse look, chunk by chunk; returns how many chunks that was. */
    int pin(final LookupCells found, final long untilUnixMs, final int priority) {
        int pinned = 0;
        final int[] entries = new int[found.shards().size()];
        for (int chunk = 0; chunk < found.chunks(); chunk++) {
            for (int i = 0; i < entries.length; i++) {
                entries[i] = found.entry(chunk * entries.length + i);
            }
            if (found.isReadable(chunk) && pin(entries, untilUnixMs, priority)) {
                pinned++;
            }
        }
        return pinned;
    }

    /** Returns how many chunks had anything pinned. */
    int unpin(final LookupCells found) {
        int unpinned = 0;
        final int shards = found.shards().size();
        for (int chunk = 0; chunk < found.chunks(); chunk++) {
            boolean any = false;
            for (int cell = chunk * shards; cell < (chunk + 1) * shards; cell++) {
                any |= found.entry(cell) != DramTier.NONE && unpin(found.entry(cell));
            }
            unpinned += any ? 1 : 0;
        }
        return unpinned;
    }

    /** Pins all of a chunk's entries or, past the tenant's quota or while the catalog is far behind, none. */
    private boolean pin(final int[] entries, final long untilUnixMs, final int priority) {
        final String tenant = dram.tenantName(entries[0]);
        final long quota = Math.min(quotaBytes, dram.account(entries[0]).mostUnevictable());
        long bytes = 0;
        for (final int entry : entries) {
            bytes += pins.containsKey(entry) ? 0 : dram.slotBytes(entry);
        }
        if (bytesByTenant.getOrDefault(tenant, 0L) + bytes > quota || !remembered.hasSpace(entries.length)) {
            return false;
        }
        for (final int entry : entries) {
            put(entry, untilUnixMs);
            remembered.pinned(dram.id(entry), untilUnixMs, priority);
        }
        return true;
    }

    private boolean unpin(final int entry) {
        if (!pins.containsKey(entry) || !remembered.hasSpace(1)) {
            return false;
        }
        remembered.unpinned(dram.id(entry));
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

    void expire(final long nowUnixMs) {
        if (pins.isEmpty()) {
            return;
        }
        final IntArrayList ended = new IntArrayList();
        pins.forEach((entry, pin) -> {
            if (pin.untilUnixMs <= nowUnixMs) {
                ended.add(entry);
            }
        });
        ended.forEachInt(this::unpin);
    }

    /** Takes over pins of an earlier node, as far as their objects are in DRAM and not pinned anew. */
    void restore(final List<Remembered.KeptPin> kept, final long nowUnixMs) {
        for (final Remembered.KeptPin pin : kept) {
            final ObjectId id = pin.id();
            final int entry = dram.find(id.namespace(), id.key(), id.shard());
            if (entry != DramTier.NONE
                    && !dram.isWriting(entry)
                    && !pins.containsKey(entry)
                    && pin.expiryUnixMs() > nowUnixMs) {
                put(entry, pin.expiryUnixMs());
            }
        }
    }

    private void put(final int entry, final long untilUnixMs) {
        forget(entry);
        final Pin pin = new Pin(dram.tenantName(entry), dram.slotBytes(entry), untilUnixMs);
        pins.put(entry, pin);
        bytesByTenant.merge(pin.tenant, pin.bytes, Long::sum);
        dram.pin(entry, true);
    }
}
