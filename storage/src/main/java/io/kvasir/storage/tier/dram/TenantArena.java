package io.kvasir.storage.tier.dram;

import io.kvasir.storage.tenant.Tenant;
import io.kvasir.storage.tenant.TenantAccount;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.agrona.collections.Long2ObjectHashMap;

/** One tenant's directory of the arena and the regions in it; owned by {@link DramTier}. */
public final class TenantArena implements Tenant {
    final String name;
    final TenantAccount account;
    final Path path;
    /** Group that may read the directory and write the payload files; -1: the node's own. */
    volatile int gid;

    /** The group is what an earlier node left, and nobody has come yet. */
    boolean adopted;

    /** Searches for eviction candidates that look at this tenant's objects alone, after one that met none. */
    int ownSearches;

    /** When it may look again for what others have of its minimum. */
    long takesAgainMs;

    final RegionPace pace = new RegionPace();
    final List<Region> regions = new ArrayList<>();
    /** By slot size. */
    private final Long2ObjectHashMap<Pool> pools = new Long2ObjectHashMap<>();

    TenantArena(final TenantAccount account, final Path path, final int gid) {
        this.name = account.name();
        this.account = account;
        this.path = path;
        this.gid = gid;
    }

    Pool pool(final long slotBytes) {
        return pools.computeIfAbsent(slotBytes, bytes -> new Pool(this, bytes));
    }

    @Override
    public String name() {
        return name;
    }

    @Override
    public String directory() {
        return path.toString();
    }
}
