package io.kvasir.bench;

import io.kvasir.node.engine.WakeupSignal;
import java.util.Queue;
import java.util.concurrent.atomic.AtomicInteger;
import org.openjdk.jcstress.infra.results.LL_Result;

/** One owner, and what may end its sleep. */
class Sleeper {
    /** What the other thread hands over: plain memory, which the queue must publish. */
    static final class Message {
        int content;
    }

    private final AtomicInteger wakeups = new AtomicInteger();
    private final WakeupSignal signal = new WakeupSignal(wakeups::incrementAndGet);
    private final Queue<Message> queue;
    private boolean sleeps;

    Sleeper(final Queue<Message> queue) {
        this.queue = queue;
    }

    void hand() {
        final Message message = new Message();
        message.content = 1;
        queue.add(message);
        signal.signal();
    }

    /** As the engine thread: the last look takes what is there. */
    void pollThenSleep(final LL_Result result) {
        signal.aboutToSleep();
        final Message message = queue.poll();
        sleeps = message == null;
        result.r1 = message == null ? "slept" : message.content == 1 ? "took" : "took a message without content";
    }

    /** As the log's writer: the last look only asks whether something is there. */
    void askThenSleep(final LL_Result result) {
        signal.aboutToSleep();
        sleeps = queue.isEmpty();
        result.r1 = sleeps ? "slept" : "took";
    }

    void after(final LL_Result result) {
        result.r2 = !sleeps ? "-" : wakeups.get() > 0 ? "woken" : "for ever";
    }
}
