package io.kvasir.node.cluster;

import java.util.function.LongFunction;
import org.agrona.collections.Long2ObjectHashMap;
import org.agrona.concurrent.NanoClock;

/**
 * How fast each peer has sent so far, and what it still has to send: the estimate of when an object would be here. Owned
 * by the store's thread.
 */
final class Speeds {
    /** Until something was measured: a slow network, so that the first pulls of short contexts are not offered lightly. */
    private static final double FIRST_BYTES_PER_NS = 0.5;

    private static final double FIRST_LATENCY_NS = 1e6;
    /** What a holder needs to bring an object from its SSD. */
    private static final double SSD_LATENCY_NS = 2e6;

    private static final double SSD_BYTES_PER_NS = 0.5;
    private static final double WEIGHT = 0.1;
    /** Less than this says more about latency than about speed. */
    private static final long TELLING_BYTES = 1 << 20;

    private static final class Speed {
        double bytesPerNs = FIRST_BYTES_PER_NS;
        double latencyNs = FIRST_LATENCY_NS;
        long inFlight;
    }

    private final Long2ObjectHashMap<Speed> speeds = new Long2ObjectHashMap<>();
    private final LongFunction<NodeStatus> statuses;
    private final NanoClock clock;

    /** @param statuses what each holder told last; null for one that told nothing */
    Speeds(final LongFunction<NodeStatus> statuses, final NanoClock clock) {
        this.statuses = statuses;
        this.clock = clock;
    }

    long expectedNs(final Holders.Copy copy, final long bytes) {
        final Speed speed = of(copy.peer());
        final double disk = copy.onSsd() ? SSD_LATENCY_NS + bytes / SSD_BYTES_PER_NS : 0;
        final long before = Math.max(speed.inFlight, queued(copy.peer(), speed));
        return (long) (speed.latencyNs + (before + bytes) / speed.bytesPerNs + disk);
    }

    /** What others fetch from it too, as it told last; it has been sending since. */
    private long queued(final Peer peer, final Speed speed) {
        final NodeStatus told = statuses.apply(peer.holder());
        if (told == null) {
            return 0;
        }
        return Math.max(0, told.queuedBytes() - (long) ((clock.nanoTime() - told.heardNs()) * speed.bytesPerNs));
    }

    void started(final Peer peer, final long bytes) {
        of(peer).inFlight += bytes;
    }

    void ended(final Peer peer, final long bytes) {
        final Speed speed = of(peer);
        speed.inFlight = Math.max(0, speed.inFlight - bytes);
    }

    /** A whole transfer from one peer came. */
    void measured(final Peer peer, final long bytes, final long tookNs) {
        final Speed speed = of(peer);
        if (bytes >= TELLING_BYTES) {
            speed.bytesPerNs += WEIGHT * (bytes / Math.max(1.0, tookNs - speed.latencyNs / 2) - speed.bytesPerNs);
        } else {
            speed.latencyNs += WEIGHT * (Math.max(0, tookNs - bytes / speed.bytesPerNs) - speed.latencyNs);
        }
    }

    /** Peers that left take nothing with them. */
    void retain(final java.util.function.LongPredicate live) {
        speeds.keySet().removeIf(holder -> !live.test(holder));
    }

    private Speed of(final Peer peer) {
        return speeds.computeIfAbsent(peer.holder(), ignored -> new Speed());
    }
}
