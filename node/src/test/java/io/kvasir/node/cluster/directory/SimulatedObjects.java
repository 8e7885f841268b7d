package io.kvasir.node.cluster.directory;

import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.Shard;
import java.util.Random;

/** The objects of a {@link NodesSimulation}: ids and bytes follow from a number, and every eight of them form a chain. */
final class SimulatedObjects {
    /** More bytes than an SSD tier of a node has, so that these evict too. */
    static final int COUNT = 1280;

    static final int CHAIN = 8;
    static final Hash256 NAMESPACE = new Hash256(11, 12, 13, 14);
    static final Shard SHARD = new Shard(0, 1, 0, 1, 0, 0, 1, 0, 1);
    private static final int KIB = 1024;
    private static final int[] LENGTHS = {1, 4 * KIB, 5 * KIB, 64 * KIB, 100 * KIB, 48 * KIB};
    private static final byte[][] CONTENTS = new byte[COUNT][];

    private SimulatedObjects() {}

    static byte[] content(final int object) {
        if (CONTENTS[object] == null) {
            CONTENTS[object] = new byte[LENGTHS[object % LENGTHS.length]];
            new Random(object).nextBytes(CONTENTS[object]);
        }
        return CONTENTS[object];
    }

    static Hash256 key(final int object) {
        return new Hash256(object * 0x9e3779b97f4a7c15L, ~(long) object, 7, object);
    }

    /** {@code count} keys from {@code first} on, packed. */
    static byte[] keys(final int first, final int count) {
        final byte[] packed = new byte[count * Hash256.BYTES];
        for (int i = 0; i < count; i++) {
            System.arraycopy(key(first + i).toBytes(), 0, packed, i * Hash256.BYTES, Hash256.BYTES);
        }
        return packed;
    }

    /** Empty for the first of a chain. */
    static byte[] parent(final int object) {
        return object % CHAIN == 0 ? new byte[0] : key(object - 1).toBytes();
    }

    static ObjectId id(final int object) {
        return new ObjectId(NAMESPACE, key(object), SHARD);
    }

    static int number(final ObjectId id) {
        return (int) id.key().d();
    }
}
