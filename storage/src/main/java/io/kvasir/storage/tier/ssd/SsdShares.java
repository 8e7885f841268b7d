package io.kvasir.storage.tier.ssd;

import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.tenant.TenantShare;
import java.util.Collection;
import java.util.HashMap;
import java.util.Map;
import org.agrona.collections.Long2ObjectHashMap;

/**
 * What tenants with a share have on the SSD, under {@link TierState#lock}: what is evicted is chosen here, on the tier's
 * threads, and a minimum that is checked elsewhere would be checked too late. Objects name namespaces; whose these are
 * the tier is told. Without shares it counts nothing.
 */
final class SsdShares {
    /** Part of a maximum that is kept free, so that what the tenant writes next finds space. */
    private static final int FREE_PART = 16;

    /** One tenant. */
    static final class Share {
        private final long min;
        private final long max;
        private long bytes;
        /** Chosen in the search that is under way. */
        private long chosen;

        private Share(final TenantShare share) {
            min = share.ssdMin();
            max = share.ssdMax();
        }

        /** Bytes that have to go so that the tenant can write on; 0 when it can. */
        long excess() {
            return Math.max(0, bytes - (max - max / FREE_PART));
        }
    }

    /** One namespace; null share: it has none, or is not known yet. */
    private static final class Counted {
        private long bytes;
        private Share share;
    }

    private final Map<String, Share> byTenant = new HashMap<>();
    /** By the first 64 bits, which no other tenant can choose. */
    private final Long2ObjectHashMap<Counted> byNamespace = new Long2ObjectHashMap<>();

    SsdShares(final Map<String, TenantShare> shares, final long capacity) {
        shares.forEach((tenant, share) -> {
            if (share.ssdMin() > 0 || share.ssdMax() < capacity) {
                byTenant.put(tenant, new Share(share));
            }
        });
    }

    boolean isEmpty() {
        return byTenant.isEmpty();
    }

    Collection<Share> all() {
        return byTenant.values();
    }

    /** Whose the namespace is. */
    void belongs(final Hash256 namespace, final String tenant) {
        final Share share = byTenant.get(tenant);
        if (share != null) {
            final Counted counted = byNamespace.computeIfAbsent(namespace.a(), key -> new Counted());
            if (counted.share == null) {
                counted.share = share;
                share.bytes += counted.bytes;
            }
        }
    }

    /** @param namespace its first 64 bits */
    void add(final long namespace, final long bytes) {
        if (!isEmpty()) {
            final Counted counted = byNamespace.computeIfAbsent(namespace, key -> new Counted());
            counted.bytes += bytes;
            if (counted.share != null) {
                counted.share.bytes += bytes;
            }
        }
    }

    void remove(final long namespace, final long bytes) {
        if (!isEmpty()) {
            final Counted counted = byNamespace.get(namespace);
            counted.bytes -= bytes;
            if (counted.share != null) {
                counted.share.bytes -= bytes;
            } else if (counted.bytes == 0) {
                byNamespace.remove(namespace);
            }
        }
    }

    boolean isOf(final long namespace, final Share share) {
        final Counted counted = byNamespace.get(namespace);
        return counted != null && counted.share == share;
    }

    /** A search for what goes begins: nothing is chosen. */
    void beginChoice() {
        byTenant.values().forEach(share -> share.chosen = 0);
    }

    /** False when the tenant's minimum keeps it; else it counts as chosen. */
    boolean choose(final long namespace, final long bytes) {
        if (isEmpty()) {
            return true;
        }
        final Counted counted = byNamespace.get(namespace);
        if (counted == null || counted.share == null) {
            return true;
        }
        final Share share = counted.share;
        if (share.min > 0 && share.bytes - share.chosen - bytes < share.min) {
            return false;
        }
        share.chosen += bytes;
        return true;
    }
}
