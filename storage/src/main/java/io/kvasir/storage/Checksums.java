package io.kvasir.storage;

import java.lang.foreign.MemorySegment;
import java.util.concurrent.Executor;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.PriorityBlockingQueue;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;
import java.util.zip.CRC32C;

/**
 * Sums payload on a thread of its own: what somebody waits for first, the rest in the order it came. The caller holds
 * the bytes until the answer, which comes on the owner's thread.
 */
public final class Checksums implements AutoCloseable {
    private record Job(boolean urgent, long sequence, MemorySegment[] objects, Consumer<int[]> answer)
            implements Comparable<Job> {
        @Override
        public int compareTo(final Job other) {
            return urgent == other.urgent ? Long.compare(sequence, other.sequence) : urgent ? -1 : 1;
        }
    }

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

    /** CRC32C of the segment. */
    public static int of(final MemorySegment bytes) {
        final CRC32C crc = new CRC32C();
        for (long at = 0; at < bytes.byteSize(); at += SLICE) {
            crc.update(bytes.asSlice(at, Math.min(SLICE, bytes.byteSize() - at)).asByteBuffer());
        }
        return (int) crc.getValue();
    }

    /** Answers the checksums of all these objects at once: one wake-up for a batch. */
    void sum(final MemorySegment[] objects, final boolean urgent, final Consumer<int[]> answer) {
        queue.add(new Job(urgent, sequence.getAndIncrement(), objects, answer));
        worker.execute(this::work);
    }

    /** Does the most urgent job, which need not be the one that it was started for. */
    private void work() {
        final Job job = queue.poll();
        if (job != null) {
            final int[] sums = new int[job.objects.length];
            for (int i = 0; i < sums.length; i++) {
                sums[i] = of(job.objects[i]);
            }
            completions.execute(() -> job.answer.accept(sums));
        }
    }

    /** Answers of jobs that have not begun do not come any more. */
    @Override
    public void close() {
        queue.clear();
        worker.close();
    }
}
