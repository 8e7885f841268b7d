package io.kvasir.transport;

/**
 * The serving side: where a link gets objects that peers pull, and that this node pushes. Implemented by whoever owns the
 * bytes. All methods are called on the link's thread and must not block: hand the work to the owner through a bounded
 * queue. The link has at most {@link LinkContext#maxOpenObjects()} objects of each peer asked for or open at a time, and
 * {@code maxLinks * maxOpenObjects} in all: a queue of that size is never full.
 */
public interface ObjectSource {
    /**
     * Asks for an object's bytes; they may have to come from a slower tier first. The answer comes once, from any
     * thread. Until {@link SourceObject#release()} the bytes stay where they are.
     *
     * @param deadlineNs by the context's nano clock; an answer after it is of no use
     */
    void open(ObjectName name, long deadlineNs, Priority priority, SourceAnswer answer);

    /**
     * A peer found that the bytes it was sent do not have this version's checksum. Check before dropping: the peer may
     * be the one that is wrong.
     */
    void reportedCorrupt(ObjectName name, ObjectVersion version);

    /** Called once after a run of the calls above, so that their owner need be woken only once. */
    default void flush() {}
}
