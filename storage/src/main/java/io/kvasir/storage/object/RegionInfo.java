package io.kvasir.storage.object;

/**
 * What an engine needs to map a region. File names are relative to the tenant's directory.
 *
 * @param slotBytes bytes from one slot to the next
 */
public record RegionInfo(int region, long slotBytes, int slots, String dataFile, String headerFile) {}
