package io.kvasir.node.cluster.directory;

import java.util.HashMap;
import java.util.Map;
import org.apache.ignite.Ignite;
import org.apache.ignite.IgniteCache;
import org.apache.ignite.cache.CachePeekMode;
import org.apache.ignite.internal.IgniteEx;
import org.apache.ignite.internal.processors.affinity.AffinityTopologyVersion;
import org.apache.ignite.internal.processors.cache.distributed.dht.topology.GridDhtLocalPartition;
import org.apache.ignite.internal.processors.cache.distributed.dht.topology.GridDhtPartitionState;
import org.apache.ignite.internal.processors.cache.distributed.dht.topology.GridDhtPartitionTopology;
import org.apache.ignite.lang.IgniteCallable;
import org.apache.ignite.resources.IgniteInstanceResource;

/**
 * Runs where copies of entries lie. Tells of those that are there, and of those of which this node knows that they are
 * not: a copy that is still being made may lack what there is. Ignite's own serialisation carries it.
 */
final class PeekEntries implements IgniteCallable<Map<Long, byte[]>> {
    private static final long serialVersionUID = 1;
    private static final byte[] NONE = {};

    private final long[] keys;

    @IgniteInstanceResource
    private transient Ignite ignite;

    PeekEntries(final long[] keys) {
        this.keys = keys;
    }

    @Override
    public Map<Long, byte[]> call() {
        return entries(ignite);
    }

    Map<Long, byte[]> entries(final Ignite here) {
        final IgniteCache<Long, byte[]> cache = here.cache(IgniteDirectory.CACHE);
        final Map<Long, byte[]> told = HashMap.newHashMap(keys.length);
        for (final long key : keys) {
            final boolean whole =
                    isWhole(here, here.affinity(IgniteDirectory.CACHE).partition(key));
            final byte[] entry = cache.localPeek(key, CachePeekMode.PRIMARY, CachePeekMode.BACKUP);
            if (entry != null) {
                told.put(key, entry);
            } else if (whole) {
                told.put(key, NONE);
            }
        }
        return told;
    }

    /** Ignite says this inside only. */
    private static boolean isWhole(final Ignite here, final int partition) {
        final GridDhtPartitionTopology all = ((IgniteEx) here)
                .context()
                .cache()
                .internalCache(IgniteDirectory.CACHE)
                .context()
                .topology();
        final GridDhtLocalPartition copy = all.localPartition(partition, AffinityTopologyVersion.NONE, false);
        return copy != null && copy.state() == GridDhtPartitionState.OWNING;
    }
}
