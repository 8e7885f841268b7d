package io.kvasir.node.cluster.directory;

import java.util.Arrays;
import javax.cache.processor.EntryProcessor;
import javax.cache.processor.MutableEntry;

/** Runs where the entry lies: removes the records of holders that are gone. */
final class RemoveHolders implements EntryProcessor<Long, byte[], Void> {
    private final long[] holders;

    /** @param sorted ascending */
    RemoveHolders(final long[] sorted) {
        holders = sorted;
    }

    @Override
    @SuppressWarnings("ReferenceEquality") // the same array means: nothing changed
    public Void process(final MutableEntry<Long, byte[]> entry, final Object... arguments) {
        final byte[] before = entry.getValue();
        if (before != null) {
            final byte[] after = Entry.without(before, holder -> Arrays.binarySearch(holders, holder) >= 0);
            if (after == null) {
                entry.remove();
            } else if (after != before) {
                entry.setValue(after);
            }
        }
        return null;
    }
}
