package io.kvasir.storage;

import io.kvasir.storage.lease.LeaseHolder;
import io.kvasir.storage.lease.SessionLeases;
import io.kvasir.storage.object.ShardSet;
import io.kvasir.storage.tenant.Tenant;

/** One session, as the owner of leases. Made by {@link StoreAgent}. */
final class SessionHolder implements LeaseHolder {
    final Tenant tenant;
    final SessionLeases leases;
    /** Null once it is closed: its leases may stay for as long as its processes live. */
    ShardSet shards;

    SessionHolder(final Tenant tenant, final SessionLeases leases, final ShardSet shards) {
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
}
