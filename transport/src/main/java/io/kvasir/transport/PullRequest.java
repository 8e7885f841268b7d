package io.kvasir.transport;

import java.util.List;

/**
 * What to pull.
 *
 * @param holders asked in this order, each from where the one before stopped if it has the same version
 * @param deadlineNs by the context's nano clock
 * @param sink where the bytes go; null: the context's
 */
public record PullRequest(
        List<Peer> holders,
        List<ObjectName> objects,
        long deadlineNs,
        Priority priority,
        ObjectSink sink,
        TransferListener listener) {
    /** More are not asked. */
    public static final int MAX_HOLDERS = 64;

    public PullRequest {
        holders = List.copyOf(holders);
        objects = List.copyOf(objects);
        if (holders.isEmpty()
                || holders.size() > MAX_HOLDERS
                || objects.isEmpty()
                || objects.size() > LinkContext.MAX_OBJECTS) {
            throw new LinkException(
                    "a pull names " + objects.size() + " objects and " + holders.size() + " holders; it needs 1 to "
                            + MAX_HOLDERS + " holders and 1 to " + LinkContext.MAX_OBJECTS + " objects");
        }
    }
}
