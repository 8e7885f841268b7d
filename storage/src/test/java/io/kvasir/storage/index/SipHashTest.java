package io.kvasir.storage.index;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.Shard;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

class SipHashTest {
    /** SipHash as the paper writes it, for any number of rounds and bytes. */
    private static long reference(
            final int compression, final int finalization, final long k0, final long k1, final byte[] bytes) {
        final long[] v = {
            k0 ^ 0x736f6d6570736575L, k1 ^ 0x646f72616e646f6dL, k0 ^ 0x6c7967656e657261L, k1 ^ 0x7465646279746573L
        };
        final byte[] padded = Arrays.copyOf(bytes, bytes.length / 8 * 8 + 8);
        padded[padded.length - 1] = (byte) bytes.length;
        final ByteBuffer words = ByteBuffer.wrap(padded).order(ByteOrder.LITTLE_ENDIAN);
        while (words.hasRemaining()) {
            final long word = words.getLong();
            v[3] ^= word;
            rounds(v, compression);
            v[0] ^= word;
        }
        v[2] ^= 0xff;
        rounds(v, finalization);
        return v[0] ^ v[1] ^ v[2] ^ v[3];
    }

    private static void rounds(final long[] v, final int count) {
        for (int i = 0; i < count; i++) {
            v[0] += v[1];
            v[2] += v[3];
            v[1] = Long.rotateLeft(v[1], 13);
            v[3] = Long.rotateLeft(v[3], 16);
            v[1] ^= v[0];
            v[3] ^= v[2];
            v[0] = Long.rotateLeft(v[0], 32);
            v[2] += v[1];
            v[0] += v[3];
            v[1] = Long.rotateLeft(v[1], 17);
            v[3] = Long.rotateLeft(v[3], 21);
            v[1] ^= v[2];
            v[3] ^= v[0];
            v[2] = Long.rotateLeft(v[2], 32);
        }
    }

    @Test
    void shouldCompareWithTheVectorOfThePaper() {
        final byte[] bytes = new byte[15];
        for (int i = 0; i < bytes.length; i++) {
            bytes[i] = (byte) i;
        }
        assertEquals(
                0xa129ca6149be45e5L, reference(2, 4, 0x0706050403020100L, 0x0f0e0d0c0b0a0908L, bytes), "SipHash-2-4");
    }

    @Test
    void shouldBeSipHash13OfTheIdsBytes() {
        final SplittableRandom random = new SplittableRandom(7);
        final long k0 = random.nextLong();
        final long k1 = random.nextLong();
        final SipHash hash = new SipHash(k0, k1);
        Hash256 namespace = Hash256.ZERO;
        for (int i = 0; i < 1000; i++) {
            // Some follow each other in one namespace, as the objects of a call do.
            namespace = random.nextInt(3) == 0 ? any(random) : namespace;
            final Hash256 key = any(random);
            final int layer = random.nextInt(0x10000);
            final Shard shard = new Shard(
                    layer, 0xffff, 0, 8, random.nextInt(9), random.nextInt(256), 3, random.nextInt(0x10000), 5);
            final ByteBuffer id = ByteBuffer.allocate(80).order(ByteOrder.LITTLE_ENDIAN);
            id.put(namespace.toBytes())
                    .put(key.toBytes())
                    .putLong(shard.first())
                    .putLong(shard.second());
            assertEquals(reference(1, 3, k0, k1, id.array()), hash.of(namespace, key, shard));
        }
    }

    @Test
    void shouldDependOnTheSecret() {
        final Shard shard = new Shard(0, 1, 0, 1, 0, 0, 1, 0, 1);
        final long one = new SipHash(1, 2).of(Hash256.ZERO, Hash256.ZERO, shard);
        assertNotEquals(one, new SipHash(1, 3).of(Hash256.ZERO, Hash256.ZERO, shard));
        assertNotEquals(one, new SipHash(2, 2).of(Hash256.ZERO, Hash256.ZERO, shard));
        assertNotEquals(
                new SipHash(new SplittableRandom(1)).of(Hash256.ZERO, Hash256.ZERO, shard),
                new SipHash(new SplittableRandom(2)).of(Hash256.ZERO, Hash256.ZERO, shard));
    }

    private static Hash256 any(final SplittableRandom random) {
        return new Hash256(random.nextLong(), random.nextLong(), random.nextLong(), random.nextLong());
    }
}
