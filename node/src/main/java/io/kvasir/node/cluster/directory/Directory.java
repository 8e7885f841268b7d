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
     * Reads the same from copies on other nodes than the one that {@link #read} may be waiting for: a moment older, and
     * without what has not come to a new copy yet. Unlike the other calls it may be answered several times, once for each
     * node that was asked.
     */
    void readCopies(long[] keys, CopiesAnswer answer);

    /** Hears what one node has. */
    interface CopiesAnswer {
        /**
         * @param keys that were asked for there
         * @param entries those of them that are there; null when they cannot be had
         */
        void copied(long[] keys, Map<Long, byte[]> entries);
    }

    /**
     * Merges a holder's records into their entries, as {@link Entry#merge} says.
     *
     * @param done false: some or all may not have arrived
     */
    void update(Map<Long, byte[]> records, Consumer<Boolean> done);
}
