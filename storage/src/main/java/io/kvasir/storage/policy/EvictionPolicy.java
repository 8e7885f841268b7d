package io.kvasir.storage.policy;

/**
 * Orders the entries of one tier from coldest to warmest. Entries are small dense integers that the tier chooses; the
 * tier decides which of the coldest may go (leased, pinned and parent entries stay). Single-threaded; no method
 * allocates in the steady state.
 */
public interface EvictionPolicy {
    /** No entry. */
    int NONE = -1;

    /**
     * The entry is new.
     *
     * @param hash 64 well-spread bits of the object's id, the same each time the object comes back
     * @param bytes what it occupies
     */
    void add(int entry, long hash, long bytes);

    /** The entry was used. */
    void touch(int entry);

    /** The entry is gone; its number may be added again. */
    void remove(int entry);

    /** The first candidate for eviction, or {@link #NONE}. */
    int coldest();

    /** The candidate after {@code entry}, or {@link #NONE}. */
    int warmer(int entry);
}
