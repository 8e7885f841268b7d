package io.kvasir.storage.lookup;

import io.kvasir.storage.object.PlanRange;
import java.util.List;

/**
 * What a lookup answers.
 *
 * @param lease 0 when nothing was leased
 * @param slots packed records, chunk-major: hitChunks (sparse: all keys) x shards asked for
 * @param regions distinct regions that {@code slots} names
 * @param quotaRefused a quota left out hits
 */
public record LookupAnswer(
        long lease,
        long leaseNs,
        int hitChunks,
        int pendingChunks,
        byte[] slots,
        int[] regions,
        List<PlanRange> plan,
        boolean quotaRefused) {}
