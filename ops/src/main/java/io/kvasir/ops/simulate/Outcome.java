package io.kvasir.ops.simulate;

/**
 * What one simulation found. Counts are chunks unless they say otherwise.
 *
 * @param hitRate leading chunks that were somewhere / chunks asked for
 * @param timeSaved the same, each chunk weighed with the prefill time that the cost-aware policy assumes for it
 * @param pulled chunks that came from a peer
 * @param moved last copies that went to a peer instead of being dropped
 * @param staleHints holders that the directory named and that had it no more
 * @param pullMsP50 time of a request's pulls on links without other traffic
 * @param entriesPerLookup directory entries read for a lookup that asked the directory
 * @param chunksPerLookup chunks asked for in it: what a directory of one entry for each chunk would be asked
 * @param recordsPerChunk update records sent for each chunk that came or went; 1 with one entry for each chunk
 * @param directoryPerNode reads and updates that a node answers for its part of the directory, per second
 * @param directoryBusiest the same of the busiest node
 * @param directoryBytesPerChunk of the entries at the end, for each chunk that some node holds
 */
record Outcome(
        String trace,
        int nodes,
        int capacity,
        String policy,
        String routing,
        String sharing,
        int requests,
        long chunks,
        double hitRate,
        double timeSaved,
        long local,
        long pulled,
        long evicted,
        long moved,
        long staleHints,
        double pullMsP50,
        double pullMsP99,
        long lookups,
        double entriesPerLookup,
        double chunksPerLookup,
        double recordsPerChunk,
        double directoryPerNode,
        double directoryBusiest,
        double directoryBytesPerChunk,
        double seconds) {}
