package io.kvasir.storage.tier.ssd;

import io.kvasir.storage.policy.EvictionPolicy;
import java.util.ArrayList;
import java.util.List;

/**
 * The order in which objects leave, least recently used first, through links of the entries themselves: nothing of it is on
 * the heap. {@link TierState}'s lock guards it.
 */
final class SsdOrder implements EvictionPolicy {
    private final EntryTable entries;
    private final List<Walk> walks = new ArrayList<>();
    private int coldest = NONE;
    private int warmest = NONE;

    SsdOrder(final EntryTable entries) {
        this.entries = entries;
    }

    /** Follows when the entry that it would meet next moves. */
    private final class Walk implements Scan {
        private int next = NONE;

        @Override
        public void restart() {
            next = coldest;
        }

        @Override
        public int next() {
            final int entry = next;
            if (entry != NONE) {
                next = entries.warmer(entry);
            }
            return entry;
        }
    }

    @Override
    public Scan scan() {
        final Walk walk = new Walk();
        walks.add(walk);
        return walk;
    }

    @Override
    public void add(final int entry, final long hash, final long bytes, final int chunkIndex, final int priority) {
        add(entry);
    }

    /** The entry is the warmest. */
    void add(final int entry) {
        entries.colder(entry, warmest);
        entries.warmer(entry, NONE);
        if (warmest == NONE) {
            coldest = entry;
        } else {
            entries.warmer(warmest, entry);
        }
        warmest = entry;
    }

    @Override
    public void touch(final int entry) {
        if (entry != warmest) {
            remove(entry);
            add(entry);
        }
    }

    @Override
    public void remove(final int entry) {
        final int colder = entries.colder(entry);
        final int warmer = entries.warmer(entry);
        for (int i = 0; i < walks.size(); i++) {
            if (walks.get(i).next == entry) {
                walks.get(i).next = warmer;
            }
        }
        if (colder == NONE) {
            coldest = warmer;
        } else {
            entries.warmer(colder, warmer);
        }
        if (warmer == NONE) {
            warmest = colder;
        } else {
            entries.colder(warmer, colder);
        }
    }

    /** The entry used last, or {@link #NONE}; {@link EntryTable#colder} goes on. */
    int warmest() {
        return warmest;
    }
}
