package io.kvasir.node;

import io.kvasir.node.config.ConfigException;
import io.kvasir.node.config.NodeConfig;
import io.kvasir.node.engine.PeerCredentials;
import io.kvasir.node.engine.TenantGrant;
import io.kvasir.node.engine.TenantPolicy;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import org.agrona.concurrent.SystemNanoClock;

/**
 * Which tenant a connection belongs to. Without configured tenants every user is one, named after it. Otherwise a token
 * decides where one was sent, and the user where none was.
 */
final class Tenants implements TenantPolicy {
    private static final int NODES_OWN_GROUP = -1;

    private record Configured(String name, OptionalInt uid, OptionalInt gid, byte[] token) {}

    private final List<Configured> configured = new ArrayList<>();
    private final UserNames names = new UserNames(Accounts::name, SystemNanoClock.INSTANCE);
    private final int ownUid = ownUid();

    /** Throws {@link ConfigException} for users and groups that this machine does not have. */
    Tenants(final List<NodeConfig.Tenant> tenants) {
        final List<String> problems = new ArrayList<>();
        final Map<Integer, String> owners = new HashMap<>();
        for (final NodeConfig.Tenant tenant : tenants) {
            final OptionalInt uid = known(tenant.user(), Accounts.uid(tenant.user()), tenant.name(), "user", problems);
            final OptionalInt gid =
                    known(tenant.group(), Accounts.gid(tenant.group()), tenant.name(), "group", problems);
            if (tenant.token().isEmpty() && uid.isPresent()) {
                final String other = owners.putIfAbsent(uid.getAsInt(), tenant.name());
                if (other != null) {
                    problems.add("tenants " + other + " and " + tenant.name() + " share uid " + uid.getAsInt()
                            + ": they could read each other's memory; give each a token, or a user of its own");
                }
            }
            configured.add(
                    new Configured(tenant.name(), uid, gid, tenant.token().getBytes(StandardCharsets.UTF_8)));
        }
        if (!problems.isEmpty()) {
            throw new ConfigException(problems);
        }
    }

    /** Names of users are needed only where there are no tenants but users. */
    @Override
    public boolean isKnown(final PeerCredentials peer) {
        return !configured.isEmpty() || names.isKnown(peer.uid());
    }

    @Override
    public Optional<TenantGrant> admit(final PeerCredentials peer, final byte[] token) {
        if (configured.isEmpty()) {
            return Optional.of(ofUser(peer));
        }
        for (final Configured tenant : configured) {
            final boolean right = tenant.token.length == 0
                    ? token.length == 0 && tenant.uid.isPresent()
                    : MessageDigest.isEqual(tenant.token, token);
            if (right && (tenant.uid.isEmpty() || tenant.uid.getAsInt() == peer.uid())) {
                return Optional.of(new TenantGrant(tenant.name, tenant.gid.orElse(groupOf(peer))));
            }
        }
        return Optional.empty();
    }

    private TenantGrant ofUser(final PeerCredentials peer) {
        final String user = names.of(peer.uid());
        final String name = user.matches("[a-z0-9][a-z0-9._-]{0,63}") ? user : "uid-" + peer.uid();
        return new TenantGrant(name, groupOf(peer));
    }

    private int groupOf(final PeerCredentials peer) {
        return peer.uid() == ownUid ? NODES_OWN_GROUP : peer.gid();
    }

    private static int ownUid() {
        try {
            return (Integer) Files.getAttribute(Path.of("/proc/self"), "unix:uid");
        } catch (final IOException e) {
            throw new NodeException("the kernel does not say which user the node runs as", e);
        }
    }

    private static OptionalInt known(
            final String name,
            final OptionalInt id,
            final String tenant,
            final String what,
            final List<String> problems) {
        if (!name.isEmpty() && id.isEmpty()) {
            problems.add(
                    "tenants: tenant " + tenant + " has " + what + " " + name + ", which this machine does not know");
        }
        return name.isEmpty() ? OptionalInt.empty() : id;
    }
}
