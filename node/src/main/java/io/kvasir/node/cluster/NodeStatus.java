package io.kvasir.node.cluster;

/**
 * What a node tells the others about once a second: hints for placement and routers.
 *
 * @param freeBytes of its DRAM
 * @param queuedBytes on their way to it and from it
 * @param leasedBytes of its DRAM
 * @param ssdFreeBytes of its SSD
 * @param heardNs when it was heard here
 */
record NodeStatus(long freeBytes, long queuedBytes, long leasedBytes, long ssdFreeBytes, long heardNs) {
    static final NodeStatus UNKNOWN = new NodeStatus(0, 0, 0, 0, 0);

    long[] toLongs() {
        return new long[] {freeBytes, queuedBytes, leasedBytes, ssdFreeBytes};
    }

    static NodeStatus of(final long[] told, final long heardNs) {
        return told.length < 4 ? UNKNOWN : new NodeStatus(told[0], told[1], told[2], told[3], heardNs);
    }
}
