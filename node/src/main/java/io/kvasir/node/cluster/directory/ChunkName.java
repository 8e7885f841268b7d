package io.kvasir.node.cluster.directory;

import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.Shard;

/**
 * Short names in the directory. Two chunks with one short name cost a round trip to a holder that then says no, and
 * nothing else: whoever sends bytes compares the whole name.
 */
public final class ChunkName {
    private ChunkName() {}

    /** 64 bits over namespace and key: the entry's key, when the chunk is the first of its entry. */
    public static long hash(final Hash256 namespace, final Hash256 key) {
        long h = mix(namespace.a() ^ Long.rotateLeft(namespace.c(), 32) ^ namespace.b());
        h = mix(h ^ key.a());
        h = mix(h ^ key.b());
        return mix(h ^ key.c() ^ Long.rotateLeft(key.d(), 17));
    }

    /** A chunk's tag inside an entry. */
    public static int tag(final long hash) {
        return (int) (mix(hash) >>> 32);
    }

    /** A shard's tag inside a holder's record. */
    public static int tag(final Shard shard) {
        return (int) (mix(mix(shard.first()) ^ shard.second()) >>> 32);
    }

    /** The finaliser of SplitMix64. */
    private static long mix(final long value) {
        long z = value + 0x9e3779b97f4a7c15L;
        z = (z ^ (z >>> 30)) * 0xbf58476d1ce4e5b9L;
        z = (z ^ (z >>> 27)) * 0x94d049bb133111ebL;
        return z ^ (z >>> 31);
    }
}
