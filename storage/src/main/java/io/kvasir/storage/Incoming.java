package io.kvasir.storage;

import java.lang.foreign.MemorySegment;

/**
 * A slot for an object that another node sends; it ends with one of commit and abort, on the owner's thread, when nothing
 * is written into it any more.
 */
public interface Incoming {
    /** Any thread; throws when an engine has taken the slot's memory away. */
    void write(long position, MemorySegment from);

    /** The bytes are there, and were verified. */
    void commit();

    void abort();
}
