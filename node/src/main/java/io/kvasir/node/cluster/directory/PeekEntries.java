package io.kvasir.node.cluster.directory;

import java.util.HashMap;
import java.util.Map;
import org.apache.ignite.Ignite;
import org.apache.ignite.IgniteCache;
import org.apache.ignite.cache.CachePeekMode;
import org.apache.ignite.lang.IgniteCallable;
import org.apache.ignite.resources.IgniteInstanceResource;

/** Runs where copies of entries lie: those that are there. Ignite's own serialisation carries it. */
final class PeekEntries implements IgniteCallable<Map<Long, byte[]>> {
    private static final long serialVersionUID = 1;

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
        final Map<Long, byte[]> found = HashMap.newHashMap(keys.length);
        for (final long key : keys) {
            final byte[] entry = cache.localPeek(key, CachePeekMode.PRIMARY, CachePeekMode.BACKUP);
            if (entry != null) {
                found.put(key, entry);
            }
        }
        return found;
    }
}
