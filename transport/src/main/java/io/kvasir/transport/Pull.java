package io.kvasir.transport;

import java.util.ArrayList;
import java.util.List;

/** A pull that was asked for, over all its attempts. Owned by {@link Receiver}. */
final class Pull {
    final PullRequest request;
    final InboundObject[] objects;
    /** Between attempts. */
    final List<InboundObject> toRetry = new ArrayList<>();

    int live;
    long retryNs;

    Pull(final PullRequest request, final ObjectSink sink) {
        this.request = request;
        objects = new InboundObject[request.objects().size()];
        for (int i = 0; i < objects.length; i++) {
            objects[i] = new InboundObject(i, request.objects().get(i), this, sink);
        }
        live = objects.length;
    }

    /** Each holder twice, and once more: a link that was lost does not end a pull from one holder. */
    int maxTries() {
        return 2 * request.holders().size() + 1;
    }

    /** The next holder for this object that is not excluded; -1: none. */
    int nextHolder(final int after, final long excluded) {
        final int holders = request.holders().size();
        for (int i = 1; i <= holders; i++) {
            final int candidate = (after + i) % holders;
            if ((excluded & 1L << candidate) == 0) {
                return candidate;
            }
        }
        return -1;
    }
}
