package io.kvasir.storage.lookup;

/** What a lookup's cells cost. A plan asks for a cell more than once; within one plan the answers must not change. */
public interface Costs {
    /** What leasing the cell takes of the session's limit; an estimate for one that is not in the addressable tier yet. */
    long bytes(int cell);

    /** What it takes of the limit of all sessions: less when one of them has leased the cell, never more. */
    long newBytes(int cell);

    /** Nanoseconds until the transfer of a fetchable cell could begin, behind what its tier is busy with already. */
    long queueNs(int cell);

    /** Nanoseconds by which the transfer of a fetchable cell delays those that are fetched after it from its tier. */
    long transferNs(int cell);

    /** The tier from which a readable cell came, or in which it always was. */
    int origin(int cell);
}
