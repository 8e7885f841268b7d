package io.kvasir.storage.tier.ssd;

import io.kvasir.storage.index.ObjectIds;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.SizeClass;
import java.lang.foreign.MemorySegment;
import java.util.function.Consumer;

/**
 * One object to write.
 *
 * @param number of the id among the tier's {@link ObjectIds}, held by the caller until the callback; {@link ObjectIds#NONE}:
 *     the caller has none
 * @param payload native or mapped, its address a multiple of 4 KiB, at least {@code object.length()} rounded up to
 *     4 KiB; it is not copied: it must stay valid and unchanged until the callback
 * @param callback called exactly once, on the tier's completions executor
 */
public record WriteRequest(
        int number, ObjectId id, MemorySegment payload, StoredObject object, Consumer<WriteOutcome> callback) {
    public WriteRequest {
        Aligned.check("payload", payload, SizeClass.pageBytes(object.length()));
        SizeClass.slotBytes(object.length());
    }

    public WriteRequest(
            final ObjectId id,
            final MemorySegment payload,
            final StoredObject object,
            final Consumer<WriteOutcome> callback) {
        this(ObjectIds.NONE, id, payload, object, callback);
    }

    /** The number of the id, held once more. */
    int hold(final ObjectIds ids) {
        if (number == ObjectIds.NONE) {
            return ids.take(id);
        }
        ids.hold(number);
        return number;
    }
}
