package io.kvasir.node.cluster.directory;

import java.util.concurrent.atomic.LongAdder;
import java.util.function.LongConsumer;

/** What happened between this node and the directory; any thread reads it. */
public final class DirectoryCounters {
    /** Records sent. */
    public final LongAdder updates = new LongAdder();

    public final LongAdder failedUpdates = new LongAdder();
    /** Chunks in the records sent. */
    public final LongAdder announcedChunks = new LongAdder();

    /** Hears how long each question took. */
    public volatile LongConsumer lookupNanos = nanos -> {};

    public final LongAdder lookups = new LongAdder();
    /** Chunks asked for. */
    public final LongAdder lookedUpChunks = new LongAdder();
    /** Chunks that some other node has. */
    public final LongAdder foundChunks = new LongAdder();
    /** Lookups that ended at their deadline, or could not be asked. */
    public final LongAdder lateLookups = new LongAdder();
    /** Reads of copies, since the first node to ask was slow. */
    public final LongAdder copyReads = new LongAdder();
    /** Own entries compared with the directory's. */
    public final LongAdder audited = new LongAdder();
    /** Own records that the directory lacked. */
    public final LongAdder missingFound = new LongAdder();
    /** Records of this node that were not so any more. */
    public final LongAdder staleFound = new LongAdder();
    /** Records of nodes that are gone, removed. */
    public final LongAdder swept = new LongAdder();
}
