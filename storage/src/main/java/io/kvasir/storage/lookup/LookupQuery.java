package io.kvasir.storage.lookup;

import io.kvasir.storage.object.Hash256;

/**
 * What an engine asks.
 *
 * @param keys n x 32 bytes
 * @param shardIndices shards of which {@link LookupAnswer#slots()} has records; empty: all
 * @param leaseNs 0: the default
 * @param peek neither leases nor starts fetches
 * @param recomputeNsPerChunk the engine's time to compute one chunk; 0: unknown
 */
public record LookupQuery(
        Hash256 namespace,
        byte[] keys,
        int[] shardIndices,
        long leaseNs,
        boolean peek,
        boolean sparse,
        int priority,
        long recomputeNsPerChunk) {}
