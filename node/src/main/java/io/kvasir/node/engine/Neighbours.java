package io.kvasir.node.engine;

import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.Shard;
import java.util.List;
import java.util.function.BiConsumer;

/** The other nodes, as far as engines ask for them. Called on the server's thread; no call waits. */
public interface Neighbours {
    /**
     * What a router wants to know of one node.
     *
     * @param prefixChunks leading chunks that it holds in every shard
     * @param freeBytes of its DRAM
     * @param queuedBytes on their way to it
     * @param leasedBytes of its DRAM
     */
    record Score(
            String node, byte[] incarnation, int prefixChunks, long freeBytes, long queuedBytes, long leasedBytes) {}

    /**
     * Scores of the other nodes, and of this one with the prefix given.
     *
     * @param answer on the server's thread, once; false: the directory did not answer in time
     */
    void scores(
            Hash256 namespace, byte[] keys, List<Shard> shards, int ownPrefix, BiConsumer<List<Score>, Boolean> answer);

    /**
     * Sends what is here of these chunks to the node of that name, and the rest as it is committed.
     *
     * @throws CallException when there is no such node
     */
    void handoff(Hash256 namespace, byte[] keys, List<Shard> shards, String target, long ttlNs);
}
