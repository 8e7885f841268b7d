package io.kvasir.transport;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;

/** Objects that go to one peer under one transfer number: the peer's pull, or an own push. Owned by {@link Sender}. */
final class OutboundTransfer {
    final long number;
    final Link link;
    final Priority priority;
    final long deadlineNs;
    /** Null: a peer's pull. */
    final Push push;

    final List<ObjectName> names;
    final OutboundObject[] objects;
    /** What may be sent, for each data stream. */
    final List<ArrayDeque<OutboundObject>> sending = new ArrayList<>();
    /** Of an own push: cancelled before it was opened. */
    final boolean[] skipped;

    int nextToOpen;
    int live;

    OutboundTransfer(
            final long number,
            final Link link,
            final Priority priority,
            final long deadlineNs,
            final int total,
            final Push push) {
        this.number = number;
        this.link = link;
        this.priority = priority;
        this.deadlineNs = deadlineNs;
        this.push = push;
        names = push == null ? new ArrayList<>() : push.request.objects();
        objects = new OutboundObject[total];
        skipped = new boolean[total];
        live = total;
        for (int i = 0; i < link.ownSessions.length; i++) {
            sending.add(new ArrayDeque<>());
        }
    }
}
