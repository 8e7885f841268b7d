package io.kvasir.node.engine;

import java.util.function.BooleanSupplier;

/**
 * How an owner thread waits: busy while there is work and a little longer, then asleep. A thread that
 * yields still takes its share from those who have work, so where threads wait for a processor it sleeps at once. The node and the echo server that
 * benchmarks compare it with run in this same loop.
 */
public final class DutyCycle {
    /** Idle for longer than this, a waking thread is polite. */
    private static final long IMPOLITE_NS = 50_000;

    /** What is driven. */
    public interface Worker {
        /** How long to stay awake after there was work. */
        long spinNs();

        /** Does what there is to do, without blocking; returns how much that was. */
        int doWork();

        /** Sleeps until there is work; returns how much was done. */
        int await();
    }

    private DutyCycle() {}

    /** Returns when {@code running} says no; the worker looks at it at least as often as its await returns. */
    @SuppressWarnings("ThreadPriorityCheck") // No correctness rests on the yield.
    public static void run(final Worker worker, final BooleanSupplier running) {
        final Crowd crowd = Crowd.ofThisMachine();
        long busyNs = System.nanoTime();
        while (running.getAsBoolean()) {
            if (worker.doWork() > 0) {
                busyNs = System.nanoTime();
                continue;
            }
            final long idleNs = System.nanoTime() - busyNs;
            if (idleNs < Math.min(IMPOLITE_NS, worker.spinNs())) {
                Thread.onSpinWait();
            } else if (idleNs < worker.spinNs() && !crowd.isThere()) {
                // Awake for a caller to come, but others on this processor go first.
                Thread.yield();
            } else if (worker.await() > 0) {
                busyNs = System.nanoTime();
            }
        }
    }
}
