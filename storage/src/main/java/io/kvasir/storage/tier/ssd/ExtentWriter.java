package io.kvasir.storage.tier.ssd;

import io.kvasir.storage.object.SizeClass;
import io.kvasir.storage.posix.Posix;
import io.kvasir.storage.posix.PosixException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.function.IntFunction;
import org.agrona.collections.IntArrayList;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Puts payload and slot headers into the extents' files, neighbours in one call. Owned by {@link SsdWriter}. */
final class ExtentWriter {
    private static final Logger LOG = LoggerFactory.getLogger(ExtentWriter.class);

    /** Consecutive slots of one extent. */
    record Run(Extent extent, int firstSlot, List<MemorySegment> sources, List<Integer> members) {}

    private final SsdTier.Context context;
    private final TierState state;
    private final MemorySegment table = Arena.ofAuto().allocate(64 << 10, SizeClass.PAGE);

    ExtentWriter(final SsdTier.Context context, final TierState state) {
        this.context = context;
        this.state = state;
    }

    /**
     * What is written in one call each: members whose slots follow one another in an extent.
     *
     * @param entries of the members
     * @param requests by the member's index
     */
    List<Run> runs(final IntArrayList entries, final IntFunction<WriteRequest> requests) {
        final List<Run> runs = new ArrayList<>();
        Run last = null;
        long end = 0;
        state.lock.lock();
        try {
            for (int i = 0; i < entries.size(); i++) {
                final int entry = entries.getInt(i);
                final Extent extent = state.pool.get(state.entries.extent(entry));
                final int slot = state.entries.slot(entry);
                final WriteRequest request = requests.apply(i);
                final long bytes = SizeClass.pageBytes(request.object().length());
                if (last == null || last.extent() != extent || end != extent.offset(slot)) {
                    last = new Run(extent, slot, new ArrayList<>(), new ArrayList<>());
                    runs.add(last);
                }
                last.sources().add(request.payload().asSlice(0, bytes));
                last.members().add(i);
                end = extent.offset(slot) + bytes;
            }
        } finally {
            state.lock.unlock();
        }
        return runs;
    }

    /** @param failures by the member's index: why it could not be written, after "full: " when there is no space */
    void write(final Run run, final String[] failures) {
        try {
            write(run);
        } catch (final PosixException e) {
            if (e.error() == PosixException.Errno.EFAULT && run.members().size() > 1) {
                // An engine took one object's memory away; the others of the run are not to blame.
                for (int i = 0; i < run.members().size(); i++) {
                    write(
                            new Run(
                                    run.extent(),
                                    run.firstSlot() + i,
                                    run.sources().subList(i, i + 1),
                                    run.members().subList(i, i + 1)),
                            failures);
                }
                return;
            }
            if (e.error() == PosixException.Errno.EFAULT) {
                LOG.debug("ssd {}: an object's memory is gone", context.directory(), e);
            } else {
                LOG.error("ssd {}: a write to {} failed", context.directory(), run.extent().path, e);
            }
            for (final int member : run.members()) {
                failures[member] = (e.isNoSpace() ? "full: " : "") + e.getMessage();
            }
        }
    }

    private void write(final Run run) throws PosixException {
        Posix.write(run.extent().fd, run.sources(), run.extent().offset(run.firstSlot()));
        final int perPage = (int) (SizeClass.PAGE / SlotHeader.BYTES);
        final int last = run.firstSlot() + run.members().size() - 1;
        int slot = run.firstSlot() / perPage * perPage;
        while (slot <= last) {
            final int perTable = (int) (table.byteSize() / SlotHeader.BYTES);
            final int count = Math.min(perTable, (last - slot) / perPage * perPage + perPage);
            final MemorySegment pages = table.asSlice(0, (long) count * SlotHeader.BYTES);
            compose(run.extent(), slot, count, pages);
            Posix.write(run.extent().fd, pages, Extent.headerOffset(slot));
            slot += count;
        }
    }

    /** The headers of whole pages: also of the neighbours, whose entries must not be lost. */
    private void compose(final Extent extent, final int first, final int count, final MemorySegment pages) {
        pages.fill((byte) 0);
        state.lock.lock();
        try {
            for (int i = 0; i < count && first + i < extent.slotCount; i++) {
                final int entry = extent.owner(first + i);
                if (entry >= 0 && state.entries.state(entry) <= EntryTable.DURABLE) {
                    final long at = (long) i * SlotHeader.BYTES;
                    MemorySegment.copy(
                            state.entries.chunk(entry),
                            EntryTable.offset(entry),
                            pages,
                            at + SlotHeader.BODY,
                            SlotHeader.BODY_BYTES);
                    SlotHeader.seal(pages, at, extent.cut, first + i);
                }
            }
        } finally {
            state.lock.unlock();
        }
    }
}
