package io.kvasir.storage.integrity;

import io.kvasir.storage.posix.PosixException;
import io.kvasir.storage.tier.dram.Payload;
import java.util.concurrent.Executor;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.PriorityBlockingQueue;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Sums payload on a thread of its own: what somebody waits for first, the rest in the order it came. The caller holds
 * the bytes until the answer, which comes on the owner's thread.
 */
final class Checksums implements AutoCloseable {
    /** From {@link #sum}: the bytes are not there. */
    static final long LOST = -1;

    private record Job(boolean urgent, long sequence, Payload[] objects, Consumer<long[]> answer)
            implements Comparable<Job> {
        @Override
        public int compareTo(final Job other) {
            return urgent == other.urgent ? Long.compare(sequence, other.sequence) : urgent ? -1 : 1;
        }
    }

    private static final Logger LOG = LoggerFactory.getLogger(Checksums.class);

    private final PriorityBlockingQueue<Job> queue = new PriorityBlockingQueue<>();
    private final AtomicLong sequence = new AtomicLong();
    private final ExecutorService worker;
    private final Executor completions;

    /** @param worker one thread, which this owns from now on */
    Checksums(final ExecutorService worker, final Executor completions) {
        this.worker = worker;
        this.completions = completions;
    }

    /** Answers the checksums of all these objects at once, or {@link #LOST}: one wake-up for a batch. */
    void sum(final Payload[] objects, final boolean urgent, final Consumer<long[]> answer) {
        queue.add(new Job(urgent, sequence.getAndIncrement(), objects, answer));
        worker.execute(this::work);
    }

    /** Does the most urgent job, which need not be the one that it was started for. */
    private void work() {
        final Job job = queue.poll();
        if (job != null) {
            final long[] sums = new long[job.objects.length];
            for (int i = 0; i < sums.length; i++) {
                sums[i] = sum(job.objects[i]);
            }
            completions.execute(() -> job.answer.accept(sums));
        }
    }

    private static long sum(final Payload object) {
        try {
            return Integer.toUnsignedLong(object.crc32c(object.byteSize()));
        } catch (final PosixException gone) {
            LOG.debug("payload cannot be summed", gone);
            return LOST;
        }
    }

    /** Answers of jobs that have not begun do not come any more. */
    @Override
    public void close() {
        queue.clear();
        worker.close();
    }
}
