package io.kvasir.storage;

import io.kvasir.storage.object.ObjectId;
import java.lang.foreign.MemorySegment;
import java.util.Optional;

/** What {@link TierContract} asks of a tier; each implementation adapts itself. Every call waits, within a bound. */
public interface TierUnderTest extends AutoCloseable {
    /** True when the object is stored when this returns, by this call or before it; false when there was no room. */
    boolean put(ObjectId id, MemorySegment bytes);

    /** What is stored, or empty for a miss. */
    Optional<byte[]> get(ObjectId id);

    /** True when it was there. */
    boolean remove(ObjectId id);

    boolean contains(ObjectId id);

    long objects();

    /** Bytes taken from the medium, at most the capacity. */
    long allocatedBytes();

    long capacityBytes();

    /** False: it has no capacity of its own on this node. */
    default boolean isBounded() {
        return true;
    }

    /** Whether {@link #damage} is found out. */
    default boolean findsDamage() {
        return true;
    }

    /** Whether what is stored is there after {@link #reopen}; else nothing is. */
    default boolean survives() {
        return true;
    }

    /** As after an orderly end and a new start of the node. */
    void reopen();

    /** Flips one bit of the stored payload, behind the tier's back. */
    void damage(ObjectId id);

    @Override
    void close();
}
