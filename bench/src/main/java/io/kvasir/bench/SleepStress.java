package io.kvasir.bench;

import java.util.concurrent.ConcurrentLinkedQueue;
import org.agrona.concurrent.ManyToOneConcurrentArrayQueue;
import org.openjdk.jcstress.annotations.Actor;
import org.openjdk.jcstress.annotations.Arbiter;
import org.openjdk.jcstress.annotations.Expect;
import org.openjdk.jcstress.annotations.JCStressTest;
import org.openjdk.jcstress.annotations.Outcome;
import org.openjdk.jcstress.annotations.State;
import org.openjdk.jcstress.infra.results.LL_Result;

/**
 * An owner goes to sleep while another thread queues something for it: it sees that, or its sleep is ended. The queues are
 * those of the engine thread ({@code StoreAgent}'s completions) and of the log's writer.
 */
public final class SleepStress {
    private SleepStress() {}

    @JCStressTest
    @Outcome(id = "took, -", expect = Expect.ACCEPTABLE, desc = "The last look found it.")
    @Outcome(id = "slept, woken", expect = Expect.ACCEPTABLE, desc = "The sleep was ended.")
    @Outcome(expect = Expect.FORBIDDEN, desc = "It sleeps, and nobody wakes it; or it took what was not complete.")
    @State
    public static class Completions extends Sleeper {
        public Completions() {
            super(new ConcurrentLinkedQueue<>());
        }

        @Actor
        public void other() {
            hand();
        }

        @Actor
        public void owner(final LL_Result result) {
            pollThenSleep(result);
        }

        @Arbiter
        public void arbiter(final LL_Result result) {
            after(result);
        }
    }

    @JCStressTest
    @Outcome(id = "took, -", expect = Expect.ACCEPTABLE, desc = "The last look found it.")
    @Outcome(id = "slept, woken", expect = Expect.ACCEPTABLE, desc = "The sleep was ended.")
    @Outcome(expect = Expect.FORBIDDEN, desc = "It sleeps, and nobody wakes it.")
    @State
    public static class LogLines extends Sleeper {
        public LogLines() {
            super(new ManyToOneConcurrentArrayQueue<>(2));
        }

        @Actor
        public void other() {
            hand();
        }

        @Actor
        public void owner(final LL_Result result) {
            askThenSleep(result);
        }

        @Arbiter
        public void arbiter(final LL_Result result) {
            after(result);
        }
    }
}
