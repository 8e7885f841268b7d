package io.kvasir.storage.tier.ssd;

import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.SizeClass;
import java.lang.foreign.MemorySegment;
import java.util.function.Consumer;

/**
 * One object to write.
 *
 * @param payload native or mapped, its address a multiple of 4 KiB, at least {@code object.length()} rounded up to
 *     4 KiB; it is not copied: it must stay valid and unchanged until the callback
 * @param callback called exactly once, on the tier's completions executor
 */
public record WriteRequest(ObjectId id, MemorySegment payload, StoredObject object, Consumer<WriteOutcome> callback) {
    public WriteRequest {
        Aligned.check("payload", payload, SizeClass.pageBytes(object.length()));
        SizeClass.slotBytes(object.length());
    }
}
