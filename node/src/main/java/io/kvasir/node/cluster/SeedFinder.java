package io.kvasir.node.cluster;

import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.UnknownHostException;
import java.util.Collection;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import org.apache.ignite.spi.discovery.tcp.ipfinder.TcpDiscoveryIpFinderAdapter;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Where other nodes may be: all addresses that the seeds' names stand for now. */
final class SeedFinder extends TcpDiscoveryIpFinderAdapter {
    private static final Logger LOG = LoggerFactory.getLogger(SeedFinder.class);
    private final List<String> seeds;

    /** @param seeds HOST:PORT each */
    SeedFinder(final List<String> seeds) {
        this.seeds = List.copyOf(seeds);
    }

    @Override
    public Collection<InetSocketAddress> getRegisteredAddresses() {
        return resolve(seeds);
    }

    /** What cannot be resolved now is left out. */
    static Set<InetSocketAddress> resolve(final List<String> seeds) {
        final Set<InetSocketAddress> found = new LinkedHashSet<>();
        for (final String seed : seeds) {
            final int colon = seed.lastIndexOf(':');
            final String host = seed.substring(0, colon).replaceAll("^\\[|\\]$", "");
            final int port = Integer.parseInt(seed.substring(colon + 1));
            try {
                for (final InetAddress address : InetAddress.getAllByName(host)) {
                    found.add(new InetSocketAddress(address, port));
                }
            } catch (final UnknownHostException notNow) {
                LOG.debug("The seed {} has no address now", seed);
            }
        }
        return found;
    }

    @Override
    public void registerAddresses(final Collection<InetSocketAddress> addresses) {
        // Seeds are configured, not learned.
    }

    @Override
    public void unregisterAddresses(final Collection<InetSocketAddress> addresses) {
        // Seeds are configured, not learned.
    }
}
