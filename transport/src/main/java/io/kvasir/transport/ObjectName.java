package io.kvasir.transport;

import java.nio.ByteOrder;
import org.agrona.DirectBuffer;
import org.agrona.MutableDirectBuffer;

/**
 * What names an object between nodes: namespace (32 bytes), key (32), shard (16), opaque to the link. The longs are
 * those bytes in order, little-endian.
 */
public record ObjectName(
        long namespace0,
        long namespace1,
        long namespace2,
        long namespace3,
        long key0,
        long key1,
        long key2,
        long key3,
        long shard0,
        long shard1) {
    public static final int BYTES = 80;

    static ObjectName read(final DirectBuffer from, final int offset) {
        return new ObjectName(
                word(from, offset, 0),
                word(from, offset, 1),
                word(from, offset, 2),
                word(from, offset, 3),
                word(from, offset, 4),
                word(from, offset, 5),
                word(from, offset, 6),
                word(from, offset, 7),
                word(from, offset, 8),
                word(from, offset, 9));
    }

    void write(final MutableDirectBuffer to, final int offset) {
        final long[] words = {namespace0, namespace1, namespace2, namespace3, key0, key1, key2, key3, shard0, shard1};
        for (int i = 0; i < words.length; i++) {
            to.putLong(offset + 8 * i, words[i], ByteOrder.LITTLE_ENDIAN);
        }
    }

    private static long word(final DirectBuffer from, final int offset, final int index) {
        return from.getLong(offset + 8 * index, ByteOrder.LITTLE_ENDIAN);
    }
}
