package io.kvasir.storage.tier.ssd;

import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.SizeClass;
import io.kvasir.storage.posix.PosixException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * The pages of extents' header tables that were read or written last: 1 MiB of them. Objects that were written together have
 * their headers in one page, so reading a chain costs one read of a page for 16 objects. The writer, which alone changes
 * pages, tells what it wrote. For all threads of the tier; a thread that needs a page which another one reads waits for that.
 */
final class HeaderPages {
    /** Headers in a page. */
    static final int SLOTS = (int) (SizeClass.PAGE / SlotHeader.BYTES);

    private static final int FRAMES = 256;

    /** A header that was found intact in its place. */
    record Header(ObjectId id, StoredObject object) {}

    private static final class Frame {
        private final MemorySegment bytes;
        /** The page's; null: none. */
        private Extent extent;

        private int page;

        Frame(final MemorySegment bytes) {
            this.bytes = bytes;
        }

        boolean holds(final Extent wanted, final int number) {
            return extent == wanted && page == number;
        }
    }

    private final SsdTier.Reads reads;
    private final Frame[] frames = new Frame[FRAMES];

    HeaderPages(final SsdTier.Reads reads) {
        this.reads = reads;
        final MemorySegment all = Arena.ofAuto().allocate(FRAMES * SizeClass.PAGE, SizeClass.PAGE);
        for (int i = 0; i < FRAMES; i++) {
            frames[i] = new Frame(all.asSlice(i * SizeClass.PAGE, SizeClass.PAGE));
        }
    }

    private Frame frame(final Extent extent, final int page) {
        // Consecutive pages of one extent lie in different frames.
        return frames[(extent.id * 37 + page) & (FRAMES - 1)];
    }

    /** The header of this slot, or null when none is intact there. */
    Header read(final Extent extent, final int slot) throws PosixException {
        final int page = slot / SLOTS;
        final Frame frame = frame(extent, page);
        synchronized (frame) {
            fill(frame, extent, page);
            final long at = (long) (slot % SLOTS) * SlotHeader.BYTES;
            if (!SlotHeader.isSealed(frame.bytes, at, extent.cut, slot)) {
                return null;
            }
            return new Header(
                    SlotHeader.readId(frame.bytes, at + SlotHeader.BODY),
                    SlotHeader.readObject(frame.bytes, at + SlotHeader.BODY));
        }
    }

    /** Copies a page to this offset. */
    void copy(final Extent extent, final int page, final MemorySegment to, final long at) throws PosixException {
        final Frame frame = frame(extent, page);
        synchronized (frame) {
            fill(frame, extent, page);
            MemorySegment.copy(frame.bytes, 0, to, at, SizeClass.PAGE);
        }
    }

    /** The page is on disk as it is at this offset. */
    void written(final Extent extent, final int page, final MemorySegment from, final long at) {
        final Frame frame = frame(extent, page);
        synchronized (frame) {
            MemorySegment.copy(from, at, frame.bytes, 0, SizeClass.PAGE);
            frame.extent = extent;
            frame.page = page;
        }
    }

    private void fill(final Frame frame, final Extent extent, final int page) throws PosixException {
        if (!frame.holds(extent, page)) {
            frame.extent = null;
            reads.read(extent.fd, frame.bytes, Extent.headerOffset(page * SLOTS));
            frame.extent = extent;
            frame.page = page;
        }
    }
}
