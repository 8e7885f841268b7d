package io.kvasir.transport;

/**
 * Which bytes an object has, and what travels beside them. Two holders may have different bytes under one name; length,
 * checksum and codec tell versions apart, and bytes of two versions are never mixed.
 *
 * @param length stored bytes, above 0
 * @param crc32c of the stored bytes
 * @param codec how the bytes are encoded; 0: raw
 * @param parent0 first of the four words of the parent chunk's key, little-endian; all 0 for the first of a chain
 * @param chunkIndex place in the chain
 * @param priority of keeping it
 * @param expiryUnixMs after it the object is a miss; 0: no limit
 */
public record ObjectVersion(
        long length,
        int crc32c,
        int codec,
        long parent0,
        long parent1,
        long parent2,
        long parent3,
        int chunkIndex,
        int priority,
        long expiryUnixMs) {
    /** Of the same bytes, whatever travels beside them. */
    public boolean sameBytes(final ObjectVersion other) {
        return length == other.length && crc32c == other.crc32c && codec == other.codec;
    }

    /** What each slice carries of its version: 64 bits over length, checksum and codec. */
    long tag() {
        return mix(mix(length) ^ Integer.toUnsignedLong(crc32c) ^ (long) codec << 32);
    }

    /** The finaliser of SplitMix64. */
    private static long mix(final long value) {
        long z = value + 0x9e3779b97f4a7c15L;
        z = (z ^ (z >>> 30)) * 0xbf58476d1ce4e5b9L;
        z = (z ^ (z >>> 27)) * 0x94d049bb133111ebL;
        return z ^ (z >>> 31);
    }
}
