package io.kvasir.storage.tier;

import io.kvasir.storage.object.SlotStatus;

/**
 * What reserving slots gave.
 *
 * @param slots packed records, one for each key
 * @param regions distinct regions that {@code slots} names
 * @param noRoom how many records say {@link SlotStatus#NO_ROOM} and may get a slot later
 * @param tooLong how many say so because this DRAM never has a slot of that length
 * @param unfinished there may be room at once: only this turn's work is done
 */
public record ReservedSlots(byte[] slots, int[] regions, int noRoom, int tooLong, boolean unfinished) {}
