package io.kvasir.storage.tier.ssd;

import io.kvasir.storage.posix.PosixException;
import java.io.IOException;
import java.nio.file.Path;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Makes, cuts and deletes extent files for the writer, and keeps one made ahead of need. A file's bytes are claimed from
 * the capacity before it is made.
 */
final class ExtentMaker implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(ExtentMaker.class);

    private final Path directory;
    private final TierState state;
    private final long extentBytes;
    private final boolean direct;
    private final ExecutorService ahead = Executors.newSingleThreadExecutor(work -> {
        final Thread thread = new Thread(work, "kvasir-ssd-extents");
        thread.setDaemon(true);
        return thread;
    });

    private volatile String noSpace = "";

    ExtentMaker(final Path directory, final TierState state, final long extentBytes, final boolean direct) {
        this.directory = directory;
        this.state = state;
        this.extentBytes = extentBytes;
        this.direct = direct;
    }

    /** Empty, or what the file system said when it had no room for an extent that the capacity allows. */
    String noSpace() {
        return noSpace;
    }

    /** Cuts an extent that was taken out of the pool, and puts it back. Empty, or why not. */
    String cut(final Extent extent, final long slotBytes) {
        try {
            extent.cut(slotBytes);
        } catch (final PosixException e) {
            LOG.error("ssd {}: extent {} cannot be cut anew and is given up", directory, extent.path, e);
            discard(extent);
            return e.getMessage();
        }
        state.lock.lock();
        try {
            state.pool.add(extent);
        } finally {
            state.lock.unlock();
        }
        prepareAhead();
        return "";
    }

    /** A new extent cut for this size, in the place of free ones of other sizes if need be. Empty, or why not. */
    String make(final long slotBytes) {
        while (true) {
            final Extent unsuited;
            final long bytes;
            final int id;
            state.lock.lock();
            try {
                bytes = state.pool.fileBytes(slotBytes);
                if (state.pool.claim(bytes)) {
                    unsuited = null;
                    id = state.pool.nextId();
                } else {
                    unsuited = state.pool.takeAnyFree();
                    id = 0;
                }
            } finally {
                state.lock.unlock();
            }
            if (id != 0) {
                final Extent made = create(id, bytes);
                return made == null ? noSpace : cut(made, slotBytes);
            }
            if (unsuited == null) {
                return "the capacity is in use";
            }
            discard(unsuited);
        }
    }

    private Extent create(final int id, final long bytes) {
        try {
            final Extent extent = Extent.create(directory, id, bytes, direct);
            extent.shape(0, 0);
            noSpace = "";
            return extent;
        } catch (final IOException e) {
            if (noSpace.isEmpty()) {
                LOG.error("ssd {}: no extent of {} bytes can be made; what is there is reused", directory, bytes, e);
            }
            noSpace = e.getMessage();
            unclaim(bytes);
            return null;
        }
    }

    private void discard(final Extent extent) {
        try {
            extent.delete();
        } catch (final IOException e) {
            LOG.error("ssd {}: extent {} cannot be deleted", directory, extent.path, e);
            return;
        }
        unclaim(extent.fileBytes);
    }

    private void unclaim(final long bytes) {
        state.lock.lock();
        try {
            state.pool.unclaim(bytes);
        } finally {
            state.lock.unlock();
        }
    }

    /** Makes one uncut extent of the standard size, in the background, when there is none. */
    void prepareAhead() {
        try {
            ahead.execute(() -> {
                final int id;
                state.lock.lock();
                try {
                    if (state.pool.hasUncut() || !noSpace.isEmpty() || !state.pool.claim(extentBytes)) {
                        return;
                    }
                    id = state.pool.nextId();
                } finally {
                    state.lock.unlock();
                }
                final Extent extent = create(id, extentBytes);
                if (extent != null) {
                    state.lock.lock();
                    try {
                        state.pool.add(extent);
                        state.changed.signalAll();
                    } finally {
                        state.lock.unlock();
                    }
                }
            });
        } catch (final RejectedExecutionException e) {
            LOG.debug("ssd {}: closing, nothing is made ahead", directory);
        }
    }

    @Override
    public void close() {
        ahead.shutdown();
        try {
            if (!ahead.awaitTermination(10, TimeUnit.SECONDS)) {
                LOG.warn("ssd {}: an extent is still being made", directory);
            }
        } catch (final InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
