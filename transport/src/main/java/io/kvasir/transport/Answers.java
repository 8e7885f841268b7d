package io.kvasir.transport;

import java.util.concurrent.atomic.AtomicBoolean;
import org.agrona.concurrent.ManyToOneConcurrentArrayQueue;

/**
 * The way back from the owners of bytes and slots to the link's thread. A place is taken before something is asked, so
 * an answer always finds room and never waits. {@link #take} and {@link #drain} are the link's thread's.
 */
final class Answers {
    private final ManyToOneConcurrentArrayQueue<Runnable> queue;
    private final int places;
    private final Runnable wakeup;
    private int taken;

    Answers(final int places, final Runnable wakeup) {
        this.places = places;
        this.wakeup = wakeup;
        queue = new ManyToOneConcurrentArrayQueue<>(Math.max(2, places));
    }

    /** False: as many are asked for as may be; try again after some answered. */
    boolean take() {
        if (taken == places) {
            return false;
        }
        taken++;
        return true;
    }

    /** From any thread, once for each place that was taken. */
    void answer(final Runnable answer) {
        if (!queue.offer(answer)) {
            throw new IllegalStateException("more answers than were asked for: each may be given once");
        }
        wakeup.run();
    }

    int drain() {
        int work = 0;
        for (Runnable answer = queue.poll(); answer != null; answer = queue.poll()) {
            taken--;
            work++;
            answer.run();
        }
        return work;
    }

    /** Each question is answered once. */
    static void once(final AtomicBoolean answered) {
        if (!answered.compareAndSet(false, true)) {
            throw new IllegalStateException("answered twice");
        }
    }
}
