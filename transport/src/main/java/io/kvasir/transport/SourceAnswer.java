package io.kvasir.transport;

/** Answers one {@link ObjectSource#open}. Callable from any thread, once; never blocks. */
public interface SourceAnswer {
    /** The link releases the object, also when nobody wants it any more. */
    void ready(SourceObject object);

    /** {@link Outcome#MISSING}, {@link Outcome#CORRUPT} or {@link Outcome#BUSY}. */
    void refuse(Outcome reason);
}
