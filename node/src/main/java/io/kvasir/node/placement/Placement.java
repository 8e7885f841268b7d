package io.kvasir.node.placement;

import java.util.function.IntFunction;
import java.util.function.IntToLongFunction;

/**
 * The rules of placement. A store stays where it was made; a pull makes a copy that gives way first; the last copy stays
 * longest, and when it has to leave DRAM it goes to a peer with room rather than be lost. Nodes call them, and
 * {@code kvasir simulate} calls the same ones. Pure: time, randomness and what is known of peers come in as arguments. Peers
 * are numbered by the caller; unknown or dead ones have no number or a null {@link PeerRoom}.
 *
 * <p>Who asks what in a node:
 *
 * <ul>
 *   <li>the store at every use of a copy: {@link #givesWayFirst};
 *   <li>{@code LastCopies}, ahead of eviction: {@link #isWorthMoving}, and {@link #taker} through {@code Rooms}, as a
 *       {@code Drain} does;
 *   <li>{@code Transfers} for what has to be fetched: {@link #source}.
 * </ul>
 *
 * @param spreadUses uses of a pulled copy on this node after which it counts as a copy made on purpose and no longer
 *     gives way first; at least 1
 */
public record Placement(int spreadUses) {
    /** No peer. */
    public static final int NOBODY = -1;

    /** Measured by {@code kvasir simulate}; docs/decisions has the figures. */
    public static final Placement STANDARD = new Placement(16);

    /** Peers that are looked at for one decision, whatever the size of the cluster. */
    private static final int LOOKED_AT = 8;
    /** Times that differ by less than this part of them say nothing: what is known of peers is a second old. */
    private static final int ABOUT = 4;

    public Placement {
        if (spreadUses < 1) {
            throw new IllegalArgumentException("placement.spread_uses is " + spreadUses + "; it must be at least 1");
        }
    }

    /**
     * Whether the object ranks before all that is no copy when something must give way.
     *
     * @param pulled this node fetched it from a peer; it neither stored it first nor took it over as the last copy
     * @param elsewhere another live node has it in DRAM, as far as the directory knows
     * @param usesHere leases of it on this node since it came
     */
    public boolean givesWayFirst(final boolean pulled, final boolean elsewhere, final int usesHere) {
        return pulled && elsewhere && usesHere < spreadUses;
    }

    /**
     * Whether an object that loses its slot here is to be offered to a peer at all.
     *
     * @param elsewhere another live node has it in DRAM
     * @param durable it is on this node's SSD, from where a pull can be answered too, or gets there first
     * @param moved it makes room for an object that a peer moved here: moves do not cascade
     */
    public static boolean isWorthMoving(final boolean elsewhere, final boolean durable, final boolean moved) {
        return !elsewhere && !durable && !moved;
    }

    /**
     * The peer that takes a last copy: the one with most free room. Looks at a few peers from a random start on, so that
     * nodes which decide at the same time on the same stale hints do not all pick one peer. A peer that would have to
     * evict for it takes nothing: simulated, that costs transfers and hits, even with nodes of unequal load.
     *
     * @param bytes of its slot
     * @param peers how many peers are numbered, this node included
     * @param self this node's number, or {@link #NOBODY} when it has none
     * @param room what each told last; null for one that is not to be used
     * @param random any number
     * @return the peer's number, or {@link #NOBODY}: it is dropped
     */
    public static int taker(
            final long bytes, final int peers, final int self, final IntFunction<PeerRoom> room, final long random) {
        int taker = NOBODY;
        long most = Math.max(bytes, 1) - 1;
        final int start = peers == 0 ? 0 : (int) Long.remainderUnsigned(random, peers);
        for (int i = 0; i < Math.min(peers, LOOKED_AT); i++) {
            final int peer = (start + i) % peers;
            final PeerRoom seen = peer == self ? null : room.apply(peer);
            if (seen != null && seen.freeBytes() > most) {
                most = seen.freeBytes();
                taker = peer;
            }
        }
        return taker;
    }

    /**
     * The holder to fetch from: the one from which it is expected first, by what that has to send and receive. Among those
     * that are about equal any, so that readers of one hot object spread over its holders.
     *
     * @param count of the holders
     * @param expectedNs of each; negative for one that is not to be used
     * @param random any number
     * @return which holder, from 0, or {@link #NOBODY} when none is known to be alive
     */
    public static int source(final int count, final IntToLongFunction expectedNs, final long random) {
        int best = NOBODY;
        long least = Long.MAX_VALUE;
        final int start = count == 0 ? 0 : (int) Long.remainderUnsigned(random, count);
        for (int i = 0; i < count; i++) {
            final int at = (start + i) % count;
            final long expected = expectedNs.applyAsLong(at);
            if (expected >= 0 && (best == NOBODY || expected < least - least / ABOUT)) {
                least = expected;
                best = at;
            }
        }
        return best;
    }
}
