package io.kvasir.node.cluster;

import io.kvasir.node.cluster.Whereabouts.Place;
import io.kvasir.storage.PeerStore;
import io.kvasir.storage.move.MoveKind;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.SizeClass;
import io.kvasir.transport.Outcome;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import org.agrona.collections.LongHashSet;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Moves what only this node has to nodes with room before it leaves: first what is in DRAM, then what is on SSD only, the
 * hottest first; of a large SSD then the rest, in no order. Owned by the store's thread.
 */
final class Drain {
    private static final Logger LOG = LoggerFactory.getLogger(Drain.class);
    private static final int BATCH = 64;
    /** Objects of which the directory is asked, or that wait for their turn: enough to keep a link busy. */
    private static final int UNDER_WAY = 256;
    /** Of one object, where peers refuse it or none has room. */
    private static final int TRIES = 4;
    /** Until the peers have told anew what room they have. */
    private static final long AGAIN_NS = 1_500_000_000L;

    /** How far it is, in objects. */
    record Progress(long left, long moved, long elsewhere, long lost) {
        static final Progress NONE = new Progress(0, 0, 0, 0);
    }

    private static final class Remaining {
        final ObjectId id;
        final long bytes;
        int tries;
        long notBeforeNs;

        Remaining(final ObjectId id, final long bytes) {
            this.id = id;
            this.bytes = bytes;
        }
    }

    private final Pushes pushes;
    private final Whereabouts whereabouts;
    private final Rooms rooms;
    private final long untilNs;
    private final ArrayDeque<Remaining> left = new ArrayDeque<>();
    /** Tried in vain, in the order in which they are tried again. */
    private final ArrayDeque<Remaining> again = new ArrayDeque<>();

    private final PeerStore store;
    /** Objects on SSD only that were listed by their heat. */
    private final LongHashSet listed = new LongHashSet();
    /** Where the list of the others goes on; below 0: there are no more. */
    private int rest;

    private int underWay;
    private long moved;
    private long movedBytes;
    private long elsewhere;
    private long lost;
    private long lostBytes;
    private boolean told;

    Drain(
            final PeerStore store,
            final Pushes pushes,
            final Whereabouts whereabouts,
            final Rooms rooms,
            final long untilNs) {
        this.store = store;
        this.pushes = pushes;
        this.whereabouts = whereabouts;
        this.rooms = rooms;
        this.untilNs = untilNs;
        store.eachByHeat(this::add);
        final int inDram = left.size();
        store.eachOnSsdOnly(id -> {
            listed.add(id.hash64());
            add(id);
        });
        LOG.info(
                "This node leaves: {} objects in DRAM and {} on SSD only, the hottest there, may have to move",
                inDram,
                left.size() - inDram);
    }

    private void add(final ObjectId id) {
        left.add(new Remaining(id, SizeClass.slotBytes(Math.max(1, store.bytesOf(id)))));
    }

    /** True when there is nothing left to do, or no time. */
    boolean isOver(final long nowNs) {
        final boolean over = (rest < 0 && left() == 0) || nowNs - untilNs >= 0;
        if (over && !told) {
            told = true;
            LOG.atLevel(lost + left() == 0 && rest < 0 ? org.slf4j.event.Level.INFO : org.slf4j.event.Level.WARN)
                    .log(
                            "Moved {} objects ({} bytes); others have {} already; {} ({} bytes) fit nowhere else and {}{}"
                                    + " were not reached in time: those stay on this node only",
                            moved,
                            movedBytes,
                            elsewhere,
                            lost,
                            lostBytes,
                            left(),
                            rest < 0 ? "" : ", and colder ones on SSD,");
        }
        return over;
    }

    private long left() {
        return left.size() + again.size() + (long) underWay;
    }

    Progress progress() {
        return new Progress(left(), moved, elsewhere, lost);
    }

    int doWork(final long nowNs) {
        while (!again.isEmpty() && nowNs - again.peek().notBeforeNs >= 0) {
            left.add(again.poll());
        }
        int work = 0;
        if (left.isEmpty() && rest >= 0) {
            rest = store.nextOnSsdOnly(rest, id -> {
                if (!listed.contains(id.hash64())) {
                    add(id);
                }
            });
            work++;
        }
        while (!left.isEmpty() && underWay < UNDER_WAY) {
            final List<Remaining> batch = new ArrayList<>();
            while (!left.isEmpty() && batch.size() < BATCH) {
                batch.add(left.poll());
            }
            underWay += batch.size();
            whereabouts.ask(batch.stream().map(move -> move.id).toList(), places -> decide(batch, places, nowNs));
            work++;
        }
        return work;
    }

    private void decide(final List<Remaining> batch, final Place[] places, final long nowNs) {
        for (int i = 0; i < places.length; i++) {
            final Remaining move = batch.get(i);
            if (places[i] == Place.IN_DRAM || places[i] == Place.ON_SSD) {
                underWay--;
                elsewhere++;
                continue;
            }
            final Peer taker = rooms.takerInAnyTier(move.bytes);
            if (taker == null) {
                failed(move, "no node has room", nowNs);
            } else {
                pushes.push(
                        MoveKind.DRAIN,
                        taker,
                        move.id,
                        move.bytes,
                        untilNs,
                        (id, outcome) -> ended(taker, move, outcome));
            }
        }
    }

    private void ended(final Peer peer, final Remaining move, final Outcome outcome) {
        rooms.ended(peer, move.bytes, outcome);
        switch (outcome) {
            case STORED, ALREADY_THERE -> {
                underWay--;
                moved++;
                movedBytes += move.bytes;
                if (outcome == Outcome.STORED) {
                    // Its slot is of use to what comes from SSD.
                    store.copied(move.id, true);
                }
            }
            case MISSING -> {
                if (store.holds(move.id)) {
                    failed(move, "it did not come to DRAM in time", System.nanoTime());
                } else {
                    underWay--;
                }
            }
            default -> failed(move, outcome.toString(), System.nanoTime());
        }
    }

    private void failed(final Remaining move, final String reason, final long nowNs) {
        underWay--;
        if (++move.tries < TRIES) {
            move.notBeforeNs = nowNs + AGAIN_NS;
            again.add(move);
        } else {
            lost++;
            lostBytes += move.bytes;
            LOG.debug("{} stays on this node only: {}", move.id, reason);
        }
    }
}
