package io.kvasir.storage.dram;

import org.agrona.collections.Long2LongHashMap;

/** Finds entries by the 64-bit hash of their object; entries with the same hash form a chain. Owned by {@link DramTier}. */
final class EntryIndex {
    private final Entries entries;
    private final Long2LongHashMap first = new Long2LongHashMap(Entries.NONE);

    EntryIndex(final Entries entries) {
        this.entries = entries;
    }

    /** The first entry with this hash; the next one is in {@link Entries#sameHash}. */
    int first(final long hash) {
        return (int) first.get(hash);
    }

    void insert(final int entry) {
        final long hash = entries.hash[entry];
        entries.sameHash[entry] = first(hash);
        first.put(hash, entry);
    }

    void remove(final int entry) {
        final long hash = entries.hash[entry];
        final int head = first(hash);
        if (head == entry) {
            if (entries.sameHash[entry] == Entries.NONE) {
                first.remove(hash);
            } else {
                first.put(hash, entries.sameHash[entry]);
            }
            return;
        }
        int before = head;
        while (entries.sameHash[before] != entry) {
            before = entries.sameHash[before];
        }
        entries.sameHash[before] = entries.sameHash[entry];
    }
}
