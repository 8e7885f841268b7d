package io.kvasir.storage.tier.dram;

import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.Shard;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;
import java.util.zip.CRC32C;

/**
 * The header table of one region: a view of the mapped header file, whose layout docs/engine-api.md gives. Engines map
 * the same file read-only, so the stamp is stored last and with release, and never repeats.
 */
final class HeaderTable {
    static final int PREAMBLE = 4096;
    static final int BYTES = 256;
    static final int FREE = 0;
    static final int RESERVED = 1;
    static final int COMMITTED = 2;

    private static final long MAGIC = 0x3148_5249_5341_564bL; // "KVASIRH1", little-endian
    private static final int LAYOUT = 1;
    private static final int PREAMBLE_SUMMED = 40;
    static final int REGION_STAMP = 64;

    private static final int CHECKSUM = 8;
    private static final int LENGTH = 16;
    private static final int ATTACHMENT = 24;
    private static final int NAMESPACE = 32;
    private static final int KEY = 64;
    private static final int SHARD = 96;
    private static final int PARENT = 112;
    private static final int CHUNK_INDEX = 144;
    private static final int CODEC = 148;
    private static final int PRIORITY = 150;
    private static final int EXPIRY = 152;
    private static final int HEADER_CHECK = 160;
    private static final int SUMMED_FROM = LENGTH;
    private static final int SUMMED_BYTES = HEADER_CHECK - SUMMED_FROM;
    private static final long SUMMED = 1L << 63;

    private static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final VarHandle WORD = LONG.varHandle();

    private final MemorySegment file;
    private final CRC32C crc = new CRC32C();
    private final byte[] scratch = new byte[SUMMED_BYTES + Long.BYTES];

    HeaderTable(final MemorySegment file) {
        this.file = file;
    }

    static long fileBytes(final int slots) {
        return PREAMBLE + (long) slots * BYTES;
    }

    static long stamp(final long generation, final int state) {
        return generation << 8 | state;
    }

    static long generation(final long stamp) {
        return stamp >>> 8;
    }

    static int state(final long stamp) {
        return (int) (stamp & 0xff);
    }

    // ---- preamble

    record Preamble(int region, int slots, long slotBytes, long dataBytes) {}

    void writePreamble(final Preamble preamble) {
        file.set(INT, 8, LAYOUT);
        file.set(INT, 12, BYTES);
        file.set(INT, 16, preamble.region);
        file.set(INT, 20, preamble.slots);
        file.set(LONG, 24, preamble.slotBytes);
        file.set(LONG, 32, preamble.dataBytes);
        file.set(LONG, 0, MAGIC);
        file.set(LONG, PREAMBLE_SUMMED, preambleCrc());
    }

    /** Null when the preamble is not one of this layout, or is damaged. */
    Preamble readPreamble() {
        if (file.get(LONG, 0) != MAGIC
                || file.get(INT, 8) != LAYOUT
                || file.get(INT, 12) != BYTES
                || file.get(LONG, PREAMBLE_SUMMED) != preambleCrc()) {
            return null;
        }
        return new Preamble(file.get(INT, 16), file.get(INT, 20), file.get(LONG, 24), file.get(LONG, 32));
    }

    /** From now on, engines that still have this region mapped read nothing from it. */
    void retire() {
        WORD.setRelease(file, (long) REGION_STAMP, file.get(LONG, REGION_STAMP) | 1);
    }

    private long preambleCrc() {
        crc.reset();
        crc.update(file.asSlice(0, PREAMBLE_SUMMED).asByteBuffer());
        return crc.getValue();
    }

    // ---- stamps

    long stamp(final int slot) {
        return (long) WORD.getAcquire(file, at(slot));
    }

    void setStamp(final int slot, final long stamp) {
        WORD.setRelease(file, at(slot), stamp);
    }

    // ---- what a slot holds

    /** Fields that are known when the slot is reserved; the slot is free and no engine reads them. */
    void describe(
            final int slot,
            final Hash256 namespace,
            final Hash256 key,
            final Shard shard,
            final long length,
            final long attachment,
            final int codec) {
        final long at = at(slot);
        file.set(LONG, at + CHECKSUM, 0);
        file.set(LONG, at + LENGTH, length);
        file.set(LONG, at + ATTACHMENT, attachment);
        namespace.write(file, at + NAMESPACE);
        key.write(file, at + KEY);
        file.set(LONG, at + SHARD, shard.first());
        file.set(LONG, at + SHARD + 8, shard.second());
        file.set(SHORT, at + CODEC, (short) codec);
    }

    /** The rest of the fields and the header's own checksum, for the generation that the commit will store. */
    void seal(
            final int slot,
            final Hash256 parent,
            final int chunkIndex,
            final int priority,
            final long expiryUnixMs,
            final long generation) {
        final long at = at(slot);
        parent.write(file, at + PARENT);
        file.set(INT, at + CHUNK_INDEX, chunkIndex);
        file.set(SHORT, at + PRIORITY, (short) priority);
        file.set(LONG, at + EXPIRY, expiryUnixMs);
        file.set(LONG, at + HEADER_CHECK, headerCheck(slot, generation));
    }

    /** The object is not adopted by a later node; readers that hold it see the same stamp as before. */
    void condemn(final int slot) {
        final long at = at(slot) + HEADER_CHECK;
        file.set(LONG, at, ~file.get(LONG, at));
    }

    /** True when the header's own checksum fits the generation that it was committed under. */
    boolean isSound(final int slot, final long generation) {
        return file.get(LONG, at(slot) + HEADER_CHECK) == headerCheck(slot, generation);
    }

    ObjectId id(final int slot) {
        final long at = at(slot);
        return new ObjectId(
                Hash256.read(file, at + NAMESPACE),
                Hash256.read(file, at + KEY),
                Shard.of(file.get(LONG, at + SHARD), file.get(LONG, at + SHARD + 8)));
    }

    long length(final int slot) {
        return file.get(LONG, at(slot) + LENGTH);
    }

    long attachment(final int slot) {
        return file.get(LONG, at(slot) + ATTACHMENT);
    }

    Hash256 parent(final int slot) {
        return Hash256.read(file, at(slot) + PARENT);
    }

    int chunkIndex(final int slot) {
        return file.get(INT, at(slot) + CHUNK_INDEX);
    }

    int codec(final int slot) {
        return file.get(SHORT, at(slot) + CODEC) & 0xffff;
    }

    int priority(final int slot) {
        return file.get(SHORT, at(slot) + PRIORITY);
    }

    /** Unix ms; 0: none. */
    long expiry(final int slot) {
        return file.get(LONG, at(slot) + EXPIRY);
    }

    boolean isSummed(final int slot) {
        return file.get(LONG, at(slot) + CHECKSUM) < 0;
    }

    int crc32c(final int slot) {
        return (int) file.get(LONG, at(slot) + CHECKSUM);
    }

    /** One atomic store: a kill leaves either no checksum or the whole one. */
    void setCrc32c(final int slot, final int value) {
        WORD.setRelease(file, at(slot) + CHECKSUM, SUMMED | Integer.toUnsignedLong(value));
    }

    private long headerCheck(final int slot, final long generation) {
        MemorySegment.copy(file, ValueLayout.JAVA_BYTE, at(slot) + SUMMED_FROM, scratch, 0, SUMMED_BYTES);
        for (int i = 0; i < Long.BYTES; i++) {
            scratch[SUMMED_BYTES + i] = (byte) (generation >>> (8 * i));
        }
        crc.reset();
        crc.update(scratch, 0, scratch.length);
        return crc.getValue();
    }

    private static long at(final int slot) {
        return PREAMBLE + (long) slot * BYTES;
    }
}
