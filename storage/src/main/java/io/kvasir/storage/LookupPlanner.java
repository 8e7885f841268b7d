package io.kvasir.storage;

import io.kvasir.storage.dram.DramTier;
import io.kvasir.storage.dram.TenantArena;
import io.kvasir.storage.index.ObjectTable;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Finds out which leading chunks of a chain are here or on their way, by the hit rule of each KV group. Allocates per
 * lookup, not per key, and looks no further than the answer needs. Owned by {@link ObjectStore}.
 */
final class LookupPlanner {
    /** A planner's own status, beside those of {@link SlotStatus}: not in DRAM, but on SSD. */
    static final byte ON_SSD = 100;
    /** Another node has it, or it is on its way from there. */
    static final byte REMOTE = 101;
    /** Whether another node has it is being found out. */
    static final byte ASKED = 102;
    /** Another node might have it; nobody has asked. */
    static final byte UNKNOWN = 103;

    private static final int PROBED_AT_ONCE = 512;
    private static final int[] NO_WINDOWS = {};

    private final ObjectTable table;
    private final DramTier dram;
    private final SsdShelf ssd;
    private final RemoteShelf remote;
    private final java.util.function.IntConsumer verify;
    /** Of the lookup under way; its arrays are reused. */
    private final Found scratch = new Found();

    LookupPlanner(
            final ObjectTable table,
            final DramTier dram,
            final SsdShelf ssd,
            final RemoteShelf remote,
            final java.util.function.IntConsumer verify) {
        this.table = table;
        this.dram = dram;
        this.ssd = ssd;
        this.remote = remote;
        this.verify = verify;
    }

    /**
     * What one lookup found: chunk-major by the session's shards. The arrays are longer than the cells; the next look
     * overwrites them.
     */
    static final class Found {
        int chunks;
        int shards;
        /** Chunks that were looked at: what lies behind a gap was not, and is a miss. */
        int looked;

        int[] entries = {};
        byte[] status = {};
        /** By which the table is searched; of what is neither in DRAM nor on SSD {@link ObjectId#hash64}. */
        long[] hashes = {};

        int hits;
        int pending;
        /** No room for more promotions now. The rest is pending all the same: who waits is woken when there is room. */
        private boolean later;

        /** Entries of the table. */
        private int[] objects = {};

        private int[] held = {};
        private int heldCount;

        private Found over(final int newChunks, final int newShards) {
            chunks = newChunks;
            shards = newShards;
            looked = 0;
            hits = 0;
            pending = 0;
            later = false;
            heldCount = 0;
            final int cells = Math.multiplyExact(chunks, shards);
            if (entries.length < cells) {
                entries = new int[cells];
                status = new byte[cells];
                hashes = new long[cells];
                objects = new int[cells];
                held = new int[cells];
            }
            Arrays.fill(entries, 0, cells, DramTier.NONE);
            Arrays.fill(status, 0, cells, SlotStatus.MISS);
            return this;
        }

        int cells() {
            return chunks * shards;
        }

        byte chunkStatus(final int chunk) {
            byte worst = SlotStatus.HIT;
            for (int i = chunk * shards; i < (chunk + 1) * shards; i++) {
                if (status[i] == SlotStatus.MISS) {
                    return SlotStatus.MISS;
                }
                if (status[i] != SlotStatus.HIT && status[i] != SlotStatus.NOT_NEEDED) {
                    worst = SlotStatus.PENDING;
                }
            }
            return worst;
        }
    }

    /**
     * Looks; starts nothing.
     *
     * @param asks what other nodes might have counts as on its way; else as a miss, until it is known
     */
    Found look(
            final ShardSet set,
            final Hash256 namespace,
            final byte[] keys,
            final boolean sparse,
            final boolean asks,
            final long nowNs) {
        final List<Shard> shards = set.shards();
        final int size = shards.size();
        final int chunks = keys.length / Hash256.BYTES;
        final Found found = scratch.over(chunks, size);
        final boolean[] windowed = new boolean[size];
        final int[] window = new int[size];
        for (int s = 0; s < size; s++) {
            if (set.rules().get(shards.get(s).kvGroup()) instanceof HitRule.TrailingWindow(int length)) {
                windowed[s] = true;
                window[s] = length;
            }
        }
        int limit = chunks;
        int unknown = 0;
        for (int chunk = 0; chunk < limit; chunk++) {
            if (chunk == found.looked) {
                probe(found, shards, namespace, keys);
            }
            final Hash256 key = Hash256.read(keys, chunk * Hash256.BYTES);
            for (int s = 0; s < size; s++) {
                final int i = chunk * size + s;
                final int object = table.confirm(found.objects[i], found.hashes[i], namespace, key, shards.get(s));
                final int entry = dram.entry(object);
                found.objects[i] = object;
                found.entries[i] = entry;
                if (entry != DramTier.NONE && !dram.isCondemned(entry)) {
                    found.status[i] = dram.isReadable(entry) ? SlotStatus.HIT : SlotStatus.PENDING;
                } else if (entry == DramTier.NONE && ssd.has(object)) {
                    found.status[i] = ON_SSD;
                } else if (entry == DramTier.NONE) {
                    found.hashes[i] = ObjectId.hash64(namespace, key, shards.get(s));
                    found.status[i] = remote.status(found.hashes[i], nowNs);
                }
                if (found.status[i] >= ASKED && !asks) {
                    found.status[i] = SlotStatus.MISS;
                }
                if (found.status[i] == SlotStatus.MISS && !windowed[s] && !sparse) {
                    limit = chunk;
                }
                if (found.status[i] == UNKNOWN && ++unknown == StoreLimits.ASKED_AT_ONCE && !sparse) {
                    // What lies behind is of no use before these are found.
                    limit = Math.min(limit, chunk + 1);
                }
            }
        }
        found.looked = limit;
        if (sparse) {
            for (int chunk = 0; chunk < chunks; chunk++) {
                final byte status = found.chunkStatus(chunk);
                found.hits += status == SlotStatus.HIT ? 1 : 0;
                found.pending += status == SlotStatus.PENDING ? 1 : 0;
            }
            return found;
        }
        found.hits = prefix(found, windowed, window, limit, false);
        final int reachable = prefix(found, windowed, window, limit, true);
        found.pending = reachable - found.hits;
        clearUnneeded(found, windowed, window, reachable);
        return found;
    }

    /**
     * Hashes the next chunks and reads the index for them: many at once, so that the processor waits for many cache lines
     * at a time; not all, since a prefix mostly ends early.
     */
    private void probe(final Found found, final List<Shard> shards, final Hash256 namespace, final byte[] keys) {
        final int size = found.shards;
        final int from = found.looked;
        final int to = Math.min(found.chunks, from + Math.max(1, PROBED_AT_ONCE / size));
        for (int chunk = from; chunk < to; chunk++) {
            final Hash256 key = Hash256.read(keys, chunk * Hash256.BYTES);
            for (int s = 0; s < size; s++) {
                found.hashes[chunk * size + s] = table.hash(namespace, key, shards.get(s));
            }
        }
        table.probe(found.hashes, found.objects, from * size, to * size);
        found.looked = to;
    }

    /** The longest prefix in which every shard has what its rule needs. */
    private static int prefix(
            final Found found,
            final boolean[] windowed,
            final int[] window,
            final int limit,
            final boolean pendingCounts) {
        final boolean anyWindow = anyOf(windowed);
        /* Of each windowed shard, the chunk behind its last gap. */
        final int[] afterGap = anyWindow ? new int[found.shards] : NO_WINDOWS;
        int length = 0;
        for (int chunk = 0; chunk < limit && complete(found, windowed, chunk, pendingCounts); chunk++) {
            boolean holds = true;
            for (int s = 0; s < afterGap.length; s++) {
                if (windowed[s]) {
                    if (!counts(found.status[chunk * found.shards + s], pendingCounts)) {
                        afterGap[s] = chunk + 1;
                    }
                    holds &= afterGap[s] <= Math.max(0, chunk + 1 - window[s]);
                }
            }
            if (holds) {
                length = chunk + 1;
            }
        }
        return length;
    }

    private static boolean anyOf(final boolean[] flags) {
        for (final boolean flag : flags) {
            if (flag) {
                return true;
            }
        }
        return false;
    }

    private static boolean complete(
            final Found found, final boolean[] windowed, final int chunk, final boolean pendingCounts) {
        for (int s = 0; s < found.shards; s++) {
            if (!windowed[s] && !counts(found.status[chunk * found.shards + s], pendingCounts)) {
                return false;
            }
        }
        return true;
    }

    private static boolean counts(final byte status, final boolean pendingCounts) {
        return status == SlotStatus.HIT || (pendingCounts && (status == SlotStatus.PENDING || status >= ON_SSD));
    }

    /** What lies before a group's window is not needed, for the hits and for what is fetched. */
    private static void clearUnneeded(
            final Found found, final boolean[] windowed, final int[] window, final int reachable) {
        for (int s = 0; s < found.shards; s++) {
            if (!windowed[s]) {
                continue;
            }
            final int neededFrom = Math.max(0, (found.hits > 0 ? found.hits : reachable) - window[s]);
            for (int chunk = 0; chunk < neededFrom; chunk++) {
                found.status[chunk * found.shards + s] = SlotStatus.NOT_NEEDED;
                found.entries[chunk * found.shards + s] = DramTier.NONE;
            }
        }
    }

    /** Keeps what was found where it is; what is being written stays anyway. */
    void hold(final Found found) {
        for (int i = 0; i < found.cells(); i++) {
            final int entry = found.entries[i];
            if (entry != DramTier.NONE && !dram.isWriting(entry)) {
                dram.hold(entry);
                found.held[found.heldCount++] = entry;
            }
        }
    }

    void unhold(final Found found) {
        for (int i = 0; i < found.heldCount; i++) {
            dram.unhold(found.held[i]);
        }
    }

    /**
     * Starts what makes the pending chunks readable, in order, as far as it pays; the rest is a miss.
     *
     * @param recomputeNs the engine's time to compute one chunk; 0: unknown, always worth it
     */
    void fetch(
            final Found found,
            final TenantArena tenant,
            final ShardSet set,
            final Hash256 namespace,
            final byte[] keys,
            final boolean sparse,
            final long recomputeNs,
            final long nowNs) {
        final int end = sparse ? found.chunks : found.hits + found.pending;
        if (remote.isOpen()) {
            ask(found, namespace, keys, set, sparse, end, nowNs);
        }
        boolean open = true;
        int pending = 0;
        for (int chunk = sparse ? 0 : found.hits; chunk < end; chunk++) {
            final byte before = found.chunkStatus(chunk);
            if (before == SlotStatus.PENDING && open) {
                final long worthNs = recomputeNs == 0 ? Long.MAX_VALUE : recomputeNs * (pending + 1) / 2;
                open = start(found, tenant, set, namespace, keys, chunk, worthNs, nowNs);
            }
            if (open && (before == SlotStatus.PENDING || (before == SlotStatus.HIT && !sparse))) {
                pending++;
            }
            if (!open && !sparse) {
                break;
            }
        }
        found.pending = pending;
        remote.flush(tenant);
    }

    /** Starts to find out who has what nobody asked for yet. */
    void ask(
            final Found found,
            final Hash256 namespace,
            final byte[] keys,
            final ShardSet set,
            final boolean sparse,
            final int end,
            final long nowNs) {
        for (int i = 0; i < end * found.shards; i++) {
            if (found.status[i] == UNKNOWN) {
                remote.ask(found, namespace, keys, set.shards(), i / found.shards, sparse, nowNs);
                return;
            }
        }
    }

    private boolean start(
            final Found found,
            final TenantArena tenant,
            final ShardSet set,
            final Hash256 namespace,
            final byte[] keys,
            final int chunk,
            final long worthNs,
            final long nowNs) {
        for (int s = 0; s < found.shards; s++) {
            final int i = chunk * found.shards + s;
            if (found.status[i] == ON_SSD && !found.later) {
                if (ssd.expectedNs(found.objects[i]) > worthNs) {
                    return false;
                }
                final ObjectId id = new ObjectId(
                        namespace,
                        Hash256.read(keys, chunk * Hash256.BYTES),
                        set.shards().get(s));
                final int entry = ssd.promote(tenant, found.objects[i], id, nowNs);
                if (entry == SsdShelf.LATER) {
                    found.later = true;
                    continue;
                }
                if (entry == DramTier.NONE) {
                    return false;
                }
                found.entries[i] = entry;
            } else if (found.status[i] == REMOTE && !found.later) {
                if (remote.expectedNs(found.hashes[i]) > worthNs) {
                    return false;
                }
                final ObjectId id = new ObjectId(
                        namespace,
                        Hash256.read(keys, chunk * Hash256.BYTES),
                        set.shards().get(s));
                found.later = !remote.want(found.hashes[i], id, worthNs);
            } else if (found.status[i] == SlotStatus.PENDING && dram.isUnverified(found.entries[i])) {
                verify.accept(found.entries[i]);
            }
        }
        return true;
    }

    /** The tier in which a chunk's bytes lie: the slowest of its shards; null for a miss. */
    private TierKind tier(final Found found, final int chunk, final boolean counted) {
        TierKind slowest = TierKind.DRAM;
        for (int i = chunk * found.shards; i < (chunk + 1) * found.shards; i++) {
            if (found.status[i] == SlotStatus.MISS) {
                return null;
            }
            final TierKind each = tierOf(found, i, counted);
            slowest = each.compareTo(slowest) > 0 ? each : slowest;
        }
        return slowest;
    }

    private TierKind tierOf(final Found found, final int i, final boolean counted) {
        return switch (found.status[i]) {
            case ON_SSD -> TierKind.SSD;
            case REMOTE, ASKED, UNKNOWN -> TierKind.REMOTE;
            case SlotStatus.HIT -> counted ? dram.origin(found.entries[i]) : TierKind.DRAM;
            default -> TierKind.DRAM;
        };
    }

    private long expectedNs(final TierKind tier, final Found found, final int i) {
        return switch (tier) {
            case SSD -> ssd.expectedNs(found.objects[i]);
            case REMOTE -> remote.expectedNs(found.hashes[i]);
            default -> 0;
        };
    }

    /**
     * The plan of what was found, after {@link #fetch}.
     *
     * @param counted a real lookup, no peek: a hit is the hit of the tier from which it came
     */
    List<PlanRange> plan(final Found found, final int hits, final boolean sparse, final boolean counted) {
        final List<PlanRange> plan = new ArrayList<>(4);
        int first = 0;
        byte rangeStatus = 0;
        TierKind rangeTier = null;
        long rangeExpected = 0;
        // Behind the last chunk of interest there is one range of misses, however long it is.
        final int end = sparse ? found.chunks : Math.min(found.chunks, found.hits + found.pending + 1);
        for (int chunk = 0; chunk < end; chunk++) {
            final byte status;
            if (sparse) {
                status = found.chunkStatus(chunk);
            } else if (chunk < hits) {
                status = SlotStatus.HIT;
            } else {
                status =
                        chunk < found.hits + found.pending && hits == found.hits ? SlotStatus.PENDING : SlotStatus.MISS;
            }
            final TierKind tier = status == SlotStatus.MISS ? null : tier(found, chunk, counted);
            final long expected =
                    status == SlotStatus.PENDING && tier != null ? expectedNs(tier, found, chunk * found.shards) : 0;
            if (chunk > first && (status != rangeStatus || tier != rangeTier)) {
                plan.add(new PlanRange(first, chunk - first, rangeStatus, rangeTier, rangeExpected));
                first = chunk;
                rangeExpected = 0;
            }
            rangeStatus = status;
            rangeTier = tier;
            rangeExpected = Math.max(rangeExpected, expected);
        }
        if (found.chunks > first) {
            plan.add(new PlanRange(first, found.chunks - first, rangeStatus, rangeTier, rangeExpected));
        }
        return plan;
    }
}
