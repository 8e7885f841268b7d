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
     * Reads the same from all copies, for when {@link #read} takes long: a node of those that it waits for may be dying.
     * A copy may be a moment older. Unlike the other calls it may be answered several times, once for each node that was asked.
     *
     * @param answer hears of the keys of which that node can tell: the entry, or an empty one where there is none; null
     *     when nothing can be had
     */
    void readCopies(long[] keys, Consumer<Map<Long, byte[]>> answer);

    /**
     * Merges a holder's records into their entries, as {@link Entry#merge} says.
     *
     * @param done false: some or all may not have arrived
     */
    void update(Map<Long, byte[]> records, Consumer<Boolean> done);
}
