package io.kvasir.storage.tier.ssd;

import static io.kvasir.storage.tier.ssd.SlotHeader.INT;
import static io.kvasir.storage.tier.ssd.SlotHeader.LONG;

import io.kvasir.storage.object.SizeClass;
import io.kvasir.storage.posix.Posix;
import io.kvasir.storage.posix.PosixException;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.BitSet;

/**
 * One preallocated file: a superblock, a table of slot headers, and slots of one size. Cutting it anew for another size
 * gives it a new cut number, which no header of before has. {@link TierState}'s lock guards which slots are taken; the
 * writer alone cuts and writes.
 */
final class Extent {
    private static final long MAGIC = 0x3144535352534b56L;
    private static final int VERSION = 1;
    private static final int SUPERBLOCK_BYTES = 40;
    private static final long ZERO_BYTES = 1L << 20;

    final int id;
    final Path path;
    final int fd;
    final long fileBytes;
    /** 0: not cut. */
    long slotBytes;

    int slotCount;
    int cut;
    private long dataOffset;
    private final BitSet taken = new BitSet();
    /** The entry in each slot, or -1; off the heap. */
    private MemorySegment owners = MemorySegment.NULL;

    private int used;
    private int cursor;

    private Extent(final int id, final Path path, final int fd, final long fileBytes) {
        this.id = id;
        this.path = path;
        this.fd = fd;
        this.fileBytes = fileBytes;
    }

    /** The size of a new file for slots of this size: full slots only where slots are large. */
    static long fileBytes(final long slotBytes, final long extentBytes) {
        if (slotBytes <= extentBytes / 16) {
            return extentBytes;
        }
        final long count = Math.max(1, extentBytes / slotBytes);
        return SizeClass.PAGE + headerBytes(count) + count * slotBytes;
    }

    private static long headerBytes(final long slots) {
        return SizeClass.pageBytes(slots * SlotHeader.BYTES);
    }

    static int slotCount(final long fileBytes, final long slotBytes) {
        long count = (fileBytes - SizeClass.PAGE) / (slotBytes + SlotHeader.BYTES);
        while (count > 0 && SizeClass.PAGE + headerBytes(count) + count * slotBytes > fileBytes) {
            count--;
        }
        return (int) count;
    }

    /** True when slots of this size fill the file but for a sixteenth. */
    boolean suits(final long bytes) {
        return slotCount(fileBytes, bytes) * bytes >= fileBytes - fileBytes / 16;
    }

    /** A new file, whose name appears only when all of it is allocated. */
    static Extent create(final Path directory, final int id, final long fileBytes, final boolean direct)
            throws IOException {
        final Path path = directory.resolve("%08d.extent".formatted(id));
        final Path fresh = directory.resolve("%08d.new".formatted(id));
        final int fd =
                Posix.open(fresh, Posix.O_RDWR | Posix.O_CREAT | Posix.O_TRUNC | (direct ? Posix.O_DIRECT : 0), 0600);
        try {
            Posix.allocate(fd, 0, fileBytes);
            final Extent extent = new Extent(id, path, fd, fileBytes);
            extent.writeSuperblock();
            Posix.sync(fd);
            Files.move(fresh, path, StandardCopyOption.ATOMIC_MOVE);
            Posix.syncDirectory(directory);
            return extent;
        } catch (final IOException e) {
            Posix.close(fd);
            Files.deleteIfExists(fresh);
            throw e;
        }
    }

    /** An existing file; its {@link #slotBytes} is -1 when the superblock cannot be read. */
    static Extent open(final Path path, final boolean direct) throws IOException {
        final String name = path.getFileName().toString();
        final int id = Integer.parseInt(name.substring(0, name.indexOf('.')));
        final int fd = Posix.open(path, Posix.O_RDWR | (direct ? Posix.O_DIRECT : 0), 0);
        try (Arena arena = Arena.ofConfined()) {
            final Extent extent = new Extent(id, path, fd, Files.size(path));
            final MemorySegment block = arena.allocate(SizeClass.PAGE, SizeClass.PAGE);
            if (extent.fileBytes >= SizeClass.PAGE) {
                Posix.read(fd, block, 0);
            }
            final int checksum = SlotHeader.checksum(block.asSlice(4, SUPERBLOCK_BYTES - 4));
            final boolean valid = block.get(INT, 0) == checksum
                    && block.get(INT, 4) == VERSION
                    && block.get(LONG, 8) == MAGIC
                    && block.get(INT, 16) == id
                    && block.get(LONG, 32) == extent.fileBytes;
            if (valid) {
                extent.shape(block.get(INT, 24) * SizeClass.PAGE, block.get(INT, 20));
            } else {
                extent.slotBytes = -1;
            }
            return extent;
        } catch (final PosixException e) {
            Posix.close(fd);
            throw e;
        }
    }

    /** Takes a shape that another source than the superblock knows. */
    void shape(final long bytes, final int cutNumber) {
        slotBytes = bytes;
        cut = cutNumber;
        slotCount = bytes == 0 ? 0 : slotCount(fileBytes, bytes);
        dataOffset = SizeClass.PAGE + headerBytes(slotCount);
        taken.clear();
        owners = Arena.ofAuto().allocate(Math.max(1, slotCount) * (long) Integer.BYTES, Integer.BYTES);
        owners.fill((byte) -1);
        used = 0;
        cursor = 0;
    }

    /** Cuts the file, none of whose slots is taken, into slots of another size, durably. */
    void cut(final long bytes) throws PosixException {
        shape(bytes, cut + 1);
        try (Arena arena = Arena.ofConfined()) {
            // Payload of before may look like headers of now.
            final MemorySegment zeros = arena.allocate(Math.min(ZERO_BYTES, headerBytes(slotCount)), SizeClass.PAGE);
            for (long at = SizeClass.PAGE; at < dataOffset; at += zeros.byteSize()) {
                Posix.write(fd, zeros.asSlice(0, Math.min(zeros.byteSize(), dataOffset - at)), at);
            }
        }
        writeSuperblock();
        Posix.dataSync(fd);
    }

    void writeSuperblock() throws PosixException {
        try (Arena arena = Arena.ofConfined()) {
            final MemorySegment block = arena.allocate(SizeClass.PAGE, SizeClass.PAGE);
            block.set(INT, 4, VERSION);
            block.set(LONG, 8, MAGIC);
            block.set(INT, 16, id);
            block.set(INT, 20, cut);
            block.set(INT, 24, (int) (slotBytes / SizeClass.PAGE));
            block.set(LONG, 32, fileBytes);
            block.set(INT, 0, SlotHeader.checksum(block.asSlice(4, SUPERBLOCK_BYTES - 4)));
            Posix.write(fd, block, 0);
        }
    }

    boolean isFree() {
        return used == 0;
    }

    boolean hasRoom() {
        return used < slotCount;
    }

    int freeSlots() {
        return slotCount - used;
    }

    int used() {
        return used;
    }

    /** The next free slot behind the last one taken, so that a batch lies in one piece. */
    int take(final int entry) {
        int slot = taken.nextClearBit(cursor);
        if (slot >= slotCount) {
            slot = taken.nextClearBit(0);
        }
        if (slot >= slotCount) {
            throw new IllegalStateException("extent " + id + " has no free slot");
        }
        own(slot, entry);
        cursor = slot + 1;
        return slot;
    }

    /** True when the slot was free. */
    boolean own(final int slot, final int entry) {
        if (slot < 0 || slot >= slotCount || taken.get(slot)) {
            return false;
        }
        taken.set(slot);
        owners.setAtIndex(ValueLayout.JAVA_INT, slot, entry);
        used++;
        return true;
    }

    void give(final int slot) {
        if (!taken.get(slot)) {
            throw new IllegalStateException("slot " + slot + " of extent " + id + " is free already");
        }
        taken.clear(slot);
        owners.setAtIndex(ValueLayout.JAVA_INT, slot, -1);
        used--;
    }

    /** The entry in a slot, or -1. */
    int owner(final int slot) {
        return owners.getAtIndex(ValueLayout.JAVA_INT, slot);
    }

    long offset(final int slot) {
        return dataOffset + slot * slotBytes;
    }

    static long headerOffset(final int slot) {
        return SizeClass.PAGE + (long) slot * SlotHeader.BYTES;
    }

    /** Bytes of the header table. */
    long tableBytes() {
        return dataOffset - SizeClass.PAGE;
    }

    void close() {
        try {
            Posix.close(fd);
        } catch (final PosixException e) {
            throw new IllegalStateException("extent " + path + " cannot be closed", e);
        }
    }

    /** Gives the file's space back. */
    void delete() throws IOException {
        close();
        Files.deleteIfExists(path);
    }
}
