package io.kvasir.node.engine;

import java.util.Comparator;
import java.util.HashMap;
import java.util.Map;
import java.util.PriorityQueue;

/**
 * Connections that wait for a turn. Start-time fair queueing (Goyal, Vin, Cheng 1996) in two levels: tenants share the
 * owner's time evenly, and the connections of one tenant share its part. So a short call does not wait for all long ones
 * that came before it, and what one tenant's connections ask for does not delay another's by more than the call that is
 * under way. Time that a connection did not use while it was idle is not saved up. Owned by {@link Turns}.
 */
final class TurnQueue {
    /** The connections that have not said Hello yet. */
    private static final String NOBODY = "";

    /** One tenant's connections that wait. */
    static final class Group {
        private final PriorityQueue<Connection> waiting =
                new PriorityQueue<>(Comparator.comparingLong((Connection each) -> each.turnAtNs)
                        .thenComparingLong(each -> each.turnNumber));
        /** In virtual time: where the turn that began last was due. */
        private long virtualNs;

        private long turnAtNs;
        private long turnNumber;
        private long servedNs;
    }

    private final Map<String, Group> byTenant = new HashMap<>();
    private final PriorityQueue<Group> groups = new PriorityQueue<>(
            Comparator.comparingLong((Group each) -> each.turnAtNs).thenComparingLong(each -> each.turnNumber));

    private long virtualNs;
    private long turnNumber;
    private int size;
    /** Of the connection that {@link #poll} gave last, until {@link #served}. */
    private Group serving;

    int size() {
        return size;
    }

    /** Not during a turn; a connection that waits already keeps its place. */
    void add(final Connection connection) {
        assert serving == null : "a connection was added during a turn";
        if (connection.queued) {
            return;
        }
        connection.queued = true;
        final Group group = groupOf(connection);
        connection.turnAtNs = Math.max(connection.servedNs, group.virtualNs);
        connection.turnNumber = turnNumber++;
        group.waiting.add(connection);
        size++;
        if (group.waiting.size() == 1) {
            group.turnAtNs = Math.max(group.servedNs, virtualNs);
            group.turnNumber = turnNumber++;
            groups.add(group);
        }
    }

    private Group groupOf(final Connection connection) {
        final Group group = byTenant.computeIfAbsent(
                connection.tenant == null ? NOBODY : connection.tenant.name(), name -> new Group());
        if (connection.turnGroup != group) {
            connection.turnGroup = group;
            connection.servedNs = 0;
        }
        return group;
    }

    /** The next one, or null; {@link #served} has to follow. */
    Connection poll() {
        serving = groups.poll();
        if (serving == null) {
            return null;
        }
        final Connection connection = serving.waiting.poll();
        connection.queued = false;
        size--;
        virtualNs = Math.max(virtualNs, serving.turnAtNs);
        serving.virtualNs = Math.max(serving.virtualNs, connection.turnAtNs);
        return connection;
    }

    /** The connection's turn is over, and took so long. */
    void served(final Connection connection, final long ns) {
        connection.servedNs = connection.turnAtNs + ns;
        serving.servedNs = serving.turnAtNs + ns;
        if (!serving.waiting.isEmpty()) {
            serving.turnAtNs = serving.servedNs;
            groups.add(serving);
        }
        serving = null;
    }
}
