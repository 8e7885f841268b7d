package io.kvasir.node.cluster;

import io.kvasir.storage.move.MoveKind;
import io.kvasir.storage.object.ObjectId;
import org.agrona.collections.Long2ObjectHashMap;
import org.agrona.concurrent.NanoClock;

/**
 * What is to be sent to another node as soon as it is here. Owned by the store's thread; what is not here in time is
 * forgotten.
 */
final class Handoffs {
    /** Objects that are waited for; more are not taken. */
    private static final int MOST = 1 << 17;

    private static final long PUSH_NS = 10_000_000_000L;
    private static final long LOOK_NS = 1_000_000_000L;

    private record Wanted(Peer target, long untilNs) {}

    private final Long2ObjectHashMap<Wanted> wanted = new Long2ObjectHashMap<>();
    private final Pushes pushes;
    private final NanoClock clock;
    private long lookAtNs;

    Handoffs(final Pushes pushes, final NanoClock clock) {
        this.pushes = pushes;
        this.clock = clock;
    }

    /** @param bytes of the object when it is here and can be sent at once; else 0 */
    void add(final ObjectId id, final long bytes, final Peer target, final long untilNs) {
        if (bytes > 0) {
            send(target, id, bytes);
        } else if (wanted.size() < MOST) {
            wanted.put(id.hash64(), new Wanted(target, untilNs));
        }
    }

    private void send(final Peer target, final ObjectId id, final long bytes) {
        pushes.push(MoveKind.HANDOFF, target, id, bytes, clock.nanoTime() + PUSH_NS, (sent, outcome) -> {});
    }

    void held(final ObjectId id, final long bytes) {
        if (!wanted.isEmpty()) {
            final Wanted by = wanted.remove(id.hash64());
            if (by != null) {
                send(by.target, id, bytes);
            }
        }
    }

    int doWork(final long nowNs) {
        if (!wanted.isEmpty() && nowNs - lookAtNs >= 0) {
            lookAtNs = nowNs + LOOK_NS;
            wanted.values().removeIf(each -> nowNs - each.untilNs >= 0);
        }
        return 0;
    }

    int waiting() {
        return wanted.size();
    }
}
