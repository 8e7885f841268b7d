package io.kvasir.node;

import io.kvasir.node.config.ConfigException;
import io.kvasir.node.config.NodeConfig;
import io.kvasir.node.config.OwnUser;
import io.kvasir.node.engine.TenantGrant;
import io.kvasir.node.engine.TenantPolicy;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import jdk.net.UnixDomainPrincipal;

/**
 * Which tenant a connection belongs to. Without configured tenants every user is one, named after it. Otherwise a token
 * decides where one was sent, and the user where none was.
 */
final class Tenants implements TenantPolicy {
    private static final int NODES_OWN_GROUP = -1;

    private record Configured(String name, OptionalInt uid, OptionalInt gid, byte[] token) {}

    private final List<Configured> configured = new ArrayList<>();
    private final Map<String, Optional<TenantGrant>> byUser = new HashMap<>();
    private final String ownUser = OwnUser.name();

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

    @Override
    public Optional<TenantGrant> admit(final UnixDomainPrincipal peer, final byte[] token) {
        if (configured.isEmpty()) {
            return byUser.computeIfAbsent(peer.user().getName(), user -> Optional.of(ofUser(user, group(peer))));
        }
        final OptionalInt uid = Accounts.uid(peer.user().getName());
        for (final Configured tenant : configured) {
            final boolean right = tenant.token.length == 0
                    ? token.length == 0 && tenant.uid.isPresent()
                    : MessageDigest.isEqual(tenant.token, token);
            if (right && (tenant.uid.isEmpty() || tenant.uid.equals(uid))) {
                final int gid = tenant.gid.isPresent() ? tenant.gid.getAsInt() : groupOf(peer);
                return Optional.of(new TenantGrant(tenant.name, gid));
            }
        }
        return Optional.empty();
    }

    private TenantGrant ofUser(final String user, final OptionalInt gid) {
        final boolean plain = user.matches("[a-z0-9][a-z0-9._-]{0,63}");
        final OptionalInt uid = plain ? OptionalInt.empty() : Accounts.uid(user);
        final String name = plain
                ? user
                : "uid-"
                        + (uid.isPresent()
                                ? uid.getAsInt()
                                : user.toLowerCase(Locale.ROOT).hashCode());
        return new TenantGrant(name, user.equals(ownUser) ? NODES_OWN_GROUP : gid.orElse(NODES_OWN_GROUP));
    }

    private int groupOf(final UnixDomainPrincipal peer) {
        return peer.user().getName().equals(ownUser)
                ? NODES_OWN_GROUP
                : group(peer).orElse(NODES_OWN_GROUP);
    }

    private static OptionalInt group(final UnixDomainPrincipal peer) {
        return Accounts.gid(peer.group().getName());
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
