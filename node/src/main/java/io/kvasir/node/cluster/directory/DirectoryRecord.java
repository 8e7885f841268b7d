package io.kvasir.node.cluster.directory;

import io.kvasir.storage.object.Shard;
import io.kvasir.storage.object.TierKind;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * This node's part of one directory entry: which chunks of it are here, and each chunk's shards by tier, a bit each. Owned by
 * {@link Announcer}, which sends it as a whole.
 */
final class DirectoryRecord {
    /** Shards seen in one namespace, and the bytes of their last object. */
    static final class Shards {
        private final List<Shard> shards = new ArrayList<>();
        private final long[] bytes = new long[Entry.MAX_SHARDS];

        /** The shard's bit; -1 when there are too many. */
        int index(final Shard shard) {
            final int known = shards.indexOf(shard);
            if (known >= 0) {
                return known;
            }
            if (shards.size() == Entry.MAX_SHARDS) {
                return -1;
            }
            shards.add(shard);
            return shards.size() - 1;
        }

        void bytes(final int index, final long length) {
            bytes[index] = length;
        }
    }

    /** Of the entry. */
    final long key;

    /** Of the update that the directory got last. */
    long sequence;
    /** Waits to be sent. */
    boolean queued;

    boolean inFlight;
    /** Nothing has changed since it was sent. */
    boolean confirmed;

    private final Shards shards;
    private long[] chunks = new long[4];
    private long[] dram = new long[4];
    private long[] ssd = new long[4];
    private int members;

    DirectoryRecord(final long key, final Shards shards) {
        this.key = key;
        this.shards = shards;
    }

    /** Chunks of it that this node has. */
    int members() {
        return members;
    }

    /** -1 when the chunk is no member. */
    int find(final long chunk) {
        for (int i = 0; i < members; i++) {
            if (chunks[i] == chunk) {
                return i;
            }
        }
        return -1;
    }

    long chunk(final int member) {
        return chunks[member];
    }

    void add(final long chunk) {
        if (members == chunks.length) {
            chunks = Arrays.copyOf(chunks, members * 2);
            dram = Arrays.copyOf(dram, members * 2);
            ssd = Arrays.copyOf(ssd, members * 2);
        }
        chunks[members] = chunk;
        dram[members] = 0;
        ssd[members++] = 0;
    }

    /** The last member takes its place. */
    void remove(final int member) {
        members--;
        chunks[member] = chunks[members];
        dram[member] = dram[members];
        ssd[member] = ssd[members];
    }

    /** False when it was set before. */
    boolean set(final int member, final TierKind tier, final int shard) {
        final long[] masks = masks(tier);
        final boolean set = (masks[member] & 1L << shard) == 0;
        masks[member] |= 1L << shard;
        return set;
    }

    /** False when it was not set. */
    boolean clear(final int member, final TierKind tier, final int shard) {
        final long[] masks = masks(tier);
        final boolean cleared = (masks[member] & 1L << shard) != 0;
        masks[member] &= ~(1L << shard);
        return cleared;
    }

    /** All shards of a tier; false when there were none. */
    boolean clear(final int member, final TierKind tier) {
        final long[] masks = masks(tier);
        final boolean cleared = masks[member] != 0;
        masks[member] = 0;
        return cleared;
    }

    /** In no tier any more. */
    boolean isGone(final int member) {
        return dram[member] == 0 && ssd[member] == 0;
    }

    private long[] masks(final TierKind tier) {
        return tier == TierKind.SSD ? ssd : dram;
    }

    /** As the directory keeps it. */
    byte[] encode(final long holder) {
        if (members == 0) {
            return Entry.nothing(holder, sequence);
        }
        long used = 0;
        for (int i = 0; i < members; i++) {
            used |= dram[i] | ssd[i];
        }
        final int count = Long.bitCount(used);
        final int[] tags = new int[count];
        final long[] bytes = new long[count];
        long left = used;
        for (int i = 0; i < count; i++, left &= left - 1) {
            final int shard = Long.numberOfTrailingZeros(left);
            tags[i] = ChunkName.tag(shards.shards.get(shard));
            bytes[i] = shards.bytes[shard];
        }
        final Entry.Part part = new Entry.Part(holder, sequence, tags, bytes, members);
        for (int i = 0; i < members; i++) {
            final long inDram = Long.compress(dram[i], used);
            part.add(ChunkName.tag(chunks[i]), inDram, Long.compress(ssd[i], used) & ~inDram);
        }
        return part.finish();
    }
}
