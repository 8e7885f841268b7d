package io.kvasir.transport;

/**
 * Objects that come from one peer under one transfer number: one attempt of a {@link Pull}, or a peer's push. The number
 * is drawn at random and used once, so whatever comes late under an old one finds nothing.
 */
final class InboundTransfer {
    final long number;
    final Link link;
    final Priority priority;
    final long deadlineNs;
    /** The attempt's pull; null: a peer's push. */
    final Pull pull;

    final InboundObject[] objects;
    int announced;
    int live;
    boolean asked;
    long lastProgressNs;

    InboundTransfer(
            final long number,
            final Link link,
            final Priority priority,
            final long deadlineNs,
            final Pull pull,
            final InboundObject[] objects,
            final long nowNs) {
        this.number = number;
        this.link = link;
        this.priority = priority;
        this.deadlineNs = deadlineNs;
        this.pull = pull;
        this.objects = objects;
        live = objects.length;
        lastProgressNs = nowNs;
    }
}
