package io.kvasir.node.engine;

import java.util.Optional;

/** Decides which tenant a connection belongs to, from what the kernel says of the peer and the token it sent. */
@FunctionalInterface
public interface TenantPolicy {
    /**
     * Any thread. Waits for the machine's name service unless {@link #isKnown}.
     *
     * @param token as the engine sent it; empty when it sent none
     * @return empty: this peer belongs to no tenant
     * @throws IllegalStateException when the name service failed
     */
    Optional<TenantGrant> admit(PeerCredentials peer, byte[] token);

    /** True when {@link #admit} needs nothing that it would have to wait for. */
    default boolean isKnown(final PeerCredentials peer) {
        return true;
    }
}
