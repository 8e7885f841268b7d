package io.kvasir.node.engine;

import io.prometheus.client.Collector;
import io.prometheus.client.CollectorRegistry;
import io.prometheus.client.CounterMetricFamily;
import io.prometheus.client.GaugeMetricFamily;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Collectors;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Sees when the owner's duty cycle takes too long, and logs what the thread was doing: its Java stack, where it waits in the
 * kernel, whether it had a processor, and its page faults. The owner says when a cycle begins and ends; a thread of its own
 * looks on. Modeled on Agrona's DutyCycleStallTracker, which only counts.
 */
public final class StallTracker implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(StallTracker.class);
    /** A cycle that takes longer is a stall. */
    static final long LIMIT_NS = TimeUnit.MILLISECONDS.toNanos(100);

    private static final long TICK_NS = TimeUnit.MILLISECONDS.toNanos(25);
    private static final int FRAMES = 24;
    private static final double NANOS = 1e9;

    /** When the cycle began; 0 while the owner sleeps. */
    private final AtomicLong begunNs = new AtomicLong();

    private final AtomicLong longestNs = new AtomicLong();
    private final AtomicLong stalls = new AtomicLong();
    private final AtomicLong lastStallNs = new AtomicLong();
    private final Thread watchdog =
            Thread.ofPlatform().daemon().name("kvasir-stalls").unstarted(this::watch);
    private volatile Thread owner;
    private volatile String ownersTask;
    private volatile boolean closed;

    // ---- the watchdog's
    private long seenNs;
    private ThreadState before;
    private boolean reported;
    private long reportAtNs;

    /** The thread that calls this is the one that is watched. */
    public void attach() {
        ownersTask = ThreadState.currentTask();
        owner = Thread.currentThread();
        watchdog.start();
    }

    /** Owner: a cycle begins, or another part of one after a sleep. */
    void begin(final long nowNs) {
        begunNs.lazySet(nowNs | 1);
    }

    /** Owner: the cycle is over, or the owner goes to sleep. */
    void end() {
        final long begun = begunNs.get();
        if (begun == 0) {
            return;
        }
        final long took = System.nanoTime() - begun;
        if (took > longestNs.get()) {
            longestNs.lazySet(took);
        }
        if (took >= LIMIT_NS) {
            lastStallNs.lazySet(took);
            stalls.incrementAndGet();
        }
        begunNs.lazySet(0);
    }

    /** The longest cycle, one that is under way included. */
    long longestNs() {
        final long begun = begunNs.get();
        return Math.max(longestNs.get(), begun == 0 ? 0 : System.nanoTime() - begun);
    }

    long stalls() {
        return stalls.get();
    }

    /** Exports the longest cycle and the number of stalls. */
    public void register(final CollectorRegistry registry) {
        new Collector() {
            @Override
            public List<MetricFamilySamples> collect() {
                return List.of(
                        new GaugeMetricFamily(
                                "kvasir_node_duty_cycle_longest_seconds",
                                "The longest duty cycle of the engine thread since the start.",
                                longestNs() / NANOS),
                        new CounterMetricFamily(
                                "kvasir_node_duty_cycle_stalls_total",
                                "Duty cycles of the engine thread that took more than 100 ms.",
                                stalls()));
            }
        }.register(registry);
    }

    // ---- the watchdog

    private void watch() {
        long lookedNs = System.nanoTime();
        while (!closed) {
            LockSupport.parkNanos(this, TICK_NS);
            final long nowNs = System.nanoTime();
            if (nowNs - lookedNs > TICK_NS + LIMIT_NS) {
                LOG.atWarn()
                        .addKeyValue("ms", TimeUnit.NANOSECONDS.toMillis(nowNs - lookedNs - TICK_NS))
                        .log(
                                "The watchdog of the engine thread was late itself: the process had no processor, was paused,"
                                        + " waited for memory, or collected garbage");
            }
            try {
                look(nowNs);
            } catch (final RuntimeException failure) {
                LOG.warn("The engine thread cannot be looked at", failure);
            }
            lookedNs = System.nanoTime();
        }
    }

    private void look(final long nowNs) {
        final long begun = begunNs.get();
        if (begun != seenNs) {
            if (reported) {
                ended();
            }
            seenNs = begun;
            before = null;
            reported = false;
            reportAtNs = LIMIT_NS;
        }
        if (begun == 0) {
            return;
        }
        final long took = nowNs - begun;
        if (before == null) {
            // Not for a cycle that has only just begun: nearly all end before the next look.
            if (took >= TICK_NS) {
                before = ThreadState.read(ownersTask);
            }
        } else if (took >= reportAtNs) {
            reported = true;
            reportAtNs *= 10;
            // The thread's Java stack is to be had at a safepoint only, which one that waits for a page does not reach.
            LOG.atWarn()
                    .addKeyValue("ms", TimeUnit.NANOSECONDS.toMillis(took))
                    .addKeyValue("state", ThreadState.read(ownersTask).since(before))
                    .log("The engine thread stands still");
            LOG.atWarn().addKeyValue("stack", stack()).log("The engine thread stands here");
        }
    }

    private void ended() {
        LOG.atWarn()
                .addKeyValue("ms", TimeUnit.NANOSECONDS.toMillis(lastStallNs.get()))
                .addKeyValue("state", ThreadState.read(ownersTask).since(before))
                .log("The engine thread goes on");
    }

    private String stack() {
        return Arrays.stream(owner.getStackTrace())
                .limit(FRAMES)
                .map(StackTraceElement::toString)
                .collect(Collectors.joining(" < "));
    }

    @Override
    public void close() {
        closed = true;
        LockSupport.unpark(watchdog);
    }
}
