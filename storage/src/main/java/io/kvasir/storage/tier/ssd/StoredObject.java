package io.kvasir.storage.tier.ssd;

import io.kvasir.storage.object.Hash256;

/**
 * What the tier keeps about an object beside its bytes.
 *
 * @param parent the key of the chunk before it; {@link Hash256#ZERO} for the first
 * @param expiryUnixMs after it the object is a miss; 0: no limit
 */
public record StoredObject(
        long length, int crc32c, int codec, Hash256 parent, int chunkIndex, int priority, long expiryUnixMs) {}
