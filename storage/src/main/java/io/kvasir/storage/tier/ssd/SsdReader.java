package io.kvasir.storage.tier.ssd;

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
    private final HeaderPages headers;
    private final ArrayBlockingQueue<Read> queue;
    private final Semaphore device;

    SsdReader(
            final SsdTier.Context context,
            final TierState state,
            final SsdCommitter committer,
            final HeaderPages headers,
            final ArrayBlockingQueue<Read> queue,
            final Semaphore device) {
        this.context = context;
        this.state = state;
        this.committer = committer;
        this.headers = headers;
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
        final int entry;
        final Extent extent;
        final int slot;
        final long length;
        state.lock.lock();
        try {
            entry = state.findDurable(request.id());
            if (entry < 0) {
                return ReadOutcome.MISS;
            }
            extent = state.pool.get(state.entries.extent(entry));
            slot = state.entries.slot(entry);
            length = state.entries.length(entry);
            state.beginRead(entry);
        } finally {
            state.lock.unlock();
        }
        ReadOutcome outcome = null;
        try {
            outcome = read(request, extent, slot, length);
            return outcome;
        } finally {
            letGo(entry, outcome);
        }
    }

    /** Reads what is held. Expired: a miss. */
    private ReadOutcome read(final ReadRequest request, final Extent extent, final int slot, final long length) {
        final long bytes = SizeClass.pageBytes(length);
        if (bytes > request.destination().byteSize()) {
            return new ReadOutcome.Failed("the object takes " + bytes + " bytes and the destination has "
                    + request.destination().byteSize());
        }
        final MemorySegment destination = request.destination().asSlice(0, bytes);
        try {
            final HeaderPages.Header header;
            device.acquireUninterruptibly();
            try {
                header = tried(() -> headers.read(extent, slot));
                if (header == null
                        || !header.id().equals(request.id())
                        || header.object().length() != length) {
                    return ReadOutcome.CORRUPT;
                }
                if (isExpired(header.object())) {
                    return ReadOutcome.MISS;
                }
                tried(() -> {
                    context.reads().read(extent.fd, destination, extent.offset(slot));
                    return null;
                });
            } finally {
                device.release();
            }
            final StoredObject object = header.object();
            return request.checksum().of(length) == object.crc32c()
                    ? new ReadOutcome.Loaded(object)
                    : ReadOutcome.CORRUPT;
        } catch (final PosixException e) {
            if (e.error() == PosixException.Errno.EFAULT) {
                LOG.debug("ssd {}: the memory to read into is gone", context.directory(), e);
            } else {
                LOG.warn("ssd {}: {} cannot be read in slot {}", context.directory(), extent.path, slot, e);
            }
            return new ReadOutcome.Failed(e.getMessage(), e.error() == PosixException.Errno.EIO);
        }
    }

    private boolean isExpired(final StoredObject object) {
        return object.expiryUnixMs() != 0
                && object.expiryUnixMs() <= context.clock().millis();
    }

    /** Something that reads a file. */
    @FunctionalInterface
    private interface Reading<T> {
        T read() throws PosixException;
    }

    /** A read that fails is tried again: most errors, even of the medium, pass. */
    private static <T> T tried(final Reading<T> reading) throws PosixException {
        for (int attempt = 0; ; attempt++) {
            try {
                return reading.read();
            } catch (final PosixException e) {
                if (attempt == RETRIES) {
                    throw e;
                }
                LockSupport.parkNanos(RETRY_PAUSE_NS << attempt);
            }
        }
    }

    /** @param outcome of the read; null: it was not even tried to the end */
    private void letGo(final int entry, final ReadOutcome outcome) {
        // The medium failed, again and again: what cannot be read is not offered again. Other errors, of memory or of
        // the
        // process, say nothing about the object, which stays.
        final boolean isBad = outcome instanceof ReadOutcome.Corrupt
                || (outcome instanceof ReadOutcome.Failed failed && failed.ofMedium());
        String dropped = null;
        state.lock.lock();
        try {
            if ((isBad || outcome instanceof ReadOutcome.Miss) && state.entries.state(entry) == EntryTable.DURABLE) {
                dropped = state.entries.id(entry) + " in extent " + state.entries.extent(entry) + " slot "
                        + state.entries.slot(entry);
                final IntArrayList victim = SsdWriter.single(entry);
                state.beginDelete(victim);
                context.metrics().dropped.increment();
                committer.submit(new SsdCommitter.Deleted(victim, ended -> {}));
            }
            state.endRead(entry);
        } finally {
            state.lock.unlock();
        }
        if (dropped != null && isBad) {
            LOG.warn("ssd {}: {} is not what was written; it is dropped", context.directory(), dropped);
        }
    }
}
