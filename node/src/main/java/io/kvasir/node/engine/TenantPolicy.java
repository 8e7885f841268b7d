package io.kvasir.node.engine;

import java.util.Optional;
import jdk.net.UnixDomainPrincipal;

/** Decides which tenant a connection belongs to, from what the kernel says of the peer and the token it sent. */
@FunctionalInterface
public interface TenantPolicy {
    /**
     * @param token as the engine sent it; empty when it sent none
     * @return empty: this peer belongs to no tenant
     */
    Optional<TenantGrant> admit(UnixDomainPrincipal peer, byte[] token);
}
