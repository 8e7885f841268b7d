package io.kvasir.node.cluster;

import io.kvasir.node.placement.Placement;
import io.kvasir.storage.PeerStore;
import io.kvasir.storage.tenant.Tenant;
import io.kvasir.storage.tier.remote.RemoteTier;
import io.kvasir.transport.LinkContext;
import io.kvasir.transport.LinkCounters;
import io.kvasir.transport.ObjectVersion;
import io.kvasir.transport.Outcome;
import io.kvasir.transport.PeerLink;
import io.kvasir.transport.Priority;
import io.kvasir.transport.PullRequest;
import io.kvasir.transport.TransferListener;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.concurrent.atomic.LongAdder;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Predicate;
import java.util.function.UnaryOperator;
import java.util.stream.IntStream;
import org.agrona.concurrent.AgentRunner;
import org.agrona.concurrent.IdleStrategy;
import org.agrona.concurrent.NanoClock;
import org.agrona.concurrent.SystemNanoClock;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Objects on their way between this node and others: splits what a lookup wants among its holders, and keeps the figures
 * from which the next estimates come. Called on the store's thread, except where it says otherwise.
 */
final class Transfers implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(Transfers.class);
    /** Objects of one pull from one holder; more become several pulls, so that they progress fairly. */
    private static final int OBJECTS = 256;

    private final PeerStore store;
    private final Speeds speeds;
    private final long deadlineNs;
    private final NanoClock clock = SystemNanoClock.INSTANCE;
    private final LinkCounters linkCounters = new LinkCounters();
    private final Idle idle = new Idle();
    private final PeerLink link;
    private final SplittableRandom random = new SplittableRandom();
    private final StoreSource source;
    private final Pushes pushes;
    private final AgentRunner runner;
    /** Objects that no holder had although the directory said so. */
    final LongAdder stale = new LongAdder();
    /** Objects whose bytes a holder sent wrong. */
    final LongAdder corrupt = new LongAdder();

    private int underWay;
    private long queuedBytes;

    /** @param settings self, directory, secret and limits of the link */
    Transfers(
            final PeerStore store,
            final Speeds speeds,
            final Duration deadline,
            final UnaryOperator<LinkContext> settings) {
        this.store = store;
        this.speeds = speeds;
        deadlineNs = deadline.toNanos();
        source = new StoreSource(store);
        link = PeerLink.open(settings.apply(new LinkContext())
                .source(source)
                .sink(new StoreSink(store, null, clock))
                .errors(message -> LOG.info("Peer link: {}", message))
                .counters(linkCounters)
                .wakeup(idle::wake));
        pushes = new Pushes(store.mover(), store::execute, request -> link.push(request) != null);
        runner = new AgentRunner(idle, failure -> LOG.error("The peer link failed in a turn", failure), null, link);
        idle.thread = AgentRunner.startOnThread(runner);
    }

    /**
     * Busy while there is traffic; a few looks a millisecond for a while after this node's store had something for the link,
     * as it has for every object that moves; else one. What the network alone brings does not keep it awake: there is
     * always a heartbeat.
     */
    private static final class Idle implements IdleStrategy {
        private static final long BUSY_NS = 200_000;
        private static final long WARM_NS = 2_000_000_000L;
        private static final long SHORT_NS = 50_000;
        private static final long LONG_NS = 1_000_000;
        private volatile Thread thread;
        private volatile long wokenNs = System.nanoTime();
        /** The link's thread only. */
        private long workedNs = System.nanoTime();

        @Override
        public void idle(final int work) {
            if (work > 0) {
                workedNs = System.nanoTime();
            } else {
                idle();
            }
        }

        @Override
        public void idle() {
            final long nowNs = System.nanoTime();
            if (nowNs - workedNs < BUSY_NS) {
                Thread.onSpinWait();
            } else {
                LockSupport.parkNanos(nowNs - wokenNs < WARM_NS ? SHORT_NS : LONG_NS);
            }
        }

        @Override
        public void reset() {
            workedNs = System.nanoTime();
        }

        void wake() {
            wokenNs = System.nanoTime();
            if (thread != null) {
                LockSupport.unpark(thread);
            }
        }
    }

    LinkCounters counters() {
        return linkCounters;
    }

    /** Transfers under way. */
    int underWay() {
        return underWay + pushes.transfers();
    }

    /** Bytes of pulls under way, and of objects that peers get. */
    long queuedBytes() {
        return queuedBytes + source.lentBytes();
    }

    // ---- pulls

    /**
     * Each object from the holder that {@link Placement} names; the others are asked when that one fails.
     *
     * @param live whether a holder is in the cluster now; the directory's answer may be older
     */
    void pull(final Tenant tenant, final List<? extends RemoteTier.Wanted> objects, final Predicate<Peer> live) {
        final Map<List<Peer>, List<RemoteTier.Wanted>> byHolders = new LinkedHashMap<>();
        final long drawn = random.nextLong();
        for (final RemoteTier.Wanted object : objects) {
            final Holders copies = (Holders) object.copies();
            final List<Peer> holders =
                    order(copies, drawn).stream().filter(live).toList();
            if (holders.isEmpty()) {
                object.ended(false);
                continue;
            }
            speeds.started(holders.getFirst(), copies.bytes());
            queuedBytes += copies.bytes();
            byHolders.computeIfAbsent(holders, ignored -> new ArrayList<>()).add(object);
        }
        byHolders.forEach((holders, wanted) -> {
            for (int from = 0; from < wanted.size(); from += OBJECTS) {
                new Pull(tenant, holders, wanted.subList(from, Math.min(wanted.size(), from + OBJECTS))).start();
            }
        });
    }

    private List<Peer> order(final Holders copies, final long drawn) {
        final List<Holders.Copy> all = copies.all();
        final long[] expectedNs = new long[all.size()];
        for (int i = 0; i < expectedNs.length; i++) {
            expectedNs[i] = speeds.expectedNs(all.get(i), copies.bytes());
        }
        final int first = Placement.source(expectedNs.length, i -> expectedNs[i], drawn);
        return IntStream.range(0, expectedNs.length)
                .boxed()
                .sorted(Comparator.comparingLong(i -> i == first ? -1 : expectedNs[i]))
                .map(i -> all.get(i).peer())
                .toList();
    }

    private final class Pull implements TransferListener {
        private final Tenant tenant;
        private final List<Peer> holders;
        private final List<RemoteTier.Wanted> objects;
        private final long startedNs = clock.nanoTime();
        private long bytes;
        private boolean all = true;

        Pull(final Tenant tenant, final List<Peer> holders, final List<? extends RemoteTier.Wanted> objects) {
            this.tenant = tenant;
            this.holders = holders;
            this.objects = List.copyOf(objects);
        }

        void start() {
            underWay++;
            final PullRequest request = new PullRequest(
                    holders.stream().map(Names::peer).toList(),
                    objects.stream().map(object -> Names.name(object.id())).toList(),
                    startedNs + deadlineNs,
                    Priority.LOAD,
                    new StoreSink(store, tenant, clock),
                    this);
            if (link.pull(request) == null) {
                for (int i = 0; i < objects.size(); i++) {
                    onObject(i, Outcome.BUSY);
                }
                onEnd();
            }
        }

        @Override
        public void onObject(final int index, final Outcome outcome) {
            store.execute(() -> ended(objects.get(index), outcome));
        }

        @Override
        public void onEnd() {
            store.execute(() -> {
                underWay--;
                if (all && bytes > 0) {
                    speeds.measured(holders.getFirst(), bytes, clock.nanoTime() - startedNs);
                }
            });
        }

        @Override
        public void onCorrupt(final int index, final io.kvasir.transport.Peer holder, final ObjectVersion version) {
            corrupt.increment();
            LOG.warn(
                    "{} came from {} with wrong bytes; it is asked for elsewhere",
                    objects.get(index).id(),
                    holder);
        }

        private void ended(final RemoteTier.Wanted object, final Outcome outcome) {
            speeds.ended(holders.getFirst(), object.copies().bytes());
            queuedBytes -= object.copies().bytes();
            if (outcome == Outcome.STORED) {
                bytes += object.copies().bytes();
            } else {
                all = false;
                LOG.debug("{} did not come: {}", object.id(), outcome);
            }
            if (outcome == Outcome.MISSING) {
                stale.increment();
            }
            object.ended(outcome == Outcome.STORED || outcome == Outcome.ALREADY_THERE);
        }
    }

    /** It has left the cluster: what is on its way from it goes on with other holders now. */
    void gone(final Peer peer) {
        pushes.gone(peer);
        if (!link.gone(Names.peer(peer))) {
            LOG.debug("The peer link is too busy to hear that {} is gone", peer.name());
        }
    }

    // ---- pushes

    Pushes pushes() {
        return pushes;
    }

    /** Called every duty cycle. */
    int doWork() {
        return pushes.doWork();
    }

    /** Ends everything; the slots are given back in the store's queue when this returns. */
    @Override
    public void close() {
        runner.close();
    }
}
