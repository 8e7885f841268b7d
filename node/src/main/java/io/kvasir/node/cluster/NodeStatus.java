package io.kvasir.node.cluster;

/**
 * What a node tells the others about once a second: hints for placement and routers.
 *
 * @param freeBytes of its DRAM
 * @param queuedBytes on their way to it
 * @param leasedBytes of its DRAM
 */
record NodeStatus(long freeBytes, long queuedBytes, long leasedBytes) {
    static final NodeStatus UNKNOWN = new NodeStatus(0, 0, 0);

    long[] toLongs() {
        return new long[] {freeBytes, queuedBytes, leasedBytes};
    }

    static NodeStatus of(final long[] told) {
        return told.length < 3 ? UNKNOWN : new NodeStatus(told[0], told[1], told[2]);
    }
}
