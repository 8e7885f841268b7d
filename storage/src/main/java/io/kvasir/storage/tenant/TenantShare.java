package io.kvasir.storage.tenant;

/**
 * What one tenant may have. Bytes of DRAM are those of whole region files, since nobody else can use what lies in them;
 * bytes of SSD are those of slots.
 *
 * @param dramMin others' stores take no region from the tenant while it would have less afterwards
 * @param dramMax past it the tenant's stores evict its own objects, and only them
 * @param ssdMin others' stores evict nothing of the tenant while it would have less afterwards
 * @param ssdMax past it nothing of the tenant is written to SSD
 * @param maxConnections that have said Hello
 */
public record TenantShare(long dramMin, long dramMax, long ssdMin, long ssdMax, int maxConnections) {
    /** Of a tenant that the configuration does not name: no guarantee, and no bound of its own. */
    public static final TenantShare NONE = new TenantShare(0, Long.MAX_VALUE, 0, Long.MAX_VALUE, Integer.MAX_VALUE);
}
