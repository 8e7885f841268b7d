package io.kvasir.node.cluster;

import java.io.Serializable;
import java.util.UUID;
import org.apache.ignite.cluster.ClusterNode;
import org.apache.ignite.plugin.CachePluginContext;
import org.apache.ignite.plugin.CachePluginProvider;
import org.apache.ignite.plugin.ExtensionRegistry;
import org.apache.ignite.plugin.IgnitePlugin;
import org.apache.ignite.plugin.PluginConfiguration;
import org.apache.ignite.plugin.PluginContext;
import org.apache.ignite.plugin.PluginProvider;
import org.apache.ignite.plugin.PluginValidationException;

/** Ignite asks it about every node that wants to join; who does not prove to know the secret is refused, and told so. */
final class SecretPlugin implements PluginProvider<PluginConfiguration> {
    private static final String USE = "member";
    private final ClusterSecret secret;

    SecretPlugin(final ClusterSecret secret) {
        this.secret = secret;
    }

    /** What a node shows. */
    String proof(final String incarnation, final Object consistentId) {
        return secret.prove(USE, incarnation + "/" + consistentId);
    }

    boolean isMember(final ClusterNode node) {
        return secret.isProof(
                node.attribute(IgniteInstance.PROOF),
                USE,
                node.attribute(IgniteInstance.INCARNATION) + "/" + node.consistentId());
    }

    @Override
    @SuppressWarnings("deprecation") // the newer form calls this one, and has nothing to add
    public void validateNewNode(final ClusterNode node) {
        final String protocol = node.attribute(IgniteInstance.PROTOCOL);
        final String name = node.attribute(IgniteInstance.NAME);
        if (!IgniteInstance.VERSION.equals(protocol)) {
            refuse(
                    node,
                    "node " + name + " speaks version " + protocol + " of the cluster's protocol, this cluster "
                            + IgniteInstance.VERSION + "; run the same Kvasir version on all nodes");
        }
        if (!isMember(node)) {
            refuse(node, "node " + name + " has another cluster.secret than this cluster; set the same on all nodes");
        }
    }

    private static void refuse(final ClusterNode node, final String reason) {
        throw new PluginValidationException(reason, reason, node.id());
    }

    @Override
    public String name() {
        return "kvasir-secret";
    }

    @Override
    public String version() {
        return IgniteInstance.VERSION;
    }

    @Override
    public String copyright() {
        return "Kvasir";
    }

    @Override
    @SuppressWarnings({"unchecked", "TypeParameterUnusedInFormals"})
    public <T extends IgnitePlugin> T plugin() {
        return (T) new IgnitePlugin() {};
    }

    @Override
    public void initExtensions(final PluginContext context, final ExtensionRegistry registry) {
        // None.
    }

    @Override
    public <T> T createComponent(final PluginContext context, final Class<T> type) {
        return null;
    }

    @Override
    @SuppressWarnings("rawtypes")
    public CachePluginProvider createCacheProvider(final CachePluginContext context) {
        return null;
    }

    @Override
    public void start(final PluginContext context) {
        // Nothing to start.
    }

    @Override
    public void stop(final boolean cancel) {
        // Nothing to stop.
    }

    @Override
    public void onIgniteStart() {
        // Nothing to do.
    }

    @Override
    public void onIgniteStop(final boolean cancel) {
        // Nothing to do.
    }

    @Override
    public Serializable provideDiscoveryData(final UUID node) {
        return null;
    }

    @Override
    public void receiveDiscoveryData(final UUID node, final Serializable data) {
        // None is sent.
    }
}
