package io.kvasir.ops.simulate;

import io.kvasir.node.cluster.directory.Directory;
import io.kvasir.node.cluster.directory.Entry;
import java.util.HashMap;
import java.util.Map;
import java.util.function.Consumer;
import org.agrona.collections.Long2ObjectHashMap;

/** The directory's entries in one map that answers at once, and what each node would have been asked for its part. */
final class SimulatedDirectory implements Directory {
    private final Long2ObjectHashMap<byte[]> entries = new Long2ObjectHashMap<>();
    /** By the node that an entry would lie on. */
    private final long[] asked;

    long entriesRead;
    long bytesRead;
    long recordsUpdated;
    long bytesUpdated;

    SimulatedDirectory(final int nodes) {
        asked = new long[nodes];
    }

    @Override
    public void read(final long[] keys, final Consumer<Map<Long, byte[]>> answer) {
        final Map<Long, byte[]> found = new HashMap<>();
        for (final long key : keys) {
            ask(key);
            final byte[] entry = entries.get(key);
            if (entry != null) {
                found.put(key, entry);
                bytesRead += entry.length;
            }
        }
        entriesRead += keys.length;
        answer.accept(found);
    }

    /** Nobody needs it: {@link #read} answers at once. */
    @Override
    public void readCopies(final long[] keys, final Consumer<Map<Long, byte[]>> answer) {
        answer.accept(null);
    }

    @Override
    public void update(final Map<Long, byte[]> records, final Consumer<Boolean> done) {
        records.forEach((key, record) -> {
            ask(key);
            recordsUpdated++;
            bytesUpdated += record.length;
            final byte[] merged = Entry.merge(entries.get(key.longValue()), record);
            if (merged == null) {
                entries.remove(key.longValue());
            } else {
                entries.put(key.longValue(), merged);
            }
        });
        done.accept(true);
    }

    private void ask(final long key) {
        asked[(int) Long.remainderUnsigned(key, asked.length)]++;
    }

    /** Reads and updates that the busiest node answered. */
    long mostAsked() {
        long most = 0;
        for (final long one : asked) {
            most = Math.max(most, one);
        }
        return most;
    }

    int entries() {
        return entries.size();
    }

    long bytes() {
        long bytes = 0;
        for (final byte[] entry : entries.values()) {
            bytes += entry.length;
        }
        return bytes;
    }
}
