package io.kvasir.storage.tier;

import io.kvasir.storage.tenant.Tenant;

/** One process of an engine, and the lock that shows that it lives. */
public interface Attachment {
    /** Names it in header tables and lock files, where every process of the tenant can read it. */
    long id();

    /** Known to its process alone: proof that it is the one that says that its copies have stopped. */
    long secret();

    Tenant tenant();

    /** Relative to the tenant's directory. */
    String lockFile();
}
