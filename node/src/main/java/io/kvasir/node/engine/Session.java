package io.kvasir.node.engine;

import io.kvasir.storage.lease.LeaseHolder;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ShardSet;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/** One engine: its scheduler and all its workers. Ends with its last connection. */
final class Session {
    /** Handles are not reused, so a session that opens namespaces without end is stopped here. */
    static final int MAX_NAMESPACES = 4096;

    /** A namespace that the session opened; its handle is its place in the list, counted from 1. */
    record Opened(Hash256 id, int chunkTokens) {}

    final long id;
    final byte[] secret;
    final String name;
    final TenantGrant tenant;
    final LeaseHolder holder;
    final Set<Connection> connections = new HashSet<>();
    private final ShardSet shards;
    private final List<Opened> namespaces = new ArrayList<>();

    Session(final long id, final byte[] secret, final String name, final TenantGrant tenant, final LeaseHolder holder) {
        this.id = id;
        this.secret = secret;
        this.name = name;
        this.tenant = tenant;
        this.holder = holder;
        shards = holder.shards();
    }

    ShardSet shards() {
        return shards;
    }

    /** What it takes of {@link Budget#SESSION_BYTES}. */
    long bytes() {
        return shards.shards().size() * Budget.SHARD_BYTES
                + shards.rules().size() * Budget.RULE_BYTES
                + namespaces.size() * Budget.NAMESPACE_BYTES;
    }

    boolean hasOpen(final Hash256 namespace) {
        return namespaces.stream().anyMatch(opened -> opened.id().equals(namespace));
    }

    List<Opened> namespaces() {
        return namespaces;
    }

    /** Null when the session never opened it. */
    Opened namespace(final int handle) {
        return handle >= 1 && handle <= namespaces.size() ? namespaces.get(handle - 1) : null;
    }

    /** The handle of the namespace, which is opened when it was not; 0 when there are too many. */
    int open(final Hash256 namespace, final int chunkTokens) {
        for (int i = 0; i < namespaces.size(); i++) {
            if (namespaces.get(i).id().equals(namespace)) {
                return i + 1;
            }
        }
        if (namespaces.size() == MAX_NAMESPACES) {
            return 0;
        }
        namespaces.add(new Opened(namespace, chunkTokens));
        return namespaces.size();
    }
}
