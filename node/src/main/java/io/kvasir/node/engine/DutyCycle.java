package io.kvasir.node.engine;

import java.util.function.BooleanSupplier;

/**
 * How an owner thread waits: busy while there is work and a little longer, then asleep. The node and the echo server that
 * benchmarks compare it with run in this same loop.
 */
public final class DutyCycle {
    /** What is driven. */
    public interface Worker {
        /** Does what there is to do, without blocking; returns how much that was. */
        int doWork();

        /** Sleeps until there is work; returns how much was done. */
        int await();
    }

    private DutyCycle() {}

    /** Returns when {@code running} says no; the worker looks at it at least as often as its await returns. */
    public static void run(final Worker worker, final long spinNs, final BooleanSupplier running) {
        long busyNs = System.nanoTime();
        while (running.getAsBoolean()) {
            if (worker.doWork() > 0) {
                busyNs = System.nanoTime();
            } else if (System.nanoTime() - busyNs < spinNs) {
                Thread.onSpinWait();
            } else if (worker.await() > 0) {
                busyNs = System.nanoTime();
            }
        }
    }
}
