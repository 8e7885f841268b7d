package io.kvasir.node.engine;

import com.google.protobuf.UnsafeByteOperations;
import io.kvasir.node.engine.v1.Event;
import io.kvasir.node.engine.v1.EventsResult;
import io.kvasir.node.engine.v1.Shard;
import io.kvasir.node.engine.v1.Tier;
import io.kvasir.storage.object.ObjectEvent;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;

/** The last events of one tenant, numbered from 1, and who waits for the next. */
final class EventRing {
    /** Events in one answer. */
    static final int MAX_EVENTS = 4096;

    private final String node;
    private final ObjectEvent[] events;
    private final long[] unixMs;
    private final Set<Held> waiters = new LinkedHashSet<>();
    private long last;

    /** @param node whose events these are */
    EventRing(final String node, final int kept) {
        this.node = node;
        events = new ObjectEvent[kept];
        unixMs = new long[kept];
    }

    void add(final ObjectEvent event, final long nowMs) {
        final int at = (int) (last % events.length);
        events[at] = event;
        unixMs[at] = nowMs;
        last++;
    }

    long last() {
        return last;
    }

    void await(final Held held) {
        waiters.add(held);
    }

    void forget(final Held held) {
        waiters.remove(held);
    }

    /** Those who waited; they have to ask again. */
    List<Held> takeWaiters() {
        if (waiters.isEmpty()) {
            return List.of();
        }
        final List<Held> taken = List.copyOf(waiters);
        waiters.clear();
        return taken;
    }

    /** @param unknown the number that was asked for when this stream never gave it, and {@code after} is 0; else 0 */
    EventsResult after(final long after, final int limit, final long unknown) {
        final long oldest = Math.max(1, last - events.length + 1);
        final long first = Math.max(oldest, after + 1);
        final EventsResult.Builder result = EventsResult.newBuilder().setNode(node);
        if (after > 0) {
            result.setLost(first - after - 1);
        } else if (unknown != 0) {
            result.setLost(unknown);
        }
        final long end = Math.min(last, first + limit - 1);
        for (long sequence = first; sequence <= end; sequence++) {
            result.addEvents(event(sequence));
        }
        return result.build();
    }

    private Event event(final long sequence) {
        final int at = (int) ((sequence - 1) % events.length);
        final ObjectEvent event = events[at];
        final Event.Builder built = Event.newBuilder()
                .setSequence(sequence)
                .setKind(
                        switch (event.kind()) {
                            case STORED -> Event.Kind.STORED;
                            case REMOVED -> Event.Kind.REMOVED;
                            case CLEARED -> Event.Kind.CLEARED;
                        })
                .setTier(Tier.forNumber(event.tier().code()))
                .setUnixMs(unixMs[at]);
        if (event.id() == null) {
            return built.build();
        }
        return built.setNamespace(
                        UnsafeByteOperations.unsafeWrap(event.id().namespace().toBytes()))
                .setKey(UnsafeByteOperations.unsafeWrap(event.id().key().toBytes()))
                .setShard(shard(event.id().shard()))
                .build();
    }

    static Shard shard(final io.kvasir.storage.object.Shard shard) {
        return Shard.newBuilder()
                .setLayerBegin(shard.layerBegin())
                .setLayerEnd(shard.layerEnd())
                .setHeadBegin(shard.headBegin())
                .setHeadEnd(shard.headEnd())
                .setKvGroup(shard.kvGroup())
                .setPpRank(shard.ppRank())
                .setPpSize(shard.ppSize())
                .setCpRank(shard.cpRank())
                .setCpSize(shard.cpSize())
                .build();
    }
}
