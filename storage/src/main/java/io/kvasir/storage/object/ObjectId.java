package io.kvasir.storage.object;

/** What is stored, moved, evicted and checksummed: one shard of one chunk of one namespace. */
public record ObjectId(Hash256 namespace, Hash256 key, Shard shard) {
    /** 64 bits that spread well; equal ids give equal bits, and full equality confirms. */
    public long hash64() {
        return hash64(namespace, key, shard);
    }

    public static long hash64(final Hash256 namespace, final Hash256 key, final Shard shard) {
        long h = mix(namespace.a() ^ Long.rotateLeft(namespace.c(), 32));
        h = mix(h ^ key.a());
        h = mix(h ^ key.b());
        h = mix(h ^ key.c() ^ Long.rotateLeft(key.d(), 17));
        h = mix(h ^ shard.first());
        return mix(h ^ shard.second());
    }

    /** The finaliser of SplitMix64. */
    private static long mix(final long value) {
        long z = value + 0x9e3779b97f4a7c15L;
        z = (z ^ (z >>> 30)) * 0xbf58476d1ce4e5b9L;
        z = (z ^ (z >>> 27)) * 0x94d049bb133111ebL;
        return z ^ (z >>> 31);
    }
}
