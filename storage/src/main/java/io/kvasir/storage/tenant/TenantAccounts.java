package io.kvasir.storage.tenant;

import java.util.Collection;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * The accounts of all tenants: what each has of DRAM, SSD and connections beside what it may have. Made and called by the
 * store's owner; everything that takes or gives space counts here as it does so, so that nothing is ever summed anew.
 */
public final class TenantAccounts {
    private final Map<String, TenantAccount> byName = new LinkedHashMap<>();
    private final Map<String, TenantShare> shares;

    /** @param shares by tenant; who is not in it has {@link TenantShare#NONE} */
    public TenantAccounts(final Map<String, TenantShare> shares) {
        this.shares = Map.copyOf(shares);
        this.shares.keySet().stream().sorted().forEach(this::of);
    }

    /** The tenant's account, made when it is not there. */
    public TenantAccount of(final String tenant) {
        final TenantAccount known = byName.get(tenant);
        if (known != null) {
            return known;
        }
        final TenantAccount made =
                new TenantAccount(tenant, byName.size(), shares.getOrDefault(tenant, TenantShare.NONE));
        byName.put(tenant, made);
        return made;
    }

    public Collection<TenantAccount> all() {
        return Collections.unmodifiableCollection(byName.values());
    }
}
