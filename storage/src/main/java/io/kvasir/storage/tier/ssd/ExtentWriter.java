package io.kvasir.storage.tier.ssd;

import io.kvasir.storage.object.SizeClass;
import io.kvasir.storage.posix.Posix;
import io.kvasir.storage.posix.PosixException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Puts payload and slot headers into the extents' files, neighbours in one call. Owned by {@link SsdWriter}. */
final class ExtentWriter {
    private static final Logger LOG = LoggerFactory.getLogger(ExtentWriter.class);

    /** Consecutive slots of one extent, for the members {@code first} and following. */
    record Run(Extent extent, int firstSlot, int first, List<SsdWriter.Member> members) {
        Run only(final int i) {
            return new Run(extent, firstSlot + i, first + i, members.subList(i, i + 1));
        }

        /** The member in this slot, or null. */
        SsdWriter.Member in(final int slot) {
            final int i = slot - firstSlot;
            return i >= 0 && i < members.size() ? members.get(i) : null;
        }
    }

    private final SsdTier.Context context;
    private final TierState state;
    private final HeaderPages headers;
    private final MemorySegment table = Arena.ofAuto().allocate(64 << 10, SizeClass.PAGE);

    ExtentWriter(final SsdTier.Context context, final TierState state, final HeaderPages headers) {
        this.context = context;
        this.state = state;
        this.headers = headers;
    }

    /** What is written in one call each: members whose slots follow one another in an extent. */
    List<Run> runs(final List<SsdWriter.Member> members) {
        final List<Run> runs = new ArrayList<>();
        Run last = null;
        long end = 0;
        state.lock.lock();
        try {
            for (int i = 0; i < members.size(); i++) {
                final SsdWriter.Member member = members.get(i);
                final Extent extent = state.pool.get(state.entries.extent(member.entry()));
                final int slot = state.entries.slot(member.entry());
                if (last == null || last.extent() != extent || end != extent.offset(slot)) {
                    last = new Run(extent, slot, i, new ArrayList<>());
                    runs.add(last);
                }
                last.members().add(member);
                end = extent.offset(slot) + SizeClass.pageBytes(member.object().length());
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
                    write(run.only(i), failures);
                }
                return;
            }
            if (e.error() == PosixException.Errno.EFAULT) {
                LOG.debug("ssd {}: an object's memory is gone", context.directory(), e);
            } else {
                LOG.error("ssd {}: a write to {} failed", context.directory(), run.extent().path, e);
            }
            final String failure = (e.isNoSpace() ? "full: " : "") + e.getMessage();
            Arrays.fill(failures, run.first(), run.first() + run.members().size(), failure);
        }
    }

    private void write(final Run run) throws PosixException {
        final List<MemorySegment> sources = new ArrayList<>();
        for (final SsdWriter.Member member : run.members()) {
            final long bytes = SizeClass.pageBytes(member.object().length());
            sources.add(member.write().request().payload().asSlice(0, bytes));
        }
        Posix.write(run.extent().fd, sources, run.extent().offset(run.firstSlot()));
        final int last = run.firstSlot() + run.members().size() - 1;
        final int perTable = (int) (table.byteSize() / SizeClass.PAGE);
        int page = run.firstSlot() / HeaderPages.SLOTS;
        while (page <= last / HeaderPages.SLOTS) {
            final int count = Math.min(perTable, last / HeaderPages.SLOTS - page + 1);
            final MemorySegment pages = table.asSlice(0, count * SizeClass.PAGE);
            for (int i = 0; i < count; i++) {
                compose(run, page + i, i * SizeClass.PAGE);
            }
            Posix.write(run.extent().fd, pages, Extent.headerOffset(page * HeaderPages.SLOTS));
            for (int i = 0; i < count; i++) {
                headers.written(run.extent(), page + i, table, i * SizeClass.PAGE);
            }
            page += count;
        }
    }

    /** A page of the header table: the headers of the run's members, and those of their neighbours, which must not be lost. */
    private void compose(final Run run, final int page, final long at) {
        final Extent extent = run.extent();
        final int first = page * HeaderPages.SLOTS;
        final boolean[] isNeighbour = neighbours(run, first);
        keep(extent, page, isNeighbour, at);
        for (int i = 0; i < HeaderPages.SLOTS; i++) {
            final long header = at + (long) i * SlotHeader.BYTES;
            final SsdWriter.Member member = run.in(first + i);
            if (!isNeighbour[i]) {
                table.asSlice(header, SlotHeader.BYTES).fill((byte) 0);
            }
            if (member != null) {
                SlotHeader.writeId(table, header + SlotHeader.BODY, member.id());
                SlotHeader.writeObject(table, header + SlotHeader.BODY, member.object(), member.sequence());
                SlotHeader.seal(table, header, extent.cut, first + i);
            }
        }
    }

    /**
     * Which slots of the page are others' than the run's. What is being removed counts: until that is durable the next start
     * may find it.
     */
    private boolean[] neighbours(final Run run, final int first) {
        final boolean[] some = new boolean[HeaderPages.SLOTS];
        state.lock.lock();
        try {
            for (int i = 0; i < some.length && first + i < run.extent().slotCount; i++) {
                some[i] = run.extent().owner(first + i) >= 0 && run.in(first + i) == null;
            }
        } finally {
            state.lock.unlock();
        }
        return some;
    }

    /** Brings the page here when somebody's header in it has to stay. */
    private void keep(final Extent extent, final int page, final boolean[] isNeighbour, final long at) {
        for (final boolean stays : isNeighbour) {
            if (stays) {
                try {
                    headers.copy(extent, page, table, at);
                } catch (final PosixException e) {
                    // They cannot be read from here either.
                    LOG.error("ssd {}: headers of {} are lost", context.directory(), extent.path, e);
                    Arrays.fill(isNeighbour, false);
                }
                return;
            }
        }
    }
}
