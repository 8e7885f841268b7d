package io.kvasir.storage.object;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HexFormat;

/** 32 opaque bytes: an engine's hash of a prefix, or a namespace's id. The longs are its bytes, little-endian. */
public record Hash256(long a, long b, long c, long d) {
    public static final int BYTES = 32;
    public static final Hash256 ZERO = new Hash256(0, 0, 0, 0);
    private static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final VarHandle IN_ARRAY =
            MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);

    public static Hash256 read(final MemorySegment segment, final long offset) {
        return new Hash256(
                segment.get(LONG, offset),
                segment.get(LONG, offset + 8),
                segment.get(LONG, offset + 16),
                segment.get(LONG, offset + 24));
    }

    /** Of bytes {@code offset} to {@code offset + 31}. */
    public static Hash256 read(final byte[] bytes, final int offset) {
        return new Hash256(
                (long) IN_ARRAY.get(bytes, offset),
                (long) IN_ARRAY.get(bytes, offset + 8),
                (long) IN_ARRAY.get(bytes, offset + 16),
                (long) IN_ARRAY.get(bytes, offset + 24));
    }

    public void write(final MemorySegment segment, final long offset) {
        segment.set(LONG, offset, a);
        segment.set(LONG, offset + 8, b);
        segment.set(LONG, offset + 16, c);
        segment.set(LONG, offset + 24, d);
    }

    public byte[] toBytes() {
        return ByteBuffer.allocate(BYTES)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putLong(a)
                .putLong(b)
                .putLong(c)
                .putLong(d)
                .array();
    }

    /** Hexadecimal, as the engine prints it. */
    @Override
    public String toString() {
        return HexFormat.of().formatHex(toBytes());
    }
}
