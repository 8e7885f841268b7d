package io.kvasir.storage.tier.ssd;

import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.SizeClass;
import io.kvasir.storage.posix.PosixException;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.Semaphore;
import java.util.concurrent.locks.LockSupport;
import org.agrona.collections.IntArrayList;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The read threads' work: find the place, hold it, read straight into the destination, verify, let go. There are more
 * threads than reads at the device, so that the next read begins while the last one's bytes are being verified.
 */
final class SsdReader implements Runnable {
    private static final Logger LOG = LoggerFactory.getLogger(SsdReader.class);
    /** How often a read that the system refused is tried again, and the pause before, which doubles. */
    private static final int RETRIES = 3;

    private static final long RETRY_PAUSE_NS = 1_000_000;

    /** A null request ends one thread. */
    record Read(ReadRequest request, long startedNs) {}

    private final SsdTier.Context context;
    private final TierState state;
    private final SsdCommitter committer;
    private final ArrayBlockingQueue<Read> queue;
    private final Semaphore device;

    SsdReader(
            final SsdTier.Context context,
            final TierState state,
            final SsdCommitter committer,
            final ArrayBlockingQueue<Read> queue,
            final Semaphore device) {
        this.context = context;
        this.state = state;
        this.committer = committer;
        this.queue = queue;
        this.device = device;
    }

    @Override
    public void run() {
        while (true) {
            final Read read;
            try {
                read = queue.take();
            } catch (final InterruptedException e) {
                Thread.currentThread().interrupt();
                return;
            }
            if (read.request() == null) {
                return;
            }
            ReadOutcome outcome;
            try {
                outcome = read(read.request());
            } catch (final RuntimeException | Error e) {
                LOG.error("ssd {}: a read failed", context.directory(), e);
                outcome = new ReadOutcome.Failed(e.toString());
            }
            count(outcome, read);
            final ReadOutcome answer = outcome;
            context.completions().execute(() -> read.request().callback().accept(answer));
        }
    }

    private void count(final ReadOutcome outcome, final Read read) {
        final SsdMetrics metrics = context.metrics();
        switch (outcome) {
            case ReadOutcome.Loaded loaded -> {
                metrics.reads.increment();
                metrics.readBytes.add(loaded.object().length());
                metrics.readNanos.accept(System.nanoTime() - read.startedNs());
            }
            case ReadOutcome.Miss miss -> metrics.readMisses.increment();
            case ReadOutcome.Corrupt corrupt -> metrics.corrupt.increment();
            case ReadOutcome.Rejected rejected -> metrics.rejected.increment();
            case ReadOutcome.Failed failed -> metrics.readErrors.increment();
        }
    }

    private ReadOutcome read(final ReadRequest request) {
        final ObjectId id = request.id();
        final int entry;
        final StoredObject object;
        final Extent extent;
        final long offset;
        state.lock.lock();
        try {
            entry = state.findDurable(id, context.clock().millis());
            if (entry < 0) {
                dropExpired(id);
                return ReadOutcome.MISS;
            }
            object = state.entries.object(entry);
            extent = state.pool.get(state.entries.extent(entry));
            offset = extent.offset(state.entries.slot(entry));
            state.beginRead(entry);
        } finally {
            state.lock.unlock();
        }
        boolean bad = false;
        try {
            final long bytes = SizeClass.pageBytes(object.length());
            if (bytes > request.destination().byteSize()) {
                return new ReadOutcome.Failed("the object takes " + bytes + " bytes and the destination has "
                        + request.destination().byteSize());
            }
            final MemorySegment destination = request.destination().asSlice(0, bytes);
            device.acquireUninterruptibly();
            try {
                transfer(extent, destination, offset);
            } finally {
                device.release();
            }
            bad = request.checksum().of(object.length()) != object.crc32c();
            return bad ? ReadOutcome.CORRUPT : new ReadOutcome.Loaded(object);
        } catch (final PosixException e) {
            if (e.error() == PosixException.Errno.EFAULT) {
                LOG.debug("ssd {}: the memory to read into is gone", context.directory(), e);
            } else {
                LOG.warn("ssd {}: {} cannot be read at {}", context.directory(), extent.path, offset, e);
            }
            // The medium failed, again and again: what cannot be read is not offered again. Other errors, of memory or
            // of the process, say nothing about the object, which stays.
            bad = e.error() == PosixException.Errno.EIO;
            return new ReadOutcome.Failed(e.getMessage());
        } finally {
            letGo(entry, bad);
        }
    }

    /** A read that fails is tried again: most errors, even of the medium, pass. */
    private void transfer(final Extent extent, final MemorySegment destination, final long offset)
            throws PosixException {
        for (int attempt = 0; ; attempt++) {
            try {
                context.reads().read(extent.fd, destination, offset);
                return;
            } catch (final PosixException e) {
                if (attempt == RETRIES) {
                    throw e;
                }
                LockSupport.parkNanos(RETRY_PAUSE_NS << attempt);
            }
        }
    }

    /** Holds the lock. */
    private void dropExpired(final ObjectId id) {
        final int entry = state.find(id.hash64());
        if (entry >= 0
                && state.entries.state(entry) == EntryTable.DURABLE
                && state.entries.is(entry, id)
                && state.isExpired(entry, context.clock().millis())) {
            drop(entry);
        }
    }

    /** Holds the lock. */
    private void drop(final int entry) {
        final IntArrayList victim = SsdWriter.single(entry);
        state.beginDelete(victim);
        context.metrics().dropped.increment();
        committer.submit(new SsdCommitter.Deleted(victim, outcome -> {}));
    }

    private void letGo(final int entry, final boolean bad) {
        String dropped = null;
        state.lock.lock();
        try {
            if (bad && state.entries.state(entry) == EntryTable.DURABLE) {
                dropped = state.entries.id(entry) + " in extent " + state.entries.extent(entry) + " slot "
                        + state.entries.slot(entry);
                drop(entry);
            }
            state.endRead(entry);
        } finally {
            state.lock.unlock();
        }
        if (dropped != null) {
            LOG.warn("ssd {}: {} is not what was written; it is dropped", context.directory(), dropped);
        }
    }
}
