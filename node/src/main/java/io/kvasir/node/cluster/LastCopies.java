package io.kvasir.node.cluster;

import io.kvasir.node.cluster.Whereabouts.Place;
import io.kvasir.node.placement.Placement;
import io.kvasir.storage.AdminStore;
import io.kvasir.storage.Leaving;
import io.kvasir.storage.PeerStore;
import io.kvasir.storage.metrics.StorageCounters;
import io.kvasir.storage.move.MoveKind;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.transport.Outcome;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.LongAdder;
import org.agrona.collections.Long2LongHashMap;
import org.agrona.concurrent.NanoClock;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Looks ahead of eviction: of what DRAM loses next, the last copies go to peers with room, unless the SSD takes them, and
 * what only counts as a copy is found out. An eviction never waits for this; what is not saved in time is lost as on a node
 * alone. Owned by the store's thread.
 */
final class LastCopies {
    private static final Logger LOG = LoggerFactory.getLogger(LastCopies.class);
    /** Share of DRAM, from its cold end, that is looked at; with less than that free, DRAM counts as full. */
    private static final int WINDOW = 16;

    /** Between questions to the directory, of at most a few hundred objects each: this must not become its load. */
    private static final long PAUSE_NS = 50_000_000;

    /** What was decided of an object holds for so long; a peer may get or lose it meanwhile. */
    private static final long DECIDED_NS = 2_000_000_000L;
    /** DRAM that evicted something is full for so long. */
    private static final long EVICTING_NS = 5_000_000_000L;

    private static final long PUSH_NS = 5_000_000_000L;
    private static final long NEVER = Long.MIN_VALUE;

    private final PeerStore store;
    private final AdminStore figures;
    private final Pushes pushes;
    private final Whereabouts whereabouts;
    private final Rooms rooms;
    private final long bytesPerSecond;
    private final NanoClock clock;
    private final Long2LongHashMap decidedNs = new Long2LongHashMap(NEVER);
    /** Objects that a peer took over. */
    final LongAdder moved = new LongAdder();

    final LongAdder movedBytes = new LongAdder();
    /** Objects that a peer was asked to take and did not. */
    final LongAdder refused = new LongAdder();
    /** Copies that turned out to be the last ones. */
    final LongAdder lastOnes = new LongAdder();

    private double tokens;
    private long tokensAtNs;
    private long walkAtNs;
    private long evictions;
    private long evictedAtNs;
    private boolean asking;

    /** @param bytesPerSecond most that is moved; 0: nothing */
    LastCopies(
            final PeerStore store,
            final AdminStore figures,
            final Pushes pushes,
            final Whereabouts whereabouts,
            final Rooms rooms,
            final long bytesPerSecond,
            final NanoClock clock) {
        this.store = store;
        this.figures = figures;
        this.pushes = pushes;
        this.whereabouts = whereabouts;
        this.rooms = rooms;
        this.bytesPerSecond = bytesPerSecond;
        this.clock = clock;
        final long nowNs = clock.nanoTime();
        tokensAtNs = nowNs;
        walkAtNs = nowNs;
        evictedAtNs = nowNs - EVICTING_NS;
        evictions = evictions();
    }

    int doWork(final long nowNs) {
        if (asking || nowNs - walkAtNs < 0 || !isFull(nowNs)) {
            return 0;
        }
        // A quarter of a second's worth at once, so that a burst does not wait for the next tick.
        tokens = Math.min(bytesPerSecond / 4.0, tokens + (nowNs - tokensAtNs) * 1e-9 * bytesPerSecond);
        tokensAtNs = nowNs;
        final boolean moves = bytesPerSecond > 0 && !store.isSavedToSsd() && rooms.isAny();
        final List<Leaving> batch = new ArrayList<>();
        final boolean more = store.nextToLeave(figures.dramCapacityBytes() / WINDOW, leaving -> {
            final long decided = decidedNs.get(leaving.id().hash64());
            if ((moves || leaving.copied()) && (decided == NEVER || nowNs - decided >= DECIDED_NS)) {
                decidedNs.put(leaving.id().hash64(), nowNs);
                batch.add(leaving);
            }
        });
        if (!more) {
            walkAtNs = nowNs + PAUSE_NS;
            decidedNs.values().removeIf(decided -> nowNs - decided >= DECIDED_NS);
        }
        if (!batch.isEmpty()) {
            asking = true;
            walkAtNs = nowNs + PAUSE_NS;
            whereabouts.ask(batch.stream().map(Leaving::id).toList(), places -> {
                asking = false;
                decide(batch, places);
            });
        }
        return batch.size();
    }

    private boolean isFull(final long nowNs) {
        final long seen = evictions();
        if (seen != evictions) {
            evictions = seen;
            evictedAtNs = nowNs;
        }
        return nowNs - evictedAtNs < EVICTING_NS
                || figures.dramCapacityBytes() - figures.dramUsedBytes() < figures.dramCapacityBytes() / WINDOW;
    }

    private long evictions() {
        final StorageCounters counters = figures.counters();
        return counters.evictedCopies.sum() + counters.evictedClean.sum() + counters.evictedUndemoted.sum();
    }

    private void decide(final List<Leaving> batch, final Place[] places) {
        final boolean saved = store.isSavedToSsd();
        for (int i = 0; i < places.length; i++) {
            final Leaving leaving = batch.get(i);
            if (places[i] == Place.UNKNOWN) {
                continue;
            }
            if (leaving.copied() && places[i] != Place.IN_DRAM) {
                lastOnes.increment();
                store.copied(leaving.id(), false);
            }
            if (Placement.isWorthMoving(places[i] != Place.NOWHERE, saved, false)) {
                final Peer taker = tokens < leaving.slotBytes() ? null : rooms.taker(leaving.slotBytes());
                if (taker != null) {
                    tokens -= leaving.slotBytes();
                    pushes.push(
                            MoveKind.LAST_COPY,
                            taker,
                            leaving.id(),
                            leaving.slotBytes(),
                            clock.nanoTime() + PUSH_NS,
                            (id, outcome) -> ended(taker, id, leaving.slotBytes(), outcome));
                } else if (tokens < leaving.slotBytes()) {
                    decidedNs.remove(leaving.id().hash64());
                }
            }
        }
    }

    private void ended(final Peer peer, final ObjectId id, final long bytes, final Outcome outcome) {
        rooms.ended(peer, bytes, outcome);
        if (outcome == Outcome.STORED) {
            moved.increment();
            movedBytes.add(bytes);
            store.copied(id, true);
        } else if (outcome != Outcome.ALREADY_THERE && outcome != Outcome.MISSING) {
            refused.increment();
            LOG.debug("{} did not move to {}: {}", id, peer.name(), outcome);
        }
    }
}
