package io.kvasir.storage.lease;

/** Something that ends at a time unless it is canceled before. It is its own place in the {@link TimerWheel}. */
public abstract class Timer {
    /** Null while it is not scheduled. */
    TimerWheel wheel;

    Timer previous;
    Timer next;
    int spoke;
    private long deadlineNs;

    /** Its time is over. Runs once for each scheduling, on the thread that polls the wheel. */
    protected abstract void expired(long nowNs);

    /** By the clock with which the wheel is polled; meaningless before the first scheduling. */
    public final long deadlineNs() {
        return deadlineNs;
    }

    final void deadlineNs(final long ns) {
        deadlineNs = ns;
    }

    public final boolean isScheduled() {
        return wheel != null;
    }

    /** Does nothing when it is not scheduled. */
    public final void cancel() {
        if (wheel != null) {
            wheel.cancel(this);
        }
    }
}
