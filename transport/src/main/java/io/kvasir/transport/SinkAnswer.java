package io.kvasir.transport;

/** Answers one {@link ObjectSink#offer}. Callable from any thread, once; never blocks. */
public interface SinkAnswer {
    /** The link ends the reservation with complete or failed, also when nobody waits for it any more. */
    void accept(Reservation reservation);

    /** {@link Outcome#REFUSED} or {@link Outcome#ALREADY_THERE}. */
    void refuse(Outcome reason);
}
