package io.kvasir.node.cluster.directory;

import javax.cache.processor.EntryProcessor;
import javax.cache.processor.MutableEntry;

/** Runs where the entry lies: merges one holder's record into it. Ignite's own serialisation carries it. */
final class MergeRecord implements EntryProcessor<Long, byte[], Void> {
    private final byte[] record;

    MergeRecord(final byte[] record) {
        this.record = record;
    }

    @Override
    @SuppressWarnings("ReferenceEquality") // the same array means: nothing changed
    public Void process(final MutableEntry<Long, byte[]> entry, final Object... arguments) {
        final byte[] before = entry.getValue();
        final byte[] after = Entry.merge(before, record);
        if (after == null) {
            entry.remove();
        } else if (after != before) {
            entry.setValue(after);
        }
        return null;
    }
}
