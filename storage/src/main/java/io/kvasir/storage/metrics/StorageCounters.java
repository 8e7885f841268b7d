package io.kvasir.storage.metrics;

import java.util.concurrent.atomic.LongAdder;
import java.util.function.LongConsumer;

/** What happened in the store since its start; any thread reads it. */
public final class StorageCounters {
    public final LongAdder hits = new LongAdder();
    public final LongAdder pending = new LongAdder();
    public final LongAdder misses = new LongAdder();
    public final LongAdder stored = new LongAdder();
    public final LongAdder storedBytes = new LongAdder();
    /** Objects read from SSD into DRAM. */
    public final LongAdder promoted = new LongAdder();

    public final LongAdder promotedBytes = new LongAdder();
    /** Objects written from DRAM to SSD. */
    public final LongAdder demoted = new LongAdder();

    public final LongAdder demotedBytes = new LongAdder();
    /** Questions to the directory who has something. */
    public final LongAdder remoteAsked = new LongAdder();
    /** Objects received from other nodes because a lookup wanted them. */
    public final LongAdder pulled = new LongAdder();

    public final LongAdder pulledBytes = new LongAdder();
    public final LongAdder pullsFailed = new LongAdder();
    /** Objects received from other nodes because those sent them. */
    public final LongAdder received = new LongAdder();
    /** Hears how long each pull took. */
    public volatile LongConsumer pullNanos = nanos -> {};
    /** Hears how much longer a pull took than the engine would have waited for it; 0 when it was in time. */
    public volatile LongConsumer pullRegretNanos = nanos -> {};
    /** Left DRAM as a copy of what another node has. */
    public final LongAdder evictedCopies = new LongAdder();
    /** Left DRAM with a copy on SSD. */
    public final LongAdder evictedClean = new LongAdder();
    /** Left DRAM, and with it the node: the SSD was too slow or full, or there is none. */
    public final LongAdder evictedUndemoted = new LongAdder();
    /** Moved to another slot, so that their region's memory can have slots of another size. */
    public final LongAdder moved = new LongAdder();
    /** Taken over from an earlier node's regions. */
    public final LongAdder adopted = new LongAdder();

    public final LongAdder adoptedDamaged = new LongAdder();
    /** Objects that came without a checksum and have one now. */
    public final LongAdder summed = new LongAdder();

    public final LongAdder verified = new LongAdder();
    /** Objects whose bytes do not fit their checksum; each was dropped. */
    public final LongAdder corrupt = new LongAdder();
    /** Regions that were given up because an engine truncated or punched their files. */
    public final LongAdder regionsRuined = new LongAdder();
    /** Leases and reservations refused because a quota was used up. */
    public final LongAdder quotaRefused = new LongAdder();

    /** Reserved slots that were neither committed nor aborted by their deadline. */
    public final LongAdder reservationsOverdue = new LongAdder();

    public final LongAdder noRoom = new LongAdder();
    /** Objects that are on SSD and were told as a miss, since all of DRAM was leased or being written for a while. */
    public final LongAdder fetchesWithoutSpace = new LongAdder();
    /** Evicted objects whose past was not kept, since the catalog's disk was too far behind. */
    public final LongAdder historyDropped = new LongAdder();
    /** Operations of the file system or a tier that failed. */
    public final LongAdder faults = new LongAdder();
}
