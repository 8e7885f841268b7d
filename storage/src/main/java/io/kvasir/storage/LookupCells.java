package io.kvasir.storage;

import io.kvasir.storage.dram.DramTier;
import io.kvasir.storage.index.ObjectTable;
import io.kvasir.storage.lookup.Costs;
import io.kvasir.storage.lookup.Presence;
import java.util.Arrays;
import java.util.List;

/**
 * The cells of one lookup: finds out in which tier each is, and what it costs. Chunk-major by the session's shards. The
 * arrays are longer than the cells, and the next look overwrites them. Owned by {@link Lookups}.
 */
final class LookupCells implements Costs {
    private static final int PROBED_AT_ONCE = 512;

    final Presence presence = new Presence();
    /** {@link DramTier#NONE} where nothing is in DRAM. */
    int[] entries = {};

    /** By which the table is searched; of what is neither in DRAM nor on SSD {@link ObjectId#hash64}. */
    long[] hashes = {};
    /** Entries of the table. */
    int[] objects = {};

    int chunks;
    int shards;
    /** Chunks that were looked at: what lies behind a gap was not, and is a miss. */
    int looked;

    private final ObjectTable table;
    private final DramTier dram;
    private final SsdShelf ssd;
    private final RemoteShelf remote;
    private final Leases leases;
    private Leases.Holder holder;
    private int[] held = {};
    private int heldCount;
    private int probed;
    /** Of this look: what it starts itself is not what its transfers wait for. */
    private long ssdQueueNs;

    LookupCells(
            final ObjectTable table,
            final DramTier dram,
            final SsdShelf ssd,
            final RemoteShelf remote,
            final Leases leases) {
        this.table = table;
        this.dram = dram;
        this.ssd = ssd;
        this.remote = remote;
        this.leases = leases;
    }

    private void reset(final Leases.Holder newHolder, final int newChunks) {
        holder = newHolder;
        chunks = newChunks;
        shards = newHolder.shards.shards().size();
        looked = 0;
        probed = 0;
        heldCount = 0;
        ssdQueueNs = ssd.queueNs();
        presence.reset(chunks, shards);
        final int cells = chunks * shards;
        if (entries.length < cells) {
            entries = new int[cells];
            hashes = new long[cells];
            objects = new int[cells];
            held = new int[cells];
        }
        Arrays.fill(entries, 0, cells, DramTier.NONE);
    }

    /**
     * Looks; starts nothing.
     *
     * @param sparse looks at every key; else no further than a prefix can reach
     * @param asks what other nodes might have counts as on its way; else as a miss, until it is known
     */
    void look(
            final Leases.Holder newHolder,
            final Hash256 namespace,
            final byte[] keys,
            final boolean sparse,
            final boolean asks,
            final long nowNs) {
        reset(newHolder, keys.length / Hash256.BYTES);
        final ShardSet set = holder.shards;
        final List<Shard> parts = set.shards();
        if (!set.rules().isEmpty()) {
            for (int s = 0; s < shards; s++) {
                if (set.rules().get(parts.get(s).kvGroup()) instanceof HitRule.TrailingWindow(int window)) {
                    presence.window(s, window);
                }
            }
        }
        int limit = chunks;
        int unknown = 0;
        for (int chunk = 0; chunk < limit; chunk++) {
            if (chunk == probed) {
                probe(parts, namespace, keys);
            }
            final Hash256 key = Hash256.read(keys, chunk * Hash256.BYTES);
            for (int s = 0; s < shards; s++) {
                final int cell = chunk * shards + s;
                final int object = table.confirm(objects[cell], hashes[cell], namespace, key, parts.get(s));
                final int entry = dram.entry(object);
                objects[cell] = object;
                entries[cell] = entry;
                byte where = Presence.ABSENT;
                if (entry != DramTier.NONE) {
                    where = dram.isCondemned(entry)
                            ? Presence.ABSENT
                            : dram.isReadable(entry) ? Presence.READABLE : Presence.ARRIVING;
                } else if (ssd.has(object)) {
                    where = Presence.fetchable(TierKind.SSD.code());
                } else {
                    hashes[cell] = ObjectId.hash64(namespace, key, parts.get(s));
                    final RemoteShelf.Answer answer = remote.answer(hashes[cell], nowNs);
                    if (answer == RemoteShelf.Answer.FOUND || (asks && answer != RemoteShelf.Answer.ABSENT)) {
                        where = Presence.fetchable(TierKind.REMOTE.code());
                    }
                    if (asks
                            && answer == RemoteShelf.Answer.UNKNOWN
                            && ++unknown == StoreLimits.ASKED_AT_ONCE
                            && !sparse) {
                        // What lies behind is of no use before these are found.
                        limit = Math.min(limit, chunk + 1);
                    }
                }
                presence.set(cell, where);
                if (where == Presence.ABSENT && presence.window(s) == 0 && !sparse) {
                    limit = chunk;
                }
            }
        }
        looked = limit;
    }

    /**
     * Hashes the next chunks and reads the index for them: many at once, so that the processor waits for many cache lines
     * at a time; not all, since a prefix mostly ends early.
     */
    private void probe(final List<Shard> parts, final Hash256 namespace, final byte[] keys) {
        final int from = probed;
        probed = Math.min(chunks, from + Math.max(1, PROBED_AT_ONCE / shards));
        for (int chunk = from; chunk < probed; chunk++) {
            final Hash256 key = Hash256.read(keys, chunk * Hash256.BYTES);
            for (int s = 0; s < shards; s++) {
                hashes[chunk * shards + s] = table.hash(namespace, key, parts.get(s));
            }
        }
        table.probe(hashes, objects, from * shards, probed * shards);
    }

    /** Keeps what was found where it is; what is being written stays anyway. */
    void hold() {
        // With the chunk of the gap, whose other shards a plan may look at.
        for (int cell = 0; cell < Math.min(chunks, looked + 1) * shards; cell++) {
            final int entry = entries[cell];
            if (entry != DramTier.NONE && !dram.isWriting(entry)) {
                dram.hold(entry);
                held[heldCount++] = entry;
            }
        }
    }

    void unhold() {
        while (heldCount > 0) {
            dram.unhold(held[--heldCount]);
        }
    }

    ObjectId id(final Hash256 namespace, final byte[] keys, final int cell) {
        return new ObjectId(
                namespace,
                Hash256.read(keys, cell / shards * Hash256.BYTES),
                holder.shards.shards().get(cell % shards));
    }

    // ---- costs

    @Override
    public long bytes(final int cell) {
        if (entries[cell] != DramTier.NONE) {
            return leases.chargedBytes(holder, entries[cell]);
        }
        final long length = isOn(TierKind.SSD, cell) ? ssd.length(objects[cell]) : remote.length(hashes[cell]);
        return length == 0 ? 0 : SizeClass.slotBytes(length);
    }

    @Override
    public long queueNs(final int cell) {
        return isOn(TierKind.SSD, cell) ? ssdQueueNs : remote.expectedNs(hashes[cell]);
    }

    /** Pulls of one lookup come from several nodes side by side. */
    @Override
    public long transferNs(final int cell) {
        return isOn(TierKind.SSD, cell) ? ssd.transferNs(objects[cell]) : 0;
    }

    @Override
    public int origin(final int cell) {
        return dram.origin(entries[cell]).code();
    }

    boolean isOn(final TierKind tier, final int cell) {
        return presence.get(cell) == Presence.fetchable(tier.code());
    }
}
