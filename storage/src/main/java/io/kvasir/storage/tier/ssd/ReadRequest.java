package io.kvasir.storage.tier.ssd;

import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.SizeClass;
import io.kvasir.storage.posix.PosixException;
import java.lang.foreign.MemorySegment;
import java.util.function.Consumer;

/**
 * One object to read.
 *
 * @param destination native or mapped, its address and size multiples of 4 KiB; it must stay valid until the callback.
 *     An object that does not fit answers {@link ReadOutcome.Failed}
 * @param checksum of the first so many bytes of the destination; it throws when they are gone
 * @param callback called exactly once, on the tier's completions executor
 */
public record ReadRequest(ObjectId id, MemorySegment destination, Checksum checksum, Consumer<ReadOutcome> callback) {
    /** CRC32C of a destination. */
    @FunctionalInterface
    public interface Checksum {
        int of(long length) throws PosixException;
    }

    /** Into memory that no other process can take away. */
    public ReadRequest(final ObjectId id, final MemorySegment destination, final Consumer<ReadOutcome> callback) {
        this(id, destination, length -> SlotHeader.checksum(destination.asSlice(0, length)), callback);
    }

    public ReadRequest {
        Aligned.check("destination", destination, SizeClass.PAGE);
    }
}
