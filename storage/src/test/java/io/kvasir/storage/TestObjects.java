package io.kvasir.storage;

import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.Shard;
import io.kvasir.storage.object.SizeClass;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;

/** Ids and payloads that follow from a number, so that every byte read can be checked. */
public final class TestObjects {
    public static final Hash256 NAMESPACE = new Hash256(1, 2, 3, 4);
    public static final Shard SHARD = new Shard(0, 32, 0, 8, 0, 0, 1, 0, 1);

    private TestObjects() {}

    public static Hash256 key(final long number) {
        final SplittableRandom random = new SplittableRandom(number);
        return new Hash256(random.nextLong(), random.nextLong(), random.nextLong(), number);
    }

    public static ObjectId id(final long number) {
        return new ObjectId(NAMESPACE, key(number), SHARD);
    }

    /** Page-aligned and rounded up to whole pages. */
    public static MemorySegment payload(final Arena arena, final long number, final long length) {
        final MemorySegment pages = arena.allocate(SizeClass.pageBytes(length), SizeClass.PAGE);
        fill(pages.asSlice(0, length), number);
        return pages;
    }

    public static void fill(final MemorySegment segment, final long number) {
        long x = number * 0x9e3779b97f4a7c15L + 1;
        long at = 0;
        for (; at + 8 <= segment.byteSize(); at += 8) {
            x ^= x << 13;
            x ^= x >>> 7;
            x ^= x << 17;
            segment.set(ValueLayout.JAVA_LONG_UNALIGNED, at, x);
        }
        for (; at < segment.byteSize(); at++) {
            segment.set(ValueLayout.JAVA_BYTE, at, (byte) (x + at));
        }
    }

    public static byte[] bytes(final long number, final int length) {
        final byte[] bytes = new byte[length];
        fill(MemorySegment.ofArray(bytes), number);
        return bytes;
    }
}
