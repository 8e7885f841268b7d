package io.kvasir.storage.lease;

import io.kvasir.storage.object.ShardSet;
import io.kvasir.storage.tenant.Tenant;

/** One session, as the owner of leases. Used by the store's thread. */
public final class SessionHolder implements LeaseHolder {
    public final Tenant tenant;
    public final SessionLeases leases;
    /** Null once it is closed: its leases may stay for as long as its processes live. */
    private ShardSet shards;

    public SessionHolder(final Tenant tenant, final SessionLeases leases, final ShardSet shards) {
        this.tenant = tenant;
        this.leases = leases;
        this.shards = shards;
    }

    @Override
    public Tenant tenant() {
        return tenant;
    }

    @Override
    public ShardSet shards() {
        return shards;
    }

    /** No lookup comes any more. */
    public void close() {
        shards = null;
    }
}
