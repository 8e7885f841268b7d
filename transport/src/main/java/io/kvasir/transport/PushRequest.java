package io.kvasir.transport;

import java.util.List;

/**
 * What to push; the bytes come from the context's source.
 *
 * @param deadlineNs by the context's nano clock
 */
public record PushRequest(
        Peer peer, List<ObjectName> objects, long deadlineNs, Priority priority, TransferListener listener) {
    public PushRequest {
        objects = List.copyOf(objects);
        if (objects.isEmpty() || objects.size() > LinkContext.MAX_OBJECTS) {
            throw new LinkException(
                    "a push names " + objects.size() + " objects; it needs 1 to " + LinkContext.MAX_OBJECTS);
        }
    }
}
