package io.kvasir.storage.policy;

/**
 * Orders the entries of one tier from coldest to warmest. Entries are small dense integers that the tier chooses; the
 * tier decides which of the coldest may go (leased, pinned and parent entries stay). Single-threaded; no method
 * allocates in the steady state, and each costs a bounded time.
 */
public interface EvictionPolicy {
    /** No entry. */
    int NONE = -1;

    /**
     * The entry is new.
     *
     * @param hash 64 well-spread bits of the object's id, the same each time the object comes back
     * @param bytes what it occupies
     * @param chunkIndex its place in its prefix chain, from 0; negative: unknown
     * @param priority of the object: higher stays longer, 0 is normal
     */
    void add(int entry, long hash, long bytes, int chunkIndex, int priority);

    /**
     * Objects with the first {@code count} of these hashes will be added or removed soon. Reads what that will need, while
     * the loads are independent of each other; changes nothing.
     */
    default void expect(final long[] hashes, final int count) {}

    /** The entry was used. */
    void touch(int entry);

    /** A chunk that continues this one's prefix was stored. */
    default void extended(final int entry) {}

    /** The entry is gone; its number may be added again. */
    void remove(int entry);

    /** The object stays, but is ordered elsewhere from now on; it may come back by {@link #add}. */
    default void withdraw(final int entry) {
        remove(entry);
    }

    /** A walk of its own over the entries. Kept for the policy's life: a tier makes one for each purpose. */
    Scan scan();

    /**
     * A walk from the coldest entry to warmer ones. It stays valid while entries are added, touched and removed: an entry
     * that is not touched meanwhile is met once, a removed one never; one that moves while the walk is under way, which the
     * beginning of another walk may cause as well, is met where it is found.
     */
    interface Scan {
        /** Goes back to the coldest entry. */
        void restart();

        /** The next candidate for eviction, or {@link #NONE} at the end. */
        int next();
    }
}
