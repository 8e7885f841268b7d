package io.kvasir.node.cluster.directory;

import java.util.Map;
import java.util.function.Consumer;

/**
 * Where entries lie. No call blocks. Each is answered at most once, from any thread; a call that is not answered has
 * failed, and whoever asked keeps a deadline.
 */
public interface Directory {
    /** The entries that are there; null when they cannot be had. */
    void read(long[] keys, Consumer<Map<Long, byte[]>> answer);

    /**
     * Merges a holder's records into their entries, as {@link Entry#merge} says.
     *
     * @param done false: some or all may not have arrived
     */
    void update(Map<Long, byte[]> records, Consumer<Boolean> done);
}
