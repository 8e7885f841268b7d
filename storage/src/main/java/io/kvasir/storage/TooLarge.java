package io.kvasir.storage;

import io.kvasir.storage.object.SizeClass;
import java.util.concurrent.atomic.AtomicBoolean;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Says once in the log that engines ask for objects that can never be stored here: without it there are just no hits. */
final class TooLarge {
    private static final Logger LOG = LoggerFactory.getLogger(TooLarge.class);

    private final long capacity;
    private final long quota;
    private final AtomicBoolean told = new AtomicBoolean();

    /** @param quota of slots that one attachment may have reserved */
    TooLarge(final long capacity, final long quota) {
        this.capacity = capacity;
        this.quota = quota;
    }

    /** @param lengths of the objects that a call wants to store */
    void check(final long[] lengths) {
        for (final long length : lengths) {
            if (SizeClass.dramSlotBytes(length) > Math.min(capacity, quota) && told.compareAndSet(false, true)) {
                LOG.warn(
                        "An engine asks for slots of {} bytes, and none can be larger than {}: dram.capacity is {}, reserve.quota"
                                + " {}. Such objects are never stored; raise dram.capacity (and the file system of"
                                + " dram.directory) or reserve.quota. Said once",
                        length,
                        Math.min(capacity, quota),
                        capacity,
                        quota);
            }
        }
    }
}
