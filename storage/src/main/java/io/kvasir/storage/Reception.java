package io.kvasir.storage;

import io.kvasir.storage.object.SlotStatus;

/**
 * Answer to an object that another node would send.
 *
 * @param status {@link SlotStatus#GRANTED}, EXISTS, IN_FLIGHT or NO_ROOM
 * @param slot null unless granted
 */
public record Reception(byte status, Incoming slot) {}
