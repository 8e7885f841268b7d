package io.kvasir.storage.tier.ssd;

import java.util.concurrent.atomic.LongAdder;
import java.util.function.LongConsumer;

/** What the SSD tier counts since it was opened; any thread may read it. */
public final class SsdMetrics {
    public final LongAdder reads = new LongAdder();
    public final LongAdder readBytes = new LongAdder();
    public final LongAdder readMisses = new LongAdder();
    public final LongAdder readErrors = new LongAdder();
    public final LongAdder writes = new LongAdder();
    public final LongAdder writtenBytes = new LongAdder();
    public final LongAdder writeErrors = new LongAdder();
    /** Reads whose bytes had another checksum than what was written. */
    public final LongAdder corrupt = new LongAdder();
    /** Objects evicted to make room. */
    public final LongAdder evicted = new LongAdder();
    /** Objects dropped for another reason than room: removed, expired, corrupt. */
    public final LongAdder dropped = new LongAdder();
    /** Writes that found no room. */
    public final LongAdder full = new LongAdder();
    /** Requests that found their queue full. */
    public final LongAdder rejected = new LongAdder();
    /** Times that the places were rebuilt from the extents. */
    public final LongAdder rebuilt = new LongAdder();
    /** Commits: each is one data sync of every extent it touched, and one synced RocksDB batch. */
    public final LongAdder commits = new LongAdder();
    /** Nanoseconds of each read, from the request to its outcome. */
    public volatile LongConsumer readNanos = nanos -> {};
    /** Nanoseconds of each write, from the request to its outcome. */
    public volatile LongConsumer writeNanos = nanos -> {};
}
