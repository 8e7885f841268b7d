package io.kvasir.node.cluster.directory;

import io.kvasir.storage.index.HashIndex;
import io.kvasir.storage.index.RecordPool;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.TierKind;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.agrona.collections.IntArrayList;

/**
 * This node's parts of directory entries, off the heap, since there may be one for each of millions of objects: which chunks of
 * an entry are here, each chunk's shards by tier, a bit each, and what the directory was told of it. Parts and chunks are
 * small numbers. Owned by {@link Announcer}, which sends a part as a whole.
 */
final class DirectoryRecords {
    static final int NONE = HashIndex.NONE;

    /** Waits to be sent. */
    static final int QUEUED = 1;

    static final int IN_FLIGHT = 2;
    /** Nothing has changed since it was sent. */
    static final int CONFIRMED = 4;

    // A part.
    private static final int KEY = 0;
    private static final int SEQUENCE = 8;
    private static final int FIRST = 16;
    private static final int MEMBERS = 20;
    private static final int SHARDS = 24;
    private static final int FLAGS = 28;
    private static final int JOINED = 32;
    private static final int NEXT_QUEUED = 36;
    /** How many of {@link #losses} it has seen. */
    private static final int LOSSES = 40;

    private static final int PART_BYTES = 48;
    private static final int FREE = -1;

    // A chunk.
    private static final int CHUNK = 0;
    private static final int DRAM = 8;
    private static final int SSD = 16;
    private static final int PART = 24;
    private static final int NEXT = 28;
    private static final int CHUNK_BYTES = 32;

    private final RecordPool parts = new RecordPool(PART_BYTES);
    private final RecordPool chunks = new RecordPool(CHUNK_BYTES);
    private final HashIndex byKey;
    private final HashIndex byChunk;
    /** By number; null: the number is free. */
    private final List<ShardNumbers> shards = new ArrayList<>();

    private final IntArrayList freeShards = new IntArrayList();
    private final Map<Hash256, Integer> byNamespace = new HashMap<>();
    /** Tiers that lost all that they had, in order. */
    private final List<TierKind> losses = new ArrayList<>();
    /** Flags of before the last {@link #joined} do not count. */
    private int joins;

    /** @param expected chunks, as a rule at most */
    DirectoryRecords(final int expected) {
        byKey = new HashIndex(expected, part -> parts.getLong(part, KEY));
        byChunk = new HashIndex(expected, member -> chunks.getLong(member, CHUNK));
    }

    // ---- parts

    /** The part of the entry with this key, or {@link #NONE}. */
    int find(final long key) {
        return byKey.find(key);
    }

    int add(final long key, final int shardNumbers) {
        final int part = parts.take();
        parts.setLong(part, KEY, key);
        parts.setLong(part, SEQUENCE, 0);
        parts.setInt(part, FIRST, NONE);
        parts.setInt(part, MEMBERS, 0);
        parts.setInt(part, SHARDS, shardNumbers);
        parts.setInt(part, FLAGS, 0);
        parts.setInt(part, JOINED, joins);
        parts.setInt(part, LOSSES, losses.size());
        byKey.put(key, part);
        shards(shardNumbers).parts++;
        return part;
    }

    /** It has no members, and nobody waits for it. */
    void remove(final int part) {
        byKey.remove(key(part), part);
        final int number = parts.getInt(part, SHARDS);
        final ShardNumbers numbers = shards(number);
        if (--numbers.parts == 0) {
            byNamespace.remove(numbers.namespace);
            shards.set(number, null);
            freeShards.addInt(number);
        }
        parts.setInt(part, SHARDS, FREE);
        parts.give(part);
    }

    /** Parts. */
    int size() {
        return byKey.size();
    }

    /** Above the numbers of all parts. */
    int end() {
        return parts.used();
    }

    /** Whether the number stands for a part. */
    boolean isPart(final int number) {
        return parts.getInt(number, SHARDS) != FREE;
    }

    long key(final int part) {
        return parts.getLong(part, KEY);
    }

    /** Of the update that the directory got last. */
    long sequence(final int part) {
        return parts.getLong(part, SEQUENCE);
    }

    void sequence(final int part, final long sequence) {
        parts.setLong(part, SEQUENCE, sequence);
    }

    /** Chunks of it that this node has. */
    int members(final int part) {
        return parts.getInt(part, MEMBERS);
    }

    /** Another directory: what is known of the one before counts no longer, without a look at any part. */
    void joined() {
        joins++;
    }

    /** False: this directory was not told of it yet. */
    boolean isOfThisJoin(final int part) {
        return parts.getInt(part, JOINED) == joins;
    }

    boolean is(final int part, final int flag) {
        return isOfThisJoin(part) && (parts.getInt(part, FLAGS) & flag) != 0;
    }

    void set(final int part, final int flag, final boolean on) {
        final int before = isOfThisJoin(part) ? parts.getInt(part, FLAGS) : 0;
        parts.setInt(part, FLAGS, on ? before | flag : before & ~flag);
        parts.setInt(part, JOINED, joins);
    }

    /** Parts that wait to be sent, first come first; a part is in one queue at most. */
    final class Queue {
        private int head = NONE;
        private int tail = NONE;
        private int size;

        void add(final int part) {
            parts.setInt(part, NEXT_QUEUED, NONE);
            if (head == NONE) {
                head = part;
            } else {
                parts.setInt(tail, NEXT_QUEUED, part);
            }
            tail = part;
            size++;
        }

        /** There is one. */
        int poll() {
            final int part = head;
            head = parts.getInt(part, NEXT_QUEUED);
            size--;
            return part;
        }

        boolean isEmpty() {
            return head == NONE;
        }

        int size() {
            return size;
        }

        void clear() {
            head = NONE;
            size = 0;
        }
    }

    // ---- chunks

    /** The member that this chunk is, or {@link #NONE}. */
    int member(final long chunk) {
        return byChunk.find(chunk);
    }

    /** Chunks. */
    int chunks() {
        return byChunk.size();
    }

    int partOf(final int member) {
        return chunks.getInt(member, PART);
    }

    int addMember(final long chunk, final int part) {
        final int member = chunks.take();
        chunks.setLong(member, CHUNK, chunk);
        chunks.setLong(member, DRAM, 0);
        chunks.setLong(member, SSD, 0);
        chunks.setInt(member, PART, part);
        chunks.setInt(member, NEXT, parts.getInt(part, FIRST));
        parts.setInt(part, FIRST, member);
        parts.setInt(part, MEMBERS, members(part) + 1);
        byChunk.put(chunk, member);
        return member;
    }

    void removeMember(final int member) {
        final int part = partOf(member);
        final int next = chunks.getInt(member, NEXT);
        int before = parts.getInt(part, FIRST);
        if (before == member) {
            parts.setInt(part, FIRST, next);
        } else {
            while (chunks.getInt(before, NEXT) != member) {
                before = chunks.getInt(before, NEXT);
            }
            chunks.setInt(before, NEXT, next);
        }
        parts.setInt(part, MEMBERS, members(part) - 1);
        byChunk.remove(chunks.getLong(member, CHUNK), member);
        chunks.give(member);
    }

    /** The first member of a part, or {@link #NONE}; {@link #next} goes on. */
    int first(final int part) {
        return parts.getInt(part, FIRST);
    }

    int next(final int member) {
        return chunks.getInt(member, NEXT);
    }

    /** False when it was set before. */
    boolean set(final int member, final TierKind tier, final int shard) {
        final long mask = chunks.getLong(member, offset(tier));
        chunks.setLong(member, offset(tier), mask | 1L << shard);
        return (mask & 1L << shard) == 0;
    }

    /** False when it was not set. */
    boolean clear(final int member, final TierKind tier, final int shard) {
        final long mask = chunks.getLong(member, offset(tier));
        chunks.setLong(member, offset(tier), mask & ~(1L << shard));
        return (mask & 1L << shard) != 0;
    }

    /** All shards of a tier; false when there were none. */
    private boolean clear(final int member, final TierKind tier) {
        final long mask = chunks.getLong(member, offset(tier));
        chunks.setLong(member, offset(tier), 0);
        return mask != 0;
    }

    /** The tier has lost everything: {@link #lose} takes it out of each part. */
    void lost(final TierKind tier) {
        losses.add(tier);
    }

    /** Takes out what was in tiers when they lost everything; false when the part had nothing there. */
    boolean lose(final int part) {
        final int seen = parts.getInt(part, LOSSES);
        if (seen == losses.size()) {
            return false;
        }
        parts.setInt(part, LOSSES, losses.size());
        boolean any = false;
        for (int member = first(part); member != NONE; ) {
            final int next = next(member);
            for (int i = seen; i < losses.size(); i++) {
                any |= clear(member, losses.get(i));
            }
            if (isGone(member)) {
                removeMember(member);
            }
            member = next;
        }
        return any;
    }

    /** In no tier any more. */
    boolean isGone(final int member) {
        return chunks.getLong(member, DRAM) == 0 && chunks.getLong(member, SSD) == 0;
    }

    private static int offset(final TierKind tier) {
        return tier == TierKind.SSD ? SSD : DRAM;
    }

    // ---- shards

    /** The number of the namespace's shards, for {@link #add}; a new one when this node has no part of that. */
    int shardNumbers(final Hash256 namespace) {
        final Integer known = byNamespace.get(namespace);
        if (known != null) {
            return known;
        }
        final int number = freeShards.isEmpty() ? shards.size() : freeShards.removeAt(freeShards.size() - 1);
        if (number == shards.size()) {
            shards.add(null);
        }
        shards.set(number, new ShardNumbers(namespace));
        byNamespace.put(namespace, number);
        return number;
    }

    /** Namespaces that have shard numbers. */
    int namespaces() {
        return byNamespace.size();
    }

    ShardNumbers shards(final int number) {
        return shards.get(number);
    }

    ShardNumbers shardsOf(final int part) {
        return shards(parts.getInt(part, SHARDS));
    }

    /** A part as the directory keeps it. */
    byte[] encode(final int part, final long holder) {
        final long sequence = sequence(part);
        if (members(part) == 0) {
            return Entry.nothing(holder, sequence);
        }
        long used = 0;
        for (int m = first(part); m != NONE; m = next(m)) {
            used |= chunks.getLong(m, DRAM) | chunks.getLong(m, SSD);
        }
        final ShardNumbers numbers = shardsOf(part);
        final int count = Long.bitCount(used);
        final int[] tags = new int[count];
        final long[] bytes = new long[count];
        long left = used;
        for (int i = 0; i < count; i++, left &= left - 1) {
            final int shard = Long.numberOfTrailingZeros(left);
            tags[i] = numbers.tag(shard);
            bytes[i] = numbers.bytes(shard);
        }
        final Entry.Part encoded = new Entry.Part(holder, sequence, tags, bytes, members(part));
        for (int m = first(part); m != NONE; m = next(m)) {
            final long inDram = Long.compress(chunks.getLong(m, DRAM), used);
            encoded.add(
                    ChunkName.tag(chunks.getLong(m, CHUNK)),
                    inDram,
                    Long.compress(chunks.getLong(m, SSD), used) & ~inDram);
        }
        return encoded.finish();
    }
}
