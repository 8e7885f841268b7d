package io.kvasir.ops.simulate;

import io.kvasir.node.cluster.directory.Announcer;
import io.kvasir.node.placement.PeerRoom;
import io.kvasir.node.placement.Placement;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.TierKind;
import io.kvasir.storage.policy.Chains;
import io.kvasir.storage.policy.CopiesFirst;
import io.kvasir.storage.policy.EvictionPolicy;
import io.kvasir.storage.policy.PolicyKind;
import io.kvasir.storage.policy.VictimSearch;
import io.kvasir.storage.policy.VictimSearch.Verdict;
import java.util.Arrays;
import org.agrona.collections.Int2IntHashMap;

/** The DRAM tier of one node without its bytes: slots of one size, ordered and emptied by the node's own classes. */
final class SimulatedNode {
    static final int NONE = EvictionPolicy.NONE;
    /** Worth is relative: all objects of a simulation are of one size. */
    private static final long BYTES = 1 << 20;

    /** Hears what leaves, while the node still has it. */
    interface Eviction {
        void leaves(SimulatedNode node, int entry, boolean moved);
    }

    final int number;
    /** Null when nothing is shared. */
    final Announcer announcer;

    double linkFreeMs;
    long assigned;

    private final CopiesFirst policy;
    private final Chains chains = new Chains();
    private final VictimSearch search;
    private final Placement placement;
    private final Eviction eviction;
    /** By chunk, of all nodes. */
    private final int[] copies;

    private final Int2IntHashMap entryOf = new Int2IntHashMap(NONE);
    private final int[] chunk;
    private final int[] uses;
    private final boolean[] pulled;
    private final int[] leasedBy;
    private final int[] free;
    private int freeCount;

    SimulatedNode(
            final int number,
            final int slots,
            final PolicyKind kind,
            final Placement placement,
            final Announcer announcer,
            final int[] copies,
            final Eviction eviction) {
        this.number = number;
        this.placement = placement;
        this.announcer = announcer;
        this.eviction = eviction;
        this.copies = copies;
        policy = new CopiesFirst(kind.create());
        search = new VictimSearch(policy, chains);
        chunk = new int[slots];
        uses = new int[slots];
        pulled = new boolean[slots];
        leasedBy = new int[slots];
        Arrays.fill(leasedBy, NONE);
        free = new int[slots];
        for (int slot = slots - 1; slot >= 0; slot--) {
            free[freeCount++] = slot;
        }
    }

    int find(final int wanted) {
        return entryOf.get(wanted);
    }

    boolean has(final int wanted) {
        return entryOf.containsKey(wanted);
    }

    int chunk(final int entry) {
        return chunk[entry];
    }

    boolean isCopy(final int entry) {
        return policy.isCopied(entry);
    }

    /** The request keeps the entry until the next one comes. */
    void lease(final int entry, final int request) {
        leasedBy[entry] = request;
    }

    void touch(final int entry) {
        policy.touch(entry);
        uses[entry]++;
        if (policy.isCopied(entry)) {
            policy.copied(entry, placement.givesWayFirst(pulled[entry], true, uses[entry]));
        }
    }

    /**
     * Takes a slot, evicting for it, and stores the chunk.
     *
     * @param above the chunk before it in its chain; {@link #NONE} for the first
     * @param isPulled another node has it too
     * @param moved a peer moved it here as the last copy
     * @return the entry, or {@link #NONE}: there is no room
     */
    int store(
            final int stored,
            final int above,
            final int chunkIndex,
            final boolean isPulled,
            final boolean moved,
            final int request) {
        if (freeCount == 0) {
            final int victim = victim(request);
            if (victim < 0) {
                return NONE;
            }
            eviction.leaves(this, victim, moved);
            drop(victim);
        }
        final int entry = free[--freeCount];
        entryOf.put(stored, entry);
        copies[stored]++;
        chunk[entry] = stored;
        uses[entry] = 0;
        pulled[entry] = isPulled;
        leasedBy[entry] = request;
        chains.add(entry);
        final ObjectId id = SimulatedCluster.id(stored);
        policy.add(entry, id.hash64(), BYTES, chunkIndex, 0);
        policy.copied(entry, placement.givesWayFirst(isPulled, isPulled, 0));
        final int parent = above == NONE ? NONE : find(above);
        if (parent != NONE) {
            chains.link(entry, parent);
            policy.extended(parent);
        }
        if (announcer != null) {
            announcer.held(
                    id,
                    TierKind.DRAM,
                    BYTES,
                    above == NONE ? io.kvasir.storage.object.Hash256.ZERO : Trace.key(above),
                    chunkIndex);
        }
        return entry;
    }

    /** A copy whose turn it is and that no other node has any more is none: a node has asked the directory by then. */
    private int victim(final int request) {
        while (true) {
            final int victim =
                    search.find(entry -> leasedBy[entry] == request ? Verdict.LATER : Verdict.BEST, () -> true);
            if (victim < 0 || !policy.isCopied(victim) || copies[chunk[victim]] > 1) {
                return victim;
            }
            pulled[victim] = false;
            policy.copied(victim, false);
        }
    }

    private void drop(final int entry) {
        if (announcer != null) {
            announcer.gone(SimulatedCluster.id(chunk[entry]), TierKind.DRAM);
        }
        entryOf.remove(chunk[entry]);
        copies[chunk[entry]]--;
        policy.remove(entry);
        chains.remove(entry);
        leasedBy[entry] = NONE;
        free[freeCount++] = entry;
    }

    /** Chunks that it holds. */
    int size() {
        return entryOf.size();
    }

    PeerRoom room(final double nowMs, final double bytesPerMs) {
        return new PeerRoom(freeCount * BYTES, (long) (Math.max(0, linkFreeMs - nowMs) * bytesPerMs));
    }

    static long slotBytes() {
        return BYTES;
    }
}
