package io.kvasir.node.engine;

/**
 * Ends an owner's sleep when another thread has queued something for it, and costs a read when it is awake. The owner
 * calls {@link #aboutToSleep}, then looks at its queues once more, and sleeps only when they are empty; so either it sees
 * what was queued, or the thread that queued it sees that the owner sleeps.
 */
public final class WakeupSignal {
    private final Runnable wake;
    private volatile boolean asleep;

    /** @param wake ends the owner's sleep, also one that has not begun yet; any thread runs it */
    public WakeupSignal(final Runnable wake) {
        this.wake = wake;
    }

    /** Owner: what is signalled from now on ends the sleep. */
    public void aboutToSleep() {
        asleep = true;
    }

    /** Owner: it works again. */
    public void awake() {
        asleep = false;
    }

    /** Any thread, after it has queued something. */
    public void signal() {
        if (asleep) {
            wake.run();
        }
    }
}
