package io.kvasir.storage.tier.ssd;

import io.kvasir.storage.budget.StoreLimits;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.SizeClass;
import io.kvasir.storage.tenant.TenantAccount;
import io.kvasir.storage.tenant.TenantAccounts;
import java.util.HashMap;
import java.util.Map;
import java.util.function.BiConsumer;
import java.util.function.Function;

/**
 * Charges what is on SSD to tenants. The SSD tier knows objects by their namespaces; whose a namespace is is not known
 * after a start until the catalog is open, and what was found before is charged then. Owned by the store's thread.
 */
public final class SsdAccounts {
    /** Namespaces that have something on SSD; the bytes of further ones are charged to nobody. */
    private static final int MOST = StoreLimits.NAMESPACES;

    /** One namespace's slots; null tenant: not known yet. */
    private static final class Charged {
        private TenantAccount tenant;
        private long bytes;
    }

    private final TenantAccounts accounts;
    private final Function<Hash256, String> tenantOf;
    private final BiConsumer<Hash256, String> known;
    private final Map<Hash256, Charged> byNamespace = new HashMap<>();
    private boolean anyUnknown;
    private long others;

    /**
     * @param tenantOf null while it is not known
     * @param known told whose a namespace is that has something on SSD
     */
    public SsdAccounts(
            final TenantAccounts accounts,
            final Function<Hash256, String> tenantOf,
            final BiConsumer<Hash256, String> known) {
        this.known = known;
        this.accounts = accounts;
        this.tenantOf = tenantOf;
    }

    public void add(final Hash256 namespace, final long length) {
        final long bytes = SizeClass.slotBytes(length);
        Charged charged = byNamespace.get(namespace);
        if (charged == null) {
            // While bytes are charged to nobody, it is not known which namespaces these are of.
            if (byNamespace.size() >= MOST || others > 0) {
                others += bytes;
                return;
            }
            charged = new Charged();
            byNamespace.put(namespace, charged);
        }
        if (charged.tenant == null) {
            findTenant(namespace, charged);
            anyUnknown |= charged.tenant == null;
        }
        charge(charged, bytes);
    }

    public void remove(final Hash256 namespace, final long length) {
        final long bytes = SizeClass.slotBytes(length);
        final Charged charged = byNamespace.get(namespace);
        if (charged == null) {
            others -= bytes;
            return;
        }
        charge(charged, -bytes);
        if (charged.bytes == 0) {
            byNamespace.remove(namespace);
        }
    }

    private static void charge(final Charged to, final long bytes) {
        to.bytes += bytes;
        if (to.tenant != null) {
            to.tenant.ssd(bytes);
        }
    }

    private void findTenant(final Hash256 namespace, final Charged charged) {
        final String tenant = tenantOf.apply(namespace);
        if (tenant != null) {
            charged.tenant = accounts.of(tenant);
            charged.tenant.ssd(charged.bytes);
            known.accept(namespace, tenant);
        }
    }

    /** The namespace's tenant is known now. */
    public void namespaceFound(final Hash256 namespace) {
        final Charged charged = anyUnknown ? byNamespace.get(namespace) : null;
        if (charged != null && charged.tenant == null) {
            findTenant(namespace, charged);
        }
    }

    /** More namespaces may be known now. */
    public void namespacesFound() {
        if (anyUnknown) {
            anyUnknown = false;
            byNamespace.forEach((namespace, charged) -> {
                if (charged.tenant == null) {
                    findTenant(namespace, charged);
                    anyUnknown |= charged.tenant == null;
                }
            });
        }
    }

    /** The tier is out of use. */
    public void clear() {
        for (final Charged charged : byNamespace.values()) {
            if (charged.tenant != null) {
                charged.tenant.ssd(-charged.bytes);
            }
        }
        byNamespace.clear();
        others = 0;
    }

    /** Slots that are charged to no tenant, or to none yet. */
    public long unknownBytes() {
        long bytes = others;
        for (final Charged charged : byNamespace.values()) {
            bytes += charged.tenant == null ? charged.bytes : 0;
        }
        return bytes;
    }
}
