package io.kvasir.storage.tier.ssd;

import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.Shard;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.zip.CRC32C;

/**
 * The form of one object's description: the body, the same in RocksDB (whose key is the body's first 80 bytes) and in an
 * extent's header table, where a checksum, the extent's cut and the slot's number come before it.
 */
final class SlotHeader {
    // The body.
    static final int ID_BYTES = 80;
    static final int PARENT = 80;
    static final int LENGTH = 112;
    static final int CRC = 120;
    static final int CODEC = 124;
    static final int CHUNK_INDEX = 128;
    static final int PRIORITY = 132;
    static final int EXPIRY = 136;
    static final int SEQUENCE = 144;
    static final int BODY_BYTES = 152;

    // The header table.
    static final int BYTES = 256;
    static final int CHECKSUM = 0;
    static final int MAGIC = 4;
    static final int CUT = 8;
    static final int SLOT = 12;
    static final int BODY = 16;
    private static final int MAGIC_VALUE = 0x4856534b;

    static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private SlotHeader() {}

    static void writeId(final MemorySegment body, final long at, final ObjectId id) {
        id.namespace().write(body, at);
        id.key().write(body, at + 32);
        body.set(LONG, at + 64, id.shard().first());
        body.set(LONG, at + 72, id.shard().second());
    }

    static ObjectId readId(final MemorySegment body, final long at) {
        return new ObjectId(
                Hash256.read(body, at),
                Hash256.read(body, at + 32),
                Shard.of(body.get(LONG, at + 64), body.get(LONG, at + 72)));
    }

    static void writeObject(final MemorySegment body, final long at, final StoredObject object, final long sequence) {
        object.parent().write(body, at + PARENT);
        body.set(LONG, at + LENGTH, object.length());
        body.set(INT, at + CRC, object.crc32c());
        body.set(INT, at + CODEC, object.codec());
        body.set(INT, at + CHUNK_INDEX, object.chunkIndex());
        body.set(INT, at + PRIORITY, object.priority());
        body.set(LONG, at + EXPIRY, object.expiryUnixMs());
        body.set(LONG, at + SEQUENCE, sequence);
    }

    static StoredObject readObject(final MemorySegment body, final long at) {
        return new StoredObject(
                body.get(LONG, at + LENGTH),
                body.get(INT, at + CRC),
                body.get(INT, at + CODEC),
                Hash256.read(body, at + PARENT),
                body.get(INT, at + CHUNK_INDEX),
                body.get(INT, at + PRIORITY),
                body.get(LONG, at + EXPIRY));
    }

    /** Seals the entry at {@code at} of a header table, whose body is there already. */
    static void seal(final MemorySegment table, final long at, final int cut, final int slot) {
        table.set(INT, at + MAGIC, MAGIC_VALUE);
        table.set(INT, at + CUT, cut);
        table.set(INT, at + SLOT, slot);
        table.set(INT, at + CHECKSUM, checksum(table.asSlice(at + MAGIC, BODY - MAGIC + BODY_BYTES)));
    }

    static boolean isSealed(final MemorySegment table, final long at, final int cut, final int slot) {
        return table.get(INT, at + MAGIC) == MAGIC_VALUE
                && table.get(INT, at + CUT) == cut
                && table.get(INT, at + SLOT) == slot
                && table.get(INT, at + CHECKSUM) == checksum(table.asSlice(at + MAGIC, BODY - MAGIC + BODY_BYTES));
    }

    static int checksum(final MemorySegment bytes) {
        final CRC32C crc = new CRC32C();
        crc.update(bytes.asByteBuffer());
        return (int) crc.getValue();
    }
}
