package io.kvasir.ops.simulate;

import io.kvasir.node.cluster.directory.Announcer;
import io.kvasir.node.cluster.directory.DirectoryCounters;
import io.kvasir.node.cluster.directory.Entry;
import io.kvasir.node.cluster.directory.Locator;
import io.kvasir.node.placement.PeerRoom;
import io.kvasir.node.placement.Placement;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.Shard;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.SplittableRandom;
import java.util.concurrent.TimeUnit;
import org.agrona.collections.IntHashSet;
import org.agrona.collections.LongArrayList;
import org.agrona.concurrent.CachedNanoClock;

/**
 * Nodes that serve a trace: a request is routed, looks up its prefix here and at the peers, pulls, and stores the rest
 * where it runs. Prefill takes no time; directory updates take the announcer's own delay, and a pull the time of its
 * bytes on both links. Everything random comes from the seed.
 */
final class SimulatedCluster {
    private static final Hash256 NAMESPACE = new Hash256(1, 2, 3, 4);
    private static final Shard SHARD = new Shard(0, 1, 0, 1, 0, 0, 1, 0, 1);
    private static final int NONE = SimulatedNode.NONE;
    private static final double LOAD_WEIGHT = 0.1;
    private static final double ROOM_TOLD_MS = 1_000;
    private static final double ROUND_TRIP_MS = 0.2;
    private static final double CHUNKS_TO_DOUBLE = 128;
    private static final int HOLDERS = 8;

    private final Scenario scenario;
    private final SplittableRandom random;
    private final CachedNanoClock clock = new CachedNanoClock();
    private final List<SimulatedNode> nodes = new ArrayList<>();
    private final PeerRoom[] rooms;
    private final SimulatedDirectory directory;
    private final Locator locator;
    private final IntHashSet announcing = new IntHashSet(NONE);
    private final LongArrayList pullUs = new LongArrayList();
    private final double bytesPerMs;

    private double nowMs;
    private double roomsToldMs = Double.NEGATIVE_INFINITY;
    private int request;
    private long chunks;
    private long local;
    private long pulled;
    private double worth;
    private double worthSaved;
    private long evicted;
    private long moved;
    private long stale;
    private long changes;
    private long lookups;
    private long chunksAsked;

    /** Of the lookup under way: holders of each chunk, {@link #HOLDERS} places each. */
    private int[] holders = new int[0];

    private int[] holderCount = new int[0];
    /** Where each chunk was pulled from; null for one that was here. */
    private SimulatedNode[] sources = {};
    /** Index of each chunk in its chain and the chunk before it, for those that move. */
    private final int[] place;

    private final int[] above;

    SimulatedCluster(final Scenario scenario, final int traceChunks) {
        this.scenario = scenario;
        random = new SplittableRandom(scenario.seed());
        bytesPerMs = scenario.linkGbps() * 1e9 / 8 / 1e3;
        rooms = new PeerRoom[scenario.nodes()];
        directory = new SimulatedDirectory(scenario.nodes());
        final int[] copies = new int[traceChunks];
        final boolean shares = scenario.sharing() != Scenario.Sharing.LOCAL && scenario.nodes() > 1;
        final DirectoryCounters counters = new DirectoryCounters();
        // The audit's share of the traffic depends on time only; it is left out.
        final Announcer.Limits usual = Announcer.Limits.of(1 << 30);
        final Announcer.Limits limits = new Announcer.Limits(
                usual.backlogChunksPerSecond(), usual.coalesceNs(), usual.updateDeadlineNs(), Long.MAX_VALUE / 4);
        for (int number = 0; number < scenario.nodes(); number++) {
            final Announcer announcer =
                    shares ? new Announcer(number, traceChunks, limits, clock, Runnable::run, counters) : null;
            nodes.add(new SimulatedNode(
                    number,
                    scenario.capacity() == 0 ? traceChunks : scenario.capacity(),
                    scenario.policy(),
                    scenario.placement(),
                    announcer,
                    copies,
                    this::leaves));
            if (announcer != null) {
                announcer.joined(directory, new long[0]);
            }
        }
        locator = shares
                ? new Locator(clock, Runnable::run, holder -> true, TimeUnit.SECONDS.toNanos(1), counters)
                : null;
        place = new int[traceChunks];
        above = new int[traceChunks];
    }

    static ObjectId id(final int chunk) {
        return new ObjectId(NAMESPACE, Trace.key(chunk), SHARD);
    }

    void serve(final Trace.Request asked) {
        nowMs = asked.timeMs();
        clock.update((long) (nowMs * 1e6));
        announce();
        if (nowMs - roomsToldMs >= ROOM_TOLD_MS) {
            roomsToldMs = nowMs;
            for (final SimulatedNode node : nodes) {
                rooms[node.number] = node.room(nowMs, bytesPerMs);
            }
        }
        request++;
        final SimulatedNode node = route(asked.chunks());
        final int hits = hits(node, asked.chunks());
        for (int i = 0; i < asked.chunks().length; i++) {
            final double cost = 1 + i / CHUNKS_TO_DOUBLE;
            worth += cost;
            worthSaved += i < hits ? cost : 0;
        }
        chunks += asked.chunks().length;
        for (int i = hits; i < asked.chunks().length; i++) {
            keep(node, asked.chunks(), i);
        }
        node.assigned += asked.chunks().length - hits;
    }

    /** Leading chunks that the node has or pulls; all of them are used and leased. */
    private int hits(final SimulatedNode node, final int[] wanted) {
        int here = 0;
        while (here < wanted.length && node.has(wanted[here])) {
            node.lease(node.find(wanted[here]), request);
            here++;
        }
        int hits = here;
        if (locator != null && here < wanted.length) {
            hits = here + pull(node, wanted, here);
        }
        // From the end on, so that parents are warmer than their children.
        for (int i = hits - 1; i >= 0; i--) {
            final SimulatedNode user = i < here || sources[i] == null ? node : sources[i];
            user.touch(user.find(wanted[i]));
        }
        local += here;
        return hits;
    }

    private int pull(final SimulatedNode node, final int[] wanted, final int from) {
        locate(node, wanted, from);
        final double[] bytes = new double[scenario.nodes()];
        sources = new SimulatedNode[wanted.length];
        int end = from;
        for (; end < wanted.length; end++) {
            final int there = node.find(wanted[end]);
            if (there != NONE) {
                node.lease(there, request);
                local++;
                continue;
            }
            final SimulatedNode holder = holder(wanted[end], end - from);
            if (holder == null) {
                break;
            }
            holder.lease(holder.find(wanted[end]), request);
            final int entry = node.store(wanted[end], end == 0 ? NONE : wanted[end - 1], end, true, false, request);
            if (entry == NONE) {
                break;
            }
            changed(node);
            sources[end] = holder;
            bytes[holder.number] += scenario.chunkBytes();
            pulled++;
        }
        transfer(node, bytes);
        return end - from;
    }

    /** Pulls from several holders run at once; each link takes one after the other. */
    private void transfer(final SimulatedNode node, final double[] bytes) {
        double done = 0;
        for (final SimulatedNode holder : nodes) {
            if (bytes[holder.number] > 0) {
                final double took = bytes[holder.number] / bytesPerMs;
                holder.linkFreeMs = Math.max(holder.linkFreeMs, nowMs) + took;
                node.linkFreeMs = Math.max(node.linkFreeMs, nowMs) + took;
                done = Math.max(done, Math.max(holder.linkFreeMs, node.linkFreeMs));
            }
        }
        if (done > 0) {
            pullUs.add((long) ((done - nowMs + ROUND_TRIP_MS) * 1e3));
        }
    }

    private void locate(final SimulatedNode node, final int[] wanted, final int from) {
        final int count = wanted.length - from;
        if (holderCount.length < count) {
            holderCount = new int[count];
            holders = new int[count * HOLDERS];
        }
        Arrays.fill(holderCount, 0, count, 0);
        final byte[] keys = new byte[wanted.length * Hash256.BYTES];
        for (int i = 0; i < wanted.length; i++) {
            System.arraycopy(Trace.key(wanted[i]).toBytes(), 0, keys, i * Hash256.BYTES, Hash256.BYTES);
        }
        if (scenario.sharing() == Scenario.Sharing.IDEAL) {
            ask(node, wanted, from);
            return;
        }
        lookups++;
        chunksAsked += count;
        locator.locate(directory, NAMESPACE, keys, from, false, new Locator.Answer() {
            @Override
            public void found(final int chunk, final long holder, final Entry.Reader record, final int member) {
                final int at = chunk - from;
                if (holder != node.number && holderCount[at] < HOLDERS && record.inDram(member, 0)) {
                    holders[at * HOLDERS + holderCount[at]++] = (int) holder;
                }
            }

            @Override
            public void done(final boolean complete) {
                // What was found is what there is.
            }
        });
    }

    private void ask(final SimulatedNode node, final int[] wanted, final int from) {
        for (int at = 0; at < wanted.length - from; at++) {
            for (final SimulatedNode peer : nodes) {
                if (peer.number != node.number && holderCount[at] < HOLDERS && peer.has(wanted[from + at])) {
                    holders[at * HOLDERS + holderCount[at]++] = peer.number;
                }
            }
        }
    }

    /** A holder that really has it: others that the directory named cost a round trip each. */
    private SimulatedNode holder(final int chunk, final int at) {
        final int[] named = Arrays.copyOfRange(holders, at * HOLDERS, at * HOLDERS + holderCount[at]);
        for (int count = named.length; count > 0; count--) {
            final int chosen = Placement.source(
                    count, i -> (long) (rooms[named[i]].queuedBytes() / bytesPerMs * 1e6), random.nextLong());
            final SimulatedNode holder = nodes.get(named[chosen]);
            final int there = holder.find(chunk);
            if (there != NONE) {
                return holder;
            }
            stale++;
            named[chosen] = named[count - 1];
        }
        return null;
    }

    private void keep(final SimulatedNode node, final int[] wanted, final int i) {
        final int there = node.find(wanted[i]);
        if (there != NONE) {
            node.touch(there);
            node.lease(there, request);
            return;
        }
        final int before = i == 0 ? NONE : wanted[i - 1];
        place[wanted[i]] = i;
        above[wanted[i]] = before;
        if (node.store(wanted[i], before, i, false, false, request) != NONE) {
            changed(node);
        }
    }

    /** Called for what gives way: a last copy may go to a peer. */
    private void leaves(final SimulatedNode node, final int entry, final boolean moving) {
        evicted++;
        changed(node);
        if (locator == null || !Placement.isWorthMoving(node.isCopy(entry), false, moving)) {
            return;
        }
        final int taker = Placement.taker(
                SimulatedNode.slotBytes(), nodes.size(), node.number, peer -> rooms[peer], random.nextLong());
        if (taker == Placement.NOBODY) {
            return;
        }
        final SimulatedNode peer = nodes.get(taker);
        final int chunk = node.chunk(entry);
        if (!peer.has(chunk) && peer.store(chunk, above[chunk], place[chunk], false, true, request) != NONE) {
            changed(peer);
            moved++;
        }
    }

    private void changed(final SimulatedNode node) {
        changes++;
        if (node.announcer != null) {
            announcing.add(node.number);
        }
    }

    private void announce() {
        announcing.removeIf(number -> {
            final Announcer announcer = nodes.get(number).announcer;
            announcer.doWork();
            return announcer.waiting() == 0;
        });
    }

    private SimulatedNode route(final int[] wanted) {
        if (scenario.routing() == Scenario.Routing.RANDOM) {
            return nodes.get(random.nextInt(nodes.size()));
        }
        SimulatedNode best = null;
        double least = Double.POSITIVE_INFINITY;
        final int start = random.nextInt(nodes.size());
        for (int i = 0; i < nodes.size(); i++) {
            final SimulatedNode node = nodes.get((start + i) % nodes.size());
            int here = 0;
            while (here < wanted.length && node.has(wanted[here])) {
                here++;
            }
            final double cost = wanted.length - here + LOAD_WEIGHT * node.assigned;
            if (cost < least) {
                least = cost;
                best = node;
            }
        }
        return best;
    }

    Outcome outcome(final Trace trace, final double seconds) {
        final long held = nodes.stream().mapToLong(SimulatedNode::size).sum();
        final double traceSeconds = Math.max(
                        1,
                        trace.requests().getLast().timeMs()
                                - trace.requests().getFirst().timeMs())
                / 1e3;
        final double asked = directory.entriesRead + directory.recordsUpdated;
        final long[] times = pullUs.toLongArray();
        Arrays.sort(times);
        return new Outcome(
                trace.name(),
                scenario.nodes(),
                scenario.capacity(),
                scenario.policy().configured(),
                scenario.routing().name().toLowerCase(Locale.ROOT),
                scenario.sharing().name().toLowerCase(Locale.ROOT),
                request,
                chunks,
                (double) (local + pulled) / chunks,
                worthSaved / worth,
                local,
                pulled,
                evicted,
                moved,
                stale,
                percentileMs(times, 0.5),
                percentileMs(times, 0.99),
                lookups,
                lookups == 0 ? 0 : (double) directory.entriesRead / lookups,
                lookups == 0 ? 0 : (double) chunksAsked / lookups,
                changes == 0 ? 0 : (double) directory.recordsUpdated / changes,
                asked / traceSeconds / nodes.size(),
                directory.mostAsked() / traceSeconds,
                held == 0 ? 0 : (double) directory.bytes() / held,
                seconds);
    }

    private static double percentileMs(final long[] sortedUs, final double share) {
        return sortedUs.length == 0 ? 0 : sortedUs[(int) Math.min(sortedUs.length - 1, share * sortedUs.length)] / 1e3;
    }
}
