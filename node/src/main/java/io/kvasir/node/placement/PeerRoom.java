package io.kvasir.node.placement;

/**
 * What a node tells the others about its DRAM, about once a second. It is a hint: whoever acts on it asks the peer, and
 * the peer may refuse.
 *
 * @param freeBytes that nothing occupies and no writer has reserved
 * @param queuedBytes that it still has to send and to receive
 */
public record PeerRoom(long freeBytes, long queuedBytes) {}
