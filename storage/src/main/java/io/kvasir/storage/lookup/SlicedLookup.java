package io.kvasir.storage.lookup;

/** A lookup that is worked off in steps. Must be closed. */
public interface SlicedLookup extends AutoCloseable {
    /** Does a part of it; true when there is a result. */
    boolean step();

    LookupAnswer result();

    /**
     * Runs {@code wake} once when nothing of what the result says is pending is pending any more. Returns a handle that
     * cancels the wait; 0 when nothing is pending ({@code wake} is not run).
     */
    long whenSettled(Runnable wake);

    /** Before its result is there, what it has leased is given back. */
    @Override
    void close();
}
