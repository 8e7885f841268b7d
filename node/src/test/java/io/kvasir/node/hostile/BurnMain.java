package io.kvasir.node.hostile;

import java.lang.management.ManagementFactory;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;

/**
 * The control: uses as much of the processor, at the same times, as hostile engines did, and knows no node. Arguments:
 * {@code THREADS INTERVAL_MS USED_MS...}, the milliseconds of processor time that were used up to the end of each interval.
 * It is a JVM like theirs, so that its start and its end cost the machine the same; both are part of the course. Ends with
 * its standard input.
 */
public final class BurnMain {
    private static final long PAUSE_NS = 2_000_000;
    private static final int CHUNK = 20_000;

    private final long intervalNs;
    private final long[] usedNs;
    private final long beganNs = System.nanoTime();
    private volatile double result;

    private BurnMain(final long intervalNs, final long[] usedNs) {
        this.intervalNs = intervalNs;
        this.usedNs = usedNs;
    }

    public static void main(final String[] arguments) throws InterruptedException {
        HostileMain.endWithInput();
        final long[] usedNs = new long[arguments.length - 2];
        for (int i = 0; i < usedNs.length; i++) {
            usedNs[i] = TimeUnit.MILLISECONDS.toNanos(Long.parseLong(arguments[i + 2]));
        }
        final BurnMain burner = new BurnMain(TimeUnit.MILLISECONDS.toNanos(Long.parseLong(arguments[1])), usedNs);
        for (int i = 0; i < Integer.parseInt(arguments[0]); i++) {
            Thread.ofPlatform().name("burn-" + i).start(burner::burn);
        }
        Thread.currentThread().join();
    }

    /** Also what the JVM itself uses counts, as it did there. */
    private void burn() {
        final com.sun.management.OperatingSystemMXBean process =
                (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        long nowNs;
        while ((nowNs = System.nanoTime() - beganNs) < usedNs.length * intervalNs
                || process.getProcessCpuTime() < usedNs[usedNs.length - 1]) {
            if (process.getProcessCpuTime() < dueNs(nowNs)) {
                double sum = result;
                for (int i = 1; i < CHUNK; i++) {
                    sum += 1.0 / i;
                }
                result = sum;
            } else {
                LockSupport.parkNanos(PAUSE_NS);
            }
        }
    }

    private long dueNs(final long nowNs) {
        final int at = (int) Math.min(nowNs / intervalNs, usedNs.length - 1);
        final long before = at == 0 ? 0 : usedNs[at - 1];
        final double passed = Math.min(1, (double) (nowNs - at * intervalNs) / intervalNs);
        return before + (long) (passed * (usedNs[at] - before));
    }
}
