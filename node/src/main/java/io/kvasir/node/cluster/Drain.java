package io.kvasir.node.cluster;

import io.kvasir.node.cluster.directory.ChunkName;
import io.kvasir.node.cluster.directory.Entry;
import io.kvasir.storage.ObjectId;
import io.kvasir.transport.Outcome;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Moves what only this node has in DRAM to nodes with room, the hottest first, before it leaves. Owned by the store's
 * thread.
 */
final class Drain {
    private static final Logger LOG = LoggerFactory.getLogger(Drain.class);
    private static final int BATCH = 64;
    private static final int UNDER_WAY = 256;
    private static final int TRIES = 4;

    private record Move(ObjectId id, int tries) {}

    private final Cluster cluster;
    private final long untilNs;
    private final ArrayDeque<Move> left = new ArrayDeque<>();
    private int underWay;
    private int moved;
    private int elsewhere;
    private int lost;
    private int turn;
    private boolean told;

    Drain(final Cluster cluster, final List<ObjectId> hottestFirst, final long untilNs) {
        this.cluster = cluster;
        this.untilNs = untilNs;
        hottestFirst.forEach(id -> left.add(new Move(id, 0)));
        LOG.info("This node leaves: {} objects in DRAM may have to move", left.size());
    }

    /** True when there is nothing left to do, or no time. */
    boolean isOver(final long nowNs) {
        final boolean over = (left.isEmpty() && underWay == 0) || nowNs - untilNs >= 0;
        if (over && !told) {
            told = true;
            LOG.info(
                    "Moved {} objects; others have {} already, {} fit nowhere, {} were not reached in time",
                    moved,
                    elsewhere,
                    lost,
                    left.size() + underWay);
        }
        return over;
    }

    int doWork() {
        int work = 0;
        while (!left.isEmpty() && underWay < UNDER_WAY) {
            final List<Move> batch = new ArrayList<>();
            while (!left.isEmpty() && batch.size() < BATCH) {
                batch.add(left.poll());
            }
            underWay += batch.size();
            ask(batch);
            work++;
        }
        return work;
    }

    /** Whether another live node has each of them. */
    private void ask(final List<Move> batch) {
        final Set<Long> keys = new HashSet<>();
        batch.forEach(move -> keys.add(cluster.entryOf(move.id)));
        cluster.read(keys.stream().mapToLong(Long::longValue).toArray(), entries -> {
            final List<Move> alone = new ArrayList<>();
            for (final Move move : batch) {
                final byte[] entry = entries == null ? null : entries.get(cluster.entryOf(move.id));
                if (entry != null && isElsewhere(entry, move.id)) {
                    elsewhere++;
                    underWay--;
                } else {
                    alone.add(move);
                }
            }
            push(alone);
        });
    }

    private boolean isElsewhere(final byte[] entry, final ObjectId id) {
        final int chunk = ChunkName.tag(ChunkName.hash(id.namespace(), id.key()));
        final int shard = ChunkName.tag(id.shard());
        for (final Entry.Reader each = new Entry.Reader(entry); each.next(); ) {
            if (!cluster.isPeer(each.holder())) {
                continue;
            }
            for (int member = 0; member < each.members(); member++) {
                for (int s = 0; each.tag(member) == chunk && s < each.shards(); s++) {
                    if (each.shardTag(s) == shard && (each.inDram(member, s) || each.onSsd(member, s))) {
                        return true;
                    }
                }
            }
        }
        return false;
    }

    private void push(final List<Move> moves) {
        final List<Peer> peers = cluster.peersByRoom();
        if (peers.isEmpty()) {
            lost += moves.size();
            underWay -= moves.size();
            return;
        }
        final int first = turn++;
        final Map<Peer, List<Move>> byPeer = new HashMap<>();
        moves.forEach(move -> byPeer.computeIfAbsent(
                        peers.get((first + move.tries) % peers.size()), ignored -> new ArrayList<>())
                .add(move));
        byPeer.forEach((peer, each) -> {
            final Map<ObjectId, Move> byId = new HashMap<>();
            each.forEach(move -> byId.put(move.id, move));
            cluster.transfers()
                    .push(
                            peer,
                            List.copyOf(byId.keySet()),
                            untilNs,
                            io.kvasir.transport.Priority.STORE,
                            (id, outcome) -> ended(byId.get(id), outcome, peers.size()));
        });
    }

    private void ended(final Move move, final Outcome outcome, final int peers) {
        underWay--;
        if (outcome == Outcome.STORED || outcome == Outcome.ALREADY_THERE) {
            moved++;
        } else if (move.tries + 1 < Math.min(TRIES, peers) && outcome != Outcome.MISSING) {
            left.add(new Move(move.id, move.tries + 1));
        } else {
            lost++;
            LOG.debug("{} fits nowhere else: {}", move.id, outcome);
        }
    }
}
