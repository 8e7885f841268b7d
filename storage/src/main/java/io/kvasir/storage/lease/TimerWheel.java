package io.kvasir.storage.lease;

/**
 * Deadlines of any number of {@link Timer}s, each a step to schedule and a step to cancel. A timer expires up to
 * {@value #TICK_NS} ns after its deadline, never before. Owned by the store's thread.
 *
 * <p>The timers themselves are the wheel's lists, so that it takes no memory for them. Agrona's
 * {@code DeadlineTimerWheel} gives each tick an array, all as long as the fullest one's, and looks for a free place in
 * it one by one: an engine that takes 80,000 leases within a tick would make that half a gigabyte.
 */
public final class TimerWheel {
    static final long TICK_NS = 1L << TimerWheel.TICK_BITS;
    private static final int TICK_BITS = 26;
    /** A power of two: 69 s a turn. A timer that ends later is passed once a turn. */
    private static final int SPOKES = 1024;

    private static final int NO_SPOKE = -1;

    private final Timer[] spokes = new Timer[SPOKES];
    private final long startNs;
    /** The first tick that has not been looked at in full. */
    private long tick;
    /** Where the look at that tick goes on. */
    private Timer cursor;

    private boolean underWay;
    private int size;

    /** @param nowNs any clock's, also below 0 */
    public TimerWheel(final long nowNs) {
        startNs = nowNs;
    }

    /** Anew, when it is scheduled already. */
    public void schedule(final Timer timer, final long deadlineNs) {
        timer.cancel();
        final long first = underWay ? tick + 1 : tick;
        final long due = Math.max(first, (deadlineNs - startNs) >> TICK_BITS);
        timer.deadlineNs(deadlineNs);
        timer.wheel = this;
        timer.spoke = (int) (due & (SPOKES - 1));
        timer.previous = null;
        timer.next = spokes[timer.spoke];
        if (timer.next != null) {
            timer.next.previous = timer;
        }
        spokes[timer.spoke] = timer;
        size++;
    }

    @SuppressWarnings("ReferenceEquality") // a timer is one place in one list
    void cancel(final Timer timer) {
        if (cursor == timer) {
            cursor = timer.next;
        }
        if (timer.next != null) {
            timer.next.previous = timer.previous;
        }
        if (timer.previous != null) {
            timer.previous.next = timer.next;
        } else {
            spokes[timer.spoke] = timer.next;
        }
        timer.previous = null;
        timer.next = null;
        timer.wheel = null;
        timer.spoke = NO_SPOKE;
        size--;
    }

    /**
     * Runs what has expired.
     *
     * @param limit timers that it looks at; the next call goes on behind them
     * @return how many have expired
     */
    public int poll(final long nowNs, final int limit) {
        final long now = (nowNs - startNs) >> TICK_BITS;
        int left = limit;
        int expired = 0;
        // A tick is looked at when it is over: then everything that was due in it is.
        while (tick < now) {
            if (!underWay) {
                // One turn finds all, however long nobody asked.
                tick = Math.max(tick, now - SPOKES);
                underWay = true;
                cursor = spokes[(int) (tick & (SPOKES - 1))];
            }
            while (cursor != null) {
                if (left-- == 0) {
                    return expired;
                }
                final Timer timer = cursor;
                cursor = timer.next;
                if (timer.deadlineNs() - nowNs <= 0) {
                    cancel(timer);
                    expired++;
                    timer.expired(nowNs);
                }
            }
            underWay = false;
            tick++;
        }
        return expired;
    }

    /** Timers that are scheduled. */
    public int size() {
        return size;
    }
}
