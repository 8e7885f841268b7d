package io.kvasir.transport;

/** A pull or push under way. Methods may be called from any thread. */
public interface Transfer {
    /**
     * Ends the objects that have not ended, as {@link Outcome#CANCELLED}; each is still reported. False when the link's
     * command queue is full: ask again.
     */
    boolean cancel();

    /** The same for one object. */
    boolean cancel(int index);
}
