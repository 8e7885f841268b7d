package io.kvasir.storage.integrity;

import io.kvasir.storage.metrics.StorageCounters;
import io.kvasir.storage.tier.dram.DramTier;
import io.kvasir.storage.tier.dram.Payload;
import java.util.Arrays;
import java.util.concurrent.Executor;
import java.util.concurrent.ExecutorService;
import org.agrona.collections.Int2IntHashMap;
import org.agrona.collections.IntArrayQueue;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Sums what was committed without a checksum, and verifies what an earlier node left: a batch at a time in the
 * background, so that a commit pays nothing for it, and at once what somebody waits for. Owned by the store's thread.
 */
public final class Verifier implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(Verifier.class);
    private static final int BATCHES_UNDER_WAY = 2;
    private static final int BATCH_OBJECTS = 1024;
    private static final long BATCH_BYTES = 8 << 20;
    /** Small commits in a row are summed together: each wake-up of the summing thread takes a processor from the engines. */
    private static final long GATHER_NS = 2_000_000;

    private final DramTier dram;
    private final StorageCounters counters;
    private final Checksums checksums;
    /** Entries without a checksum, and entries that an earlier node left. */
    private final IntArrayQueue toCheck = new IntArrayQueue(DramTier.NONE);
    /** Entry to serial: what somebody waits for. */
    private final Int2IntHashMap verifying = new Int2IntHashMap(-1);

    private int batchesUnderWay;
    private long gatheringSinceNs;

    public Verifier(
            final DramTier dram,
            final StorageCounters counters,
            final ExecutorService worker,
            final Executor completions,
            final long nowNs) {
        this.dram = dram;
        this.counters = counters;
        checksums = new Checksums(worker, completions);
        dram.unverified().forEach(toCheck::addInt);
        gatheringSinceNs = nowNs - GATHER_NS;
    }

    /** The entry was committed without a checksum. */
    public void sumLater(final int entry, final long nowNs) {
        if (toCheck.isEmpty()) {
            gatheringSinceNs = nowNs;
        }
        toCheck.addInt(entry);
    }

    /** Verifies an object that an earlier node left, before anything else: somebody waits for it. */
    public void verifyNow(final int entry) {
        final int serial = dram.serial(entry);
        if (verifying.get(entry) == serial) {
            return;
        }
        verifying.put(entry, serial);
        dram.hold(entry);
        checksums.sum(new Payload[] {dram.payload(entry, dram.length(entry))}, true, sums -> {
            verifying.remove(entry);
            released(entry, serial, sums[0]);
        });
    }

    /** Starts batches as far as they may be under way; returns how many. One answer wakes the owner for a whole batch. */
    public int doWork(final long nowNs) {
        if (toCheck.isEmpty() || nowNs - gatheringSinceNs < GATHER_NS) {
            return 0;
        }
        int started = 0;
        while (!toCheck.isEmpty() && batchesUnderWay < BATCHES_UNDER_WAY) {
            final int[] batch = new int[Math.min(toCheck.size(), BATCH_OBJECTS)];
            int count = 0;
            long bytes = 0;
            while (!toCheck.isEmpty() && count < batch.length && bytes < BATCH_BYTES) {
                final int entry = toCheck.pollInt();
                if (dram.isLive(entry)
                        && (dram.isUnverified(entry) || (dram.isReadable(entry) && !dram.isSummed(entry)))) {
                    batch[count++] = entry;
                    bytes += dram.length(entry);
                }
            }
            if (count > 0) {
                check(Arrays.copyOf(batch, count));
                started++;
            }
        }
        return started;
    }

    private void check(final int[] batch) {
        final Payload[] objects = new Payload[batch.length];
        final int[] serials = new int[batch.length];
        for (int i = 0; i < batch.length; i++) {
            dram.hold(batch[i]);
            serials[i] = dram.serial(batch[i]);
            objects[i] = dram.payload(batch[i], dram.length(batch[i]));
        }
        batchesUnderWay++;
        checksums.sum(objects, false, sums -> {
            batchesUnderWay--;
            for (int i = 0; i < batch.length; i++) {
                released(batch[i], serials[i], sums[i]);
            }
        });
    }

    private void released(final int entry, final int serial, final long sum) {
        // Before the hold ends: it may be the last thing that keeps the entry.
        final boolean ruined = sum == Checksums.LOST && dram.inspect(entry);
        dram.unhold(entry);
        // It may have been condemned by an earlier answer, and gone with this hold.
        if (dram.is(entry, serial)) {
            summed(entry, sum, ruined);
        }
    }

    private void summed(final int entry, final long sum, final boolean ruined) {
        if (ruined || dram.isCondemned(entry)) {
            return;
        }
        final int crc = (int) sum;
        if (sum == Checksums.LOST || (dram.isSummed(entry) && dram.crc32c(entry) != crc)) {
            LOG.warn("{} does not fit its checksum; dropped", dram.id(entry));
            counters.corrupt.increment();
            dram.dropOrCondemn(entry);
            return;
        }
        if (!dram.isSummed(entry)) {
            dram.setCrc32c(entry, crc);
            counters.summed.increment();
        }
        if (dram.isUnverified(entry)) {
            counters.verified.increment();
            dram.verified(entry);
        }
    }

    /** Answers of what has not begun do not come any more. */
    @Override
    public void close() {
        checksums.close();
    }
}
