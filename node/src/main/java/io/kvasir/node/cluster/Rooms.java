package io.kvasir.node.cluster;

import io.kvasir.node.placement.PeerRoom;
import io.kvasir.node.placement.Placement;
import io.kvasir.transport.Outcome;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import java.util.function.LongFunction;
import java.util.function.ToLongFunction;
import org.agrona.collections.Long2ObjectHashMap;
import org.agrona.concurrent.NanoClock;

/**
 * Which peer has room for what must leave here: what each told last, less what was sent there since. Owned by the store's
 * thread.
 */
final class Rooms {
    /** A peer that refused something is left alone for so long; meanwhile it tells what room it has. */
    private static final long REFUSED_NS = 2_000_000_000L;

    private static final class Sent {
        long heardNs;
        long sinceBytes;
        long underWayBytes;
        long notBeforeNs;
    }

    private final LongFunction<NodeStatus> statuses;
    private final NanoClock clock;
    private final Long2ObjectHashMap<Sent> sent = new Long2ObjectHashMap<>();
    private final SplittableRandom random = new SplittableRandom();
    private List<Peer> peers = List.of();

    /** @param statuses by holder; null for one that told nothing */
    Rooms(final LongFunction<NodeStatus> statuses, final NanoClock clock) {
        this.statuses = statuses;
        this.clock = clock;
    }

    /** Who is there now. */
    void peers(final List<Peer> now) {
        peers = now;
        final List<Long> holders = new ArrayList<>();
        now.forEach(peer -> holders.add(peer.holder()));
        sent.keySet().retainAll(holders);
    }

    /** The peer that takes it into DRAM; null when none is known to have room. Its bytes count as sent from here on. */
    Peer taker(final long bytes) {
        return taker(bytes, NodeStatus::freeBytes);
    }

    /** The same, for one that may put it on its SSD too. */
    Peer takerInAnyTier(final long bytes) {
        return taker(bytes, status -> status.freeBytes() + status.ssdFreeBytes());
    }

    private Peer taker(final long bytes, final ToLongFunction<NodeStatus> free) {
        final long nowNs = clock.nanoTime();
        final int chosen = Placement.taker(
                bytes, peers.size(), Placement.NOBODY, i -> room(peers.get(i), free, nowNs), random.nextLong());
        if (chosen == Placement.NOBODY) {
            return null;
        }
        final Sent to = of(peers.get(chosen));
        to.sinceBytes += bytes;
        to.underWayBytes += bytes;
        return peers.get(chosen);
    }

    private PeerRoom room(final Peer peer, final ToLongFunction<NodeStatus> free, final long nowNs) {
        final NodeStatus told = statuses.apply(peer.holder());
        if (told == null) {
            return null;
        }
        final Sent to = of(peer);
        if (to.heardNs != told.heardNs()) {
            to.heardNs = told.heardNs();
            to.sinceBytes = to.underWayBytes;
        }
        return nowNs - to.notBeforeNs < 0
                ? null
                : new PeerRoom(Math.max(0, free.applyAsLong(told) - to.sinceBytes), told.queuedBytes());
    }

    /** Whether some peer may have free DRAM. */
    boolean isAny() {
        final long nowNs = clock.nanoTime();
        for (final Peer peer : peers) {
            final PeerRoom room = room(peer, NodeStatus::freeBytes, nowNs);
            if (room != null && room.freeBytes() > 0) {
                return true;
            }
        }
        return false;
    }

    /** What {@link #taker} gave to a peer is there, or is not. */
    void ended(final Peer peer, final long bytes, final Outcome outcome) {
        final Sent to = sent.get(peer.holder());
        if (to == null) {
            return;
        }
        to.underWayBytes = Math.max(0, to.underWayBytes - bytes);
        if (outcome != Outcome.STORED && outcome != Outcome.ALREADY_THERE && outcome != Outcome.MISSING) {
            to.notBeforeNs = clock.nanoTime() + REFUSED_NS;
        }
    }

    private Sent of(final Peer peer) {
        return sent.computeIfAbsent(peer.holder(), ignored -> {
            final Sent fresh = new Sent();
            fresh.notBeforeNs = clock.nanoTime();
            return fresh;
        });
    }
}
