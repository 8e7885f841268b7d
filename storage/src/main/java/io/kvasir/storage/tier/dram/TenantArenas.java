package io.kvasir.storage.tier.dram;

import io.kvasir.storage.object.StorageException;
import java.io.IOException;
import java.util.HashMap;
import java.util.Map;

/** The tenants whose directories are open in the arena. Owned by {@link DramTier}. */
final class TenantArenas {
    private final DramContext context;
    private final ArenaFiles files;
    private final Map<String, TenantArena> byName = new HashMap<>();

    TenantArenas(final DramContext context, final ArenaFiles files) {
        this.context = context;
        this.files = files;
    }

    /** Null when nobody has opened it. */
    TenantArena get(final String name) {
        return byName.get(name);
    }

    /** @throws StorageException when its directory cannot be made, or given to this group */
    TenantArena open(final String name, final int gid) {
        final TenantArena known = byName.get(name);
        if (known != null) {
            share(known, gid);
            return known;
        }
        final TenantArena tenant = new TenantArena(context.accounts().of(name), files.tenantDirectory(name), gid);
        try {
            files.createTenant(tenant);
        } catch (final IOException failure) {
            throw new StorageException("cannot make the directory of tenant " + name + ": " + failure, failure);
        }
        byName.put(name, tenant);
        return tenant;
    }

    /**
     * An earlier node's files may be of another group than the tenant has now, and those made before anybody came of the
     * node's own. Later the first group stays: two users of one tenant would else take it from each other.
     */
    private void share(final TenantArena tenant, final int gid) {
        if (gid < 0 || !(tenant.adopted || tenant.gid < 0)) {
            return;
        }
        try {
            files.shareAnew(tenant, gid);
            tenant.gid = gid;
            tenant.adopted = false;
        } catch (final IOException failure) {
            throw new StorageException(
                    "cannot give the files of tenant " + tenant.name + " to group " + gid + ": " + failure, failure);
        }
    }
}
