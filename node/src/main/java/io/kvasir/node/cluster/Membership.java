package io.kvasir.node.cluster;

import io.kvasir.node.cluster.SplitProbe.Sighting;
import io.kvasir.node.cluster.directory.IgniteDirectory;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Who is in the cluster. One thread starts an Ignite instance, says what it sees, and starts another when that one
 * failed, was cut off, or turns out to be the smaller part of a cluster that had split. Whatever happens to Ignite, the
 * process and its engine API go on.
 */
public final class Membership implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(Membership.class);
    private static final long TELL_NS = TimeUnit.SECONDS.toNanos(1);
    private static final long TICK_NS = TimeUnit.MILLISECONDS.toNanos(50);
    private static final long FIRST_PAUSE_NS = TimeUnit.MILLISECONDS.toNanos(500);
    private static final long LONGEST_PAUSE_NS = TimeUnit.SECONDS.toNanos(10);
    private static final long STOP_MS = 10_000;
    /** Sightings in a row of another cluster, before this node leaves its own for it: joins take a moment. */
    private static final int SIGHTINGS = 2;
    /** Former members that are asked whether they are in another cluster now. */
    private static final int REMEMBERED = 64;
    /** A holder that is not there may be about to come back with the same incarnation. */
    private static final long GONE_NS = TimeUnit.SECONDS.toNanos(10);

    private final ClusterContext context;
    private final Thread thread;
    private final AtomicReference<String> failure = new AtomicReference<>();
    private final Queue<Sighting> sightings = new ConcurrentLinkedQueue<>();
    private final Map<String, Integer> others = new HashMap<>();
    /** Address to when it was last seen: former members, and those of other clusters. */
    private final Map<String, Long> remembered = new LinkedHashMap<>();

    private final Map<Long, Long> goneSinceNs = new HashMap<>();
    private final AtomicReference<Thread> prober = new AtomicReference<>();
    private volatile boolean changed;
    private volatile boolean closing;
    private volatile ClusterView view = ClusterView.NONE;
    private volatile String trouble = "";
    private SplitProbe probe;
    private IgniteInstance instance;
    private List<String> preferred = List.of();
    private int serial;
    private long pauseNs = FIRST_PAUSE_NS;
    private long startAtNs = System.nanoTime();
    private long probeAtNs;
    private long sweepAtNs;
    private long tellAtNs;
    private int[] partitions = {};
    private int partition;
    private long swept;

    private Membership(final ClusterContext context) {
        this.context = context.conclude();
        thread = Thread.ofPlatform().daemon().name("kvasir-membership").unstarted(this::run);
    }

    /** Returns at once; joins in the background. */
    public static Membership start(final ClusterContext context) {
        final Membership membership = new Membership(context);
        membership.thread.start();
        return membership;
    }

    /** What was seen last; any thread. */
    public ClusterView view() {
        return view;
    }

    /** Why this node is in no cluster now; empty when it is in one, or still joining. */
    public String trouble() {
        return trouble;
    }

    /** Starts of Ignite in this process. */
    public int starts() {
        return serial;
    }

    /** Records of gone holders that this node removed from its part of the directory. */
    public long swept() {
        return swept;
    }

    // ---- the thread

    private void run() {
        while (!closing) {
            try {
                turn(System.nanoTime());
            } catch (final RuntimeException | LinkageError failed) {
                LOG.warn("The cluster's membership failed in a turn; it goes on", failed);
                LockSupport.parkNanos(FIRST_PAUSE_NS);
            }
            if (!closing && !changed && failure.get() == null) {
                LockSupport.parkNanos(TICK_NS);
            }
        }
        stop("this node is stopping");
        if (probe != null) {
            probe.close();
        }
        delete(context.workDirectory());
    }

    private void turn(final long nowNs) {
        if (instance == null) {
            if (nowNs - startAtNs >= 0) {
                start();
            }
            return;
        }
        final String reason = failure.getAndSet(null);
        if (reason != null) {
            LOG.warn("Ignite failed ({}); it is started again, and the engine API serves on", reason);
            restart(List.of(), "Ignite failed: " + reason);
            return;
        }
        if (changed) {
            changed = false;
            look();
        }
        if (nowNs - probeAtNs >= 0) {
            probeAtNs = nowNs + context.probeInterval().toNanos();
            probe();
        }
        merge();
        if (instance != null && nowNs - tellAtNs >= 0) {
            tellAtNs = nowNs + TELL_NS;
            if (!view.peers().isEmpty()) {
                instance.tell(context.holder(), context.status().get());
            }
        }
        if (instance != null && nowNs - sweepAtNs >= 0) {
            sweepAtNs = nowNs + context.sweepInterval().toNanos();
            sweep(nowNs);
        }
    }

    private void start() {
        final List<String> seeds = preferred.isEmpty() ? context.seeds() : preferred;
        preferred = List.of();
        failure.set(null);
        try {
            if (probe == null) {
                probe = new SplitProbe(
                        new InetSocketAddress(context.host(), context.port() + Ports.PROBE),
                        context.secret(),
                        this::sighting,
                        this::seen);
            }
            Files.createDirectories(context.workDirectory());
            instance = IgniteInstance.start(context, seeds, ++serial, this::failed, this::onChange);
            trouble = "";
            pauseNs = FIRST_PAUSE_NS;
            probeAtNs = System.nanoTime() + context.probeInterval().toNanos();
            others.clear();
            look();
            LOG.atInfo()
                    .addKeyValue("nodes", view.size())
                    .addKeyValue("address", context.host() + ":" + context.port())
                    .log("This node is in the cluster");
        } catch (final RuntimeException | IOException failed) {
            trouble = reason(failed);
            startAtNs = System.nanoTime() + pauseNs;
            LOG.warn(
                    "The cluster cannot be joined, next try in {} ms: {}",
                    TimeUnit.NANOSECONDS.toMillis(pauseNs),
                    trouble);
            LOG.debug("The cluster cannot be joined", failed);
            pauseNs = Math.min(LONGEST_PAUSE_NS, pauseNs * 2);
        }
    }

    /** The innermost message says what to do; those around it say where in Ignite it was said. */
    private static String reason(final Throwable failed) {
        Throwable inner = failed;
        while (inner.getCause() != null) {
            inner = inner.getCause();
        }
        return inner.getMessage() == null ? inner.toString() : inner.getMessage();
    }

    void failed(final String reason) {
        failure.compareAndSet(null, reason);
        LockSupport.unpark(thread);
    }

    private void onChange() {
        changed = true;
        LockSupport.unpark(thread);
    }

    private void look() {
        final Map<Long, Peer> peers = instance.peers();
        view.peers().forEach((holder, peer) -> {
            if (!peers.containsKey(holder)) {
                LOG.info("Node {} has left the cluster, {} nodes now", peer.name(), peers.size() + 1);
                remember(peer.address());
            }
        });
        peers.forEach((holder, peer) -> {
            if (!view.peers().containsKey(holder)) {
                LOG.info("Node {} at {} is in the cluster", peer.name(), peer.address());
            }
        });
        say(new ClusterView(serial, instance.directory(), Map.copyOf(peers), instance.cluster()));
    }

    private void say(final ClusterView next) {
        view = next;
        context.onView().accept(next);
    }

    private void remember(final String address) {
        remembered.put(address, System.nanoTime());
        if (remembered.size() > REMEMBERED) {
            remembered.remove(remembered.keySet().iterator().next());
        }
    }

    private void restart(final List<String> towards, final String reason) {
        stop(reason);
        preferred = towards;
        startAtNs = System.nanoTime();
    }

    /** Gives the instance up, and waits for its end within a bound; it may be sick. */
    private void stop(final String reason) {
        if (instance == null) {
            return;
        }
        final IgniteInstance old = instance;
        instance = null;
        partitions = new int[0];
        trouble = reason;
        say(new ClusterView(0, null, Map.of(), ""));
        final Thread stopping = Thread.ofPlatform()
                .daemon()
                .name("kvasir-ignite-stop")
                .start(() -> {
                    try {
                        old.close();
                    } catch (final RuntimeException failed) {
                        LOG.warn("Ignite did not stop in order: {}", failed.toString());
                    }
                });
        try {
            stopping.join(STOP_MS);
            if (stopping.isAlive()) {
                LOG.warn("Ignite did not stop in {} ms; it is left behind", STOP_MS);
            }
        } catch (final InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    // ---- splits

    private Sighting sighting() {
        final ClusterView now = view;
        final List<String> addresses = new ArrayList<>();
        addresses.add(context.host() + ":" + context.port());
        now.peers().values().stream().limit(16).forEach(peer -> addresses.add(peer.address()));
        return new Sighting(now.cluster(), now.size(), context.incarnation(), addresses);
    }

    private void seen(final Sighting other) {
        if (sightings.size() < REMEMBERED) {
            sightings.add(other);
        }
    }

    /** Asks, on a thread of its own, everybody who might be there and is not in this cluster. */
    private void probe() {
        if (prober.get() != null) {
            return;
        }
        final Set<InetSocketAddress> known =
                new HashSet<>(SeedFinder.resolve(List.of(context.host() + ":" + context.port())));
        view.peers().values().forEach(peer -> known.addAll(SeedFinder.resolve(List.of(peer.address()))));
        final List<String> former = List.copyOf(remembered.keySet());
        final Thread asking = Thread.ofVirtual().name("kvasir-probe").unstarted(() -> {
            try {
                final Set<InetSocketAddress> targets = SeedFinder.resolve(context.seeds());
                targets.addAll(SeedFinder.resolve(former));
                targets.removeAll(known);
                for (final InetSocketAddress target : targets) {
                    try {
                        probe.ask(target);
                    } catch (final IOException nobody) {
                        LOG.debug("{} is in no cluster that this node knows: {}", target, nobody.getMessage());
                    }
                }
            } finally {
                prober.set(null);
            }
        });
        prober.set(asking);
        asking.start();
    }

    private void merge() {
        for (Sighting other = sightings.poll(); other != null; other = sightings.poll()) {
            final ClusterView mine = view;
            if (other.cluster().isEmpty()
                    || other.cluster().equals(mine.cluster())
                    || mine.peers().containsKey(Peer.holder(other.node()))) {
                others.clear();
                continue;
            }
            other.addresses().forEach(this::remember);
            if (others.merge(other.cluster(), 1, Integer::sum) < SIGHTINGS || !givesWay(mine, other)) {
                continue;
            }
            LOG.warn(
                    "The cluster had split: this part has {} nodes, the other {}; this node joins the other",
                    mine.size(),
                    other.size());
            restart(other.addresses(), "it joins the larger part of a cluster that had split");
            return;
        }
    }

    /** The smaller cluster gives way; of two equal ones, that with the lower id. */
    static boolean givesWay(final ClusterView mine, final Sighting other) {
        return mine.size() != other.size()
                ? mine.size() < other.size()
                : mine.cluster().compareTo(other.cluster()) < 0;
    }

    // ---- anti-entropy

    private void sweep(final long nowNs) {
        final ClusterView now = view;
        final IgniteDirectory directory = instance.directory();
        if (partition >= partitions.length) {
            partitions = directory.primaryPartitions();
            partition = 0;
            goneSinceNs.keySet().removeIf(now.peers()::containsKey);
            goneSinceNs.values().removeIf(since -> nowNs - since > 100 * GONE_NS);
        }
        if (partition < partitions.length) {
            swept += directory.sweep(
                    partitions[partition++],
                    holder -> holder == context.holder()
                            || now.peers().containsKey(holder)
                            || nowNs - goneSinceNs.computeIfAbsent(holder, ignored -> nowNs) < GONE_NS,
                    held -> audit(now, held));
        }
    }

    private void audit(final ClusterView now, final IgniteDirectory.Held held) {
        if (held.holder() == context.holder()) {
            context.onAudit().accept(new ClusterContext.Audit(held.keys(), held.sequences()));
            return;
        }
        final Peer peer = now.peers().get(held.holder());
        if (peer != null) {
            instance.audit(peer, held);
        }
    }

    // ---- the end

    private static void delete(final Path directory) {
        if (!Files.exists(directory)) {
            return;
        }
        try (Stream<Path> paths = Files.walk(directory)) {
            for (final Path path : paths.sorted(Comparator.reverseOrder()).toList()) {
                Files.deleteIfExists(path);
            }
        } catch (final IOException left) {
            LOG.debug("Ignite's work directory could not be removed", left);
        }
    }

    /** Leaves the cluster; waits for that within a bound. */
    @Override
    public void close() {
        closing = true;
        LockSupport.unpark(thread);
        try {
            thread.join(STOP_MS + 2000);
        } catch (final InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
    }
}
