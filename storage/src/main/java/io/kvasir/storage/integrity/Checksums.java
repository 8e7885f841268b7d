package io.kvasir.storage;

import io.kvasir.storage.posix.PosixException;
import io.kvasir.storage.tier.dram.Payload;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.Executor;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.PriorityBlockingQueue;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;
import java.util.zip.CRC32C;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Sums payload on a thread of its own: what somebody waits for first, the rest in the order it came. The caller holds
 * the bytes until the answer, which comes on the owner's thread.
 */
public final class Checksums implements AutoCloseable {
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
    private static final int SLICE = 1 << 26;

    private final PriorityBlockingQueue<Job> queue = new PriorityBlockingQueue<>();
    private final AtomicLong sequence = new AtomicLong();
    private final ExecutorService worker;
    private final Executor completions;

    /** @param worker one thread, which this owns from now on */
    Checksums(final ExecutorService worker, final Executor completions) {
        this.worker = worker;
        this.completions = completions;
    }

    /** CRC32C of the segment, which must be memory that no other process can take away. */
    public static int of(final MemorySegment bytes) {
        final CRC32C crc = new CRC32C();
        for (long at = 0; at < bytes.byteSize(); at += SLICE) {
            crc.update(bytes.asSlice(at, Math.min(SLICE, bytes.byteSize() - at)).asByteBuffer());
        }
        return (int) crc.getValue();
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
