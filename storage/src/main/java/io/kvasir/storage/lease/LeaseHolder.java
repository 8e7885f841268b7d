package io.kvasir.storage.lease;

import io.kvasir.storage.object.ShardSet;
import io.kvasir.storage.tenant.Tenant;

/** Owner of leases: one session. */
public interface LeaseHolder {
    Tenant tenant();

    ShardSet shards();
}
