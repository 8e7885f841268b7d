package io.kvasir.storage.ssd;

import io.kvasir.storage.ObjectId;
import io.kvasir.storage.SizeClass;
import java.lang.foreign.MemorySegment;
import java.util.function.Consumer;

/**
 * One object to read.
 *
 * @param destination native or mapped, its address and size multiples of 4 KiB; it must stay valid until the callback.
 *     An object that does not fit answers {@link ReadOutcome.Failed}
 * @param callback called exactly once, on the tier's completions executor
 */
public record ReadRequest(ObjectId id, MemorySegment destination, Consumer<ReadOutcome> callback) {
    public ReadRequest {
        Aligned.check("destination", destination, SizeClass.PAGE);
    }
}
