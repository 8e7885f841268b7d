package io.kvasir.storage.index;

import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.Shard;
import java.util.random.RandomGenerator;

/**
 * SipHash-1-3 (Aumasson, Bernstein: SipHash, 2012; the variant that hash tables of Rust and Python use) of an id's 80
 * bytes: namespace, key, shard. Without the 128-bit secret nobody can make ids that collide or crowd one place. Keeps
 * the state behind the last namespace, since a call's keys share one. Single-threaded; allocates nothing.
 */
public final class SipHash implements ObjectHash {
    private static final long LENGTH = (long) (2 * Hash256.BYTES + Shard.BYTES) << 56;

    private final long start0;
    private final long start1;
    private final long start2;
    private final long start3;

    /** The namespace that the last call had, and the state behind it. */
    private Hash256 last;

    private long last0;
    private long last1;
    private long last2;
    private long last3;

    private long v0;
    private long v1;
    private long v2;
    private long v3;

    public SipHash(final RandomGenerator secrets) {
        this(secrets.nextLong(), secrets.nextLong());
    }

    SipHash(final long secret0, final long secret1) {
        start0 = secret0 ^ 0x736f6d6570736575L;
        start1 = secret1 ^ 0x646f72616e646f6dL;
        start2 = secret0 ^ 0x6c7967656e657261L;
        start3 = secret1 ^ 0x7465646279746573L;
        begin(Hash256.ZERO);
    }

    /** The same hash, for another thread. */
    public SipHash copy() {
        return new SipHash(start0 ^ 0x736f6d6570736575L, start1 ^ 0x646f72616e646f6dL);
    }

    @Override
    public long of(final Hash256 namespace, final Hash256 key, final Shard shard) {
        if (!namespace.equals(last)) {
            begin(namespace);
        }
        v0 = last0;
        v1 = last1;
        v2 = last2;
        v3 = last3;
        absorb(key.a());
        absorb(key.b());
        absorb(key.c());
        absorb(key.d());
        absorb(shard.first());
        absorb(shard.second());
        absorb(LENGTH);
        v2 ^= 0xff;
        round();
        round();
        round();
        return v0 ^ v1 ^ v2 ^ v3;
    }

    private void begin(final Hash256 namespace) {
        v0 = start0;
        v1 = start1;
        v2 = start2;
        v3 = start3;
        absorb(namespace.a());
        absorb(namespace.b());
        absorb(namespace.c());
        absorb(namespace.d());
        last = namespace;
        last0 = v0;
        last1 = v1;
        last2 = v2;
        last3 = v3;
    }

    private void absorb(final long word) {
        v3 ^= word;
        round();
        v0 ^= word;
    }

    private void round() {
        v0 += v1;
        v1 = Long.rotateLeft(v1, 13) ^ v0;
        v0 = Long.rotateLeft(v0, 32);
        v2 += v3;
        v3 = Long.rotateLeft(v3, 16) ^ v2;
        v0 += v3;
        v3 = Long.rotateLeft(v3, 21) ^ v0;
        v2 += v1;
        v1 = Long.rotateLeft(v1, 17) ^ v2;
        v2 = Long.rotateLeft(v2, 32);
    }
}
