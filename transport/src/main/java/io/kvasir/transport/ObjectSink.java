package io.kvasir.transport;

/**
 * The receiving side: where bytes go. Implemented by whoever owns the slots. Called on the link's thread; must not block:
 * hand the work to the owner through a bounded queue. The link has at most {@link LinkContext#maxReservations()} offers
 * and reservations under way, in all: a queue of twice that size is never full.
 */
public interface ObjectSink {
    /**
     * A peer has this object and would send it. The answer comes once, from any thread.
     *
     * @param from the holder
     * @param deadlineNs by the context's nano clock; a reservation after it is given back at once
     */
    void offer(
            ObjectName name, ObjectVersion version, Peer from, long deadlineNs, Priority priority, SinkAnswer answer);

    /** Called once after a run of {@link #offer}, {@link Reservation#complete()} and {@link Reservation#failed}. */
    default void flush() {}
}
