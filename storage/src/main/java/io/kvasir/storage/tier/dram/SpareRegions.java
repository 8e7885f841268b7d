package io.kvasir.storage.tier.dram;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Payload files that are allocated ahead of need on a thread of their own, since allocating touches every page. Called
 * by the owner of {@link DramTier}.
 */
final class SpareRegions implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(SpareRegions.class);
    private static final long RETRY_MS = 1000;

    private final ArenaFiles files;
    private final DramContext context;
    private final List<ArenaFiles.Spare> spares = new ArrayList<>();
    private final Queue<Region> ended = new ConcurrentLinkedQueue<>();
    private long number;
    private long allocating;
    private long wanted;
    private boolean arrived;
    private long notBefore;

    SpareRegions(final ArenaFiles files, final DramContext context) {
        this.files = files;
        this.context = context;
    }

    /** A file of at most so many bytes that holds at least one such slot; null when there is none yet. */
    ArenaFiles.Spare take(final long slotBytes, final long mostBytes) {
        for (final Iterator<ArenaFiles.Spare> each = spares.iterator(); each.hasNext(); ) {
            final ArenaFiles.Spare spare = each.next();
            if (spare.bytes() >= slotBytes && spare.bytes() <= mostBytes) {
                each.remove();
                return spare;
            }
        }
        return null;
    }

    /** True when a file for such slots fits into the capacity beside what regions take; spares that are too small give way. */
    boolean mayGrow(final long slotBytes, final long regionBytes) {
        final long needed = fileBytes(slotBytes);
        if (allocating == 0 && spares.isEmpty() && regionBytes + needed > context.capacity()) {
            // The usual state of a node that has run for a while: asked for each slot, so it costs nothing.
            return false;
        }
        if (context.clock().time() < notBefore) {
            return false;
        }
        if (allocating > 0) {
            return true;
        }
        if (regionBytes + spareBytes() + needed > context.capacity()) {
            spares.forEach(this::delete);
            spares.clear();
        }
        return regionBytes + needed <= context.capacity();
    }

    /** Elsewhere, and before the next file is allocated: giving back the pages of a large file takes long. */
    void delete(final ArenaFiles.Spare spare) {
        context.allocator().execute(() -> files.delete(spare.file()));
    }

    /** Unmaps a region that has ended, elsewhere. */
    void close(final Region region) {
        ended.add(region);
        context.allocator().execute(this::closeOne);
    }

    private void closeOne() {
        final Region region = ended.poll();
        if (region != null) {
            region.close();
        }
    }

    void want(final long slotBytes) {
        wanted = Math.max(wanted, fileBytes(slotBytes));
    }

    /** Starts the next allocation when there is reason to; true when one arrived since the last call. */
    boolean poll(final long regionBytes) {
        if (allocating == 0 && context.clock().time() >= notBefore) {
            final long room = context.capacity() - regionBytes - spareBytes();
            if (wanted > 0) {
                if (wanted <= room) {
                    allocate(wanted);
                }
                wanted = 0;
            } else if (spares.isEmpty() && room >= context.regionBytes()) {
                allocate(context.regionBytes());
            }
        }
        final boolean result = arrived;
        arrived = false;
        return result;
    }

    private void allocate(final long bytes) {
        allocating = bytes;
        final long file = ++number;
        context.allocator().execute(() -> {
            try {
                final ArenaFiles.Spare spare = files.allocateSpare(file, bytes);
                context.completions().execute(() -> {
                    allocating = 0;
                    spares.add(spare);
                    arrived = true;
                });
            } catch (final IOException failure) {
                LOG.warn("cannot allocate {} bytes in {}: {}", bytes, context.directory(), failure.toString());
                context.counters().faults.increment();
                context.completions().execute(() -> {
                    allocating = 0;
                    notBefore = context.clock().time() + RETRY_MS;
                });
            }
        });
    }

    long fileBytes(final long slotBytes) {
        return Math.max(slotBytes, context.regionBytes());
    }

    private long spareBytes() {
        return spares.stream().mapToLong(ArenaFiles.Spare::bytes).sum();
    }

    @Override
    public void close() {
        context.allocator().close();
        while (!ended.isEmpty()) {
            closeOne();
        }
    }
}
