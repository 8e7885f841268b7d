package io.kvasir.node.cluster;

import io.kvasir.storage.object.ObjectId;
import io.kvasir.transport.Priority;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.agrona.collections.Long2ObjectHashMap;

/**
 * What is to be sent to another node as soon as it is here. Owned by the store's thread; what is not here in time is
 * forgotten.
 */
final class Handoffs {
    /** Objects that are waited for; more are not taken. */
    private static final int MOST = 1 << 17;
    /** Objects that are handed to the link or will be in the next turn; more are not sent. */
    private static final int MOST_SENDING = 1 << 16;

    private static final long PUSH_NS = 10_000_000_000L;
    private static final long LOOK_NS = 1_000_000_000L;

    private record Wanted(Peer target, long untilNs) {}

    private final Long2ObjectHashMap<Wanted> wanted = new Long2ObjectHashMap<>();
    private final Map<Peer, List<ObjectId>> ready = new HashMap<>();
    private final Transfers transfers;
    private long lookAtNs;
    private int sending;

    Handoffs(final Transfers transfers) {
        this.transfers = transfers;
    }

    /** @param here it can be sent at once */
    void add(final ObjectId id, final boolean here, final Peer target, final long untilNs) {
        if (here) {
            send(target, id);
        } else if (wanted.size() < MOST) {
            wanted.put(id.hash64(), new Wanted(target, untilNs));
        }
    }

    private void send(final Peer target, final ObjectId id) {
        if (sending < MOST_SENDING) {
            sending++;
            ready.computeIfAbsent(target, ignored -> new ArrayList<>()).add(id);
        }
    }

    void held(final ObjectId id) {
        if (!wanted.isEmpty()) {
            final Wanted by = wanted.remove(id.hash64());
            if (by != null) {
                send(by.target, id);
            }
        }
    }

    int doWork(final long nowNs) {
        int work = 0;
        if (!ready.isEmpty()) {
            for (final Map.Entry<Peer, List<ObjectId>> each : ready.entrySet()) {
                transfers.push(
                        each.getKey(),
                        List.copyOf(each.getValue()),
                        nowNs + PUSH_NS,
                        Priority.LOAD,
                        (id, outcome) -> sending--);
                work++;
            }
            ready.clear();
        }
        if (!wanted.isEmpty() && nowNs - lookAtNs >= 0) {
            lookAtNs = nowNs + LOOK_NS;
            wanted.values().removeIf(each -> nowNs - each.untilNs >= 0);
        }
        return work;
    }

    int waiting() {
        return wanted.size();
    }
}
