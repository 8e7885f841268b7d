package io.kvasir.storage.tier.ssd;

import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import org.rocksdb.RocksDBException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The tier's threads: the one that finds what is on disk, then those that write, commit and read; their queues, and their
 * end. Owned by {@link SsdTier}.
 */
final class SsdThreads {
    private static final Logger LOG = LoggerFactory.getLogger(SsdThreads.class);
    /** Beyond the reads at the device: CRC32C takes about a tenth of the time of a read. */
    private static final int VERIFYING_THREADS = 1;

    private final SsdTier.Context context;
    private final TierState state;
    private final Path extents;
    private final boolean direct;
    private final BooleanSupplier closed;
    private final Runnable applyTouches;
    private final ArrayBlockingQueue<SsdReader.Read> reads;
    private final CountDownLatch opened = new CountDownLatch(1);
    private final List<Thread> readers = new ArrayList<>();
    private final Thread recovery = thread("kvasir-ssd-recovery", this::recover);
    /** What comes before the tier is warm. */
    private final List<Consumer<SsdWriter>> early = new ArrayList<>();

    private volatile String failure = "";
    // Set by the recovery thread before `opened`.
    private PlaceStore places;
    private SsdCommitter committer;
    private SsdWriter writer;
    private ExtentMaker maker;
    private Thread writerThread;
    private Thread committerThread;

    /**
     * @param direct extents are read and written with O_DIRECT
     * @param closed the tier takes no more requests
     * @param applyTouches tells the state of uses; called under its lock
     */
    SsdThreads(
            final SsdTier.Context context,
            final TierState state,
            final Path extents,
            final boolean direct,
            final BooleanSupplier closed,
            final Runnable applyTouches) {
        this.context = context;
        this.state = state;
        this.extents = extents;
        this.direct = direct;
        this.closed = closed;
        this.applyTouches = applyTouches;
        reads = new ArrayBlockingQueue<>(context.maxQueuedReads());
    }

    private static Thread thread(final String name, final Runnable work) {
        final Thread thread = new Thread(work, name);
        thread.setDaemon(true);
        return thread;
    }

    // ---- opening

    void open() {
        recovery.start();
    }

    private void recover() {
        final Path placesDirectory = context.directory().resolve("places");
        try {
            try (Recovery found = new Recovery(context, state, extents, placesDirectory, direct, closed)) {
                places = found.run();
                start();
                found.report();
            }
            maker.prepareAhead();
        } catch (final IOException | RocksDBException | RuntimeException | Error e) {
            LOG.error("ssd {}: it cannot be opened; the node goes on without it", context.directory(), e);
            failure = "it cannot be opened: " + e;
        }
        final List<Consumer<SsdWriter>> waiting;
        synchronized (early) {
            waiting = List.copyOf(early);
            early.clear();
            opened.countDown();
            waiting.forEach(command -> command.accept(writer));
        }
        if (!failure.isEmpty()) {
            reads.forEach(read -> reject(read.request()));
            reads.clear();
            complete(() -> context.listener().failed(failure));
        }
    }

    private void start() {
        committer = new SsdCommitter(context, state, places);
        final HeaderPages headers = new HeaderPages(context.reads());
        maker = new ExtentMaker(extents, state, context.extentBytes(), direct);
        writer = new SsdWriter(context, state, committer, headers, maker, () -> !reads.isEmpty(), applyTouches);
        committerThread = thread("kvasir-ssd-committer", committer);
        committerThread.start();
        writerThread = thread("kvasir-ssd-writer", writer);
        writerThread.start();
        final Semaphore device = new Semaphore(context.readThreads());
        for (int i = 0; i < context.readThreads() + VERIFYING_THREADS; i++) {
            readers.add(
                    thread("kvasir-ssd-reader-" + i, new SsdReader(context, state, committer, headers, reads, device)));
        }
        readers.forEach(Thread::start);
    }

    /** All that was there was found, or the tier cannot be used: {@link #failure} says. */
    boolean isOpen() {
        return opened.getCount() == 0;
    }

    boolean awaitOpen(final long boundNs) {
        return await(opened, boundNs);
    }

    /** The thread that opens the tier has ended. */
    boolean hasOpened() {
        return recovery.getState() == Thread.State.TERMINATED;
    }

    /** Why the tier cannot be used; empty while it can. */
    String failure() {
        return failure;
    }

    // ---- requests

    /** Runs the command with the writer, or with null when there is none; later while the tier opens. */
    void withWriter(final Consumer<SsdWriter> command) {
        if (opened.getCount() > 0) {
            synchronized (early) {
                if (opened.getCount() > 0) {
                    early.add(command);
                    return;
                }
            }
        }
        command.accept(writer);
    }

    void read(final ReadRequest request) {
        if (closed.getAsBoolean()
                || !failure.isEmpty()
                || !reads.offer(new SsdReader.Read(request, System.nanoTime()))) {
            reject(request);
        }
    }

    private void reject(final ReadRequest request) {
        context.metrics().rejected.increment();
        final String reason = closed.getAsBoolean()
                ? "the SSD tier is closed"
                : failure.isEmpty() ? "the queue holds " + context.maxQueuedReads() + " reads" : failure;
        complete(() -> request.callback().accept(new ReadOutcome.Rejected(reason)));
    }

    int queuedReads() {
        return reads.size();
    }

    /** Of a tier that is open. */
    int queuedWrites() {
        return writer.queued();
    }

    /** Of a tier that is open, for people: what keeps it from writing. */
    String trouble() {
        return (committer.trouble().isEmpty() ? "" : ", cannot write: " + committer.trouble())
                + (maker.noSpace().isEmpty() ? "" : ", file system full: " + maker.noSpace());
    }

    boolean flush(final long boundNs) {
        final CountDownLatch reached = new CountDownLatch(1);
        withWriter(to -> {
            if (to == null) {
                reached.countDown();
            } else {
                to.submit(new SsdWriter.Barrier(reached));
            }
        });
        return await(reached, boundNs);
    }

    private void complete(final Runnable callback) {
        context.completions().execute(callback);
    }

    // ---- the end

    /** Ends what is queued within the bound, and the threads; false: one of them is still at the device. */
    boolean close(final long boundNs) {
        final long deadline = System.nanoTime() + boundNs;
        if (!awaitOpen(boundNs)) {
            LOG.error("ssd {}: it still opens; closing gives up", context.directory());
            return false;
        }
        boolean ended = true;
        if (writer != null) {
            if (!flush(boundNs / 2)) {
                writer.hurry();
            }
            writer.submit(new SsdWriter.Stop());
            ended = join(writerThread, deadline);
            for (int i = 0; i < readers.size(); i++) {
                // Full only while readers drain it.
                while (!reads.offer(new SsdReader.Read(null, 0)) && System.nanoTime() < deadline) {
                    LockSupport.parkNanos(100_000);
                }
            }
            for (final Thread reader : readers) {
                ended &= join(reader, deadline);
            }
            committer.submit(new SsdCommitter.Stop());
            ended &= join(committerThread, deadline);
            maker.close();
        }
        if (!ended) {
            LOG.error("ssd {}: the device did not finish within the bound", context.directory());
            return false;
        }
        if (places != null) {
            places.close();
        }
        return true;
    }

    private static boolean await(final CountDownLatch latch, final long boundNs) {
        try {
            return latch.await(boundNs, TimeUnit.NANOSECONDS);
        } catch (final InterruptedException e) {
            Thread.currentThread().interrupt();
            return false;
        }
    }

    private static boolean join(final Thread thread, final long deadline) {
        try {
            final long left = Math.max(1, (deadline - System.nanoTime()) / 1_000_000);
            return thread.join(Duration.ofMillis(left));
        } catch (final InterruptedException e) {
            Thread.currentThread().interrupt();
            return false;
        }
    }
}
