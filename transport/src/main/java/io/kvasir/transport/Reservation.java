package io.kvasir.transport;

import java.lang.foreign.MemorySegment;

/**
 * A slot that only the link writes, from {@link SinkAnswer#accept} until one of {@link #complete()} and {@link #failed}.
 * Its owner must not give the slot to anybody else in between: who wants it back cancels the transfer and waits for
 * {@code failed}. After either call no byte is written any more, however late it arrives.
 */
public interface Reservation {
    /** Inside the offered version's length. Throws when the slot's memory is gone: the object is then given back. */
    void write(long position, MemorySegment from);

    /** All bytes are there, their checksum is the version's, and the holder confirmed them: commit. Must not block. */
    void complete();

    /** Nothing of it counts: give the slot back. Must not block. */
    void failed(Outcome reason);
}
