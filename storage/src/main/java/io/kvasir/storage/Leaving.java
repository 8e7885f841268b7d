package io.kvasir.storage;

import io.kvasir.storage.object.ObjectId;

/**
 * An object that is in DRAM alone on this node, and whose turn to leave comes soon.
 *
 * @param slotBytes what it occupies
 * @param copied it counts as a copy of what another node has
 */
public record Leaving(ObjectId id, long slotBytes, boolean copied) {}
