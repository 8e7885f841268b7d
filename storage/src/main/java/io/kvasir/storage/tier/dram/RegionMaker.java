package io.kvasir.storage.tier.dram;

import java.io.IOException;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.function.Consumer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Makes and removes the files of regions on a thread of its own, since allocating touches every page. Called by the owner
 * of {@link DramTier}.
 */
final class RegionMaker implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(RegionMaker.class);

    private final ArenaFiles files;
    private final DramContext context;
    /** Made, and the owner does not know it yet. */
    private final Queue<Region> made = new ConcurrentLinkedQueue<>();

    private final Queue<Region> ended = new ConcurrentLinkedQueue<>();

    RegionMaker(final ArenaFiles files, final DramContext context) {
        this.files = files;
        this.context = context;
    }

    /** Answers on the owner's thread; null when the files cannot be made. */
    void make(
            final TenantArena tenant,
            final int id,
            final long slotBytes,
            final long dataBytes,
            final Consumer<Region> answer) {
        context.allocator().execute(() -> {
            final Region region = region(tenant, id, slotBytes, dataBytes);
            if (region != null) {
                made.add(region);
            }
            context.completions().execute(() -> {
                if (region != null) {
                    made.remove(region);
                }
                answer.accept(region);
            });
        });
    }

    private Region region(final TenantArena tenant, final int id, final long slotBytes, final long dataBytes) {
        ArenaFiles.Spare spare = null;
        try {
            spare = files.allocateSpare(id, dataBytes);
            return files.cut(spare, tenant, id, slotBytes);
        } catch (final IOException | RuntimeException failure) {
            LOG.warn("cannot make a region of {} bytes in {}: {}", dataBytes, context.directory(), failure.toString());
            if (spare != null) {
                files.delete(spare.file());
            }
            return null;
        }
    }

    /** Removes a retired region, before another one is made: giving back the memory of a large one takes long. */
    void remove(final Region region) {
        ended.add(region);
        context.allocator().execute(this::removeOne);
    }

    private void removeOne() {
        final Region region = ended.poll();
        if (region != null) {
            files.remove(region);
            region.release();
        }
    }

    @Override
    public void close() {
        context.allocator().close();
        while (!ended.isEmpty()) {
            removeOne();
        }
        // The next start takes them over, empty as they are.
        for (Region region = made.poll(); region != null; region = made.poll()) {
            region.close();
        }
    }
}
