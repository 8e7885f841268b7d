/**
 * The SSD tier: payload in preallocated extent files written with O_DIRECT, places in RocksDB.
 *
 * <p>In reading order: {@link io.kvasir.storage.tier.ssd.SsdTier} is the front that others call; {@code SsdThreads}
 * has its threads and their queues; {@code SsdWriter} finds objects slots, {@code ExtentWriter} puts payload there,
 * {@code SsdCommitter} makes it durable; {@code SsdReader} reads and verifies; {@code TierState} is what they share, with an
 * {@code EntryTable} off the heap and a {@code SsdOrder}; {@code HeaderPages} has what lies beside the payload on disk; {@code SsdEviction} chooses what goes; {@code ExtentPool},
 * {@code ExtentMaker} and {@code Extent} cut files into slots; {@code SlotHeader} and {@code PlaceStore} are the two forms
 * on disk; {@code Recovery} opens them again, by a {@code PlaceLoader}, with {@code FoundObjects}.
 */
package io.kvasir.storage.tier.ssd;
