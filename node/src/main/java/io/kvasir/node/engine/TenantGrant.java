package io.kvasir.node.engine;

/**
 * The tenant that a connection was admitted as.
 *
 * @param gid group that may read the tenant's regions; -1: the node's own
 */
public record TenantGrant(String name, int gid) {}
