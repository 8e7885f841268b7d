package io.kvasir.node.engine;

import io.kvasir.node.engine.v1.Error;
import java.util.ArrayDeque;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.agrona.DeadlineTimerWheel;
import org.agrona.collections.Long2ObjectHashMap;

/** All requests whose answers are held, with their timers. Owned by the server's thread. */
final class HeldRequests {
    /** A little above a millisecond: the schema's unit. */
    private static final long TICK_NS = 1 << 20;

    private static final int TICKS = 512;
    private static final int EXPIRIES_IN_A_ROW = 16;
    /** Turns of held requests before the connections have theirs. */
    private static final long TURN_NS = 250_000;

    private final EngineServer server;
    private final EngineMetrics metrics;
    private final DeadlineTimerWheel wheel;
    private final Long2ObjectHashMap<Held> byTimer = new Long2ObjectHashMap<>();
    private final ArrayDeque<Held> ready = new ArrayDeque<>();
    private long heldBytes;

    HeldRequests(final EngineServer server, final EngineMetrics metrics, final long nowNs) {
        this.server = server;
        this.metrics = metrics;
        wheel = new DeadlineTimerWheel(TimeUnit.NANOSECONDS, nowNs, TICK_NS, TICKS);
    }

    boolean isEmpty() {
        return byTimer.isEmpty();
    }

    /** False when all that is held takes too much memory: the caller answers with what there is. */
    boolean add(final Held held) {
        if (held.connection.held.size() >= Connection.MAX_HELD) {
            held.drop();
            throw new CallException(
                    Error.Code.RESOURCE_EXHAUSTED, "at most " + Connection.MAX_HELD + " requests of a connection wait");
        }
        if (heldBytes + held.bytes > Budget.HELD_BYTES
                || held.connection.heldBytes + held.bytes > Budget.HELD_BYTES_EACH) {
            metrics.notHeld.inc();
            return false;
        }
        heldBytes += held.bytes;
        held.connection.heldBytes += held.bytes;
        if (wheel.timerCount() == 0) {
            wheel.currentTickTime(server.nowNs());
        }
        held.timer = wheel.scheduleTimer(held.untilNs);
        byTimer.put(held.timer, held);
        held.connection.held.put(held.requestId, held);
        count();
        return true;
    }

    private void count() {
        metrics.heldBytes.set((double) heldBytes);
        metrics.held.set(byTimer.size());
    }

    /** What it waits for came. Its turn comes in the next duty cycle: the store may be in the middle of its own. */
    void wake(final Held held) {
        ready.add(held);
    }

    /** Takes it out; it answers by itself. */
    void remove(final Held held) {
        if (!held.ended()) {
            held.end();
            wheel.cancelTimer(held.timer);
            byTimer.remove(held.timer);
            held.connection.held.remove(held.requestId);
            heldBytes -= held.bytes;
            held.connection.heldBytes -= held.bytes;
            count();
        }
    }

    int doWork(final long nowNs) {
        if (ready.isEmpty() && wheel.timerCount() == 0) {
            return 0;
        }
        int work = 0;
        final long untilNs = server.readClock() + TURN_NS;
        // Those that become ready meanwhile have their turn in the next cycle.
        for (int left = ready.size(); left > 0 && server.readClock() - untilNs < 0; left--) {
            final Held held = ready.poll();
            if (!held.ended()) {
                server.guarded(held, held::ready);
                work++;
            }
        }
        while (wheel.timerCount() > 0
                && wheel.currentTickTime() - nowNs <= TICK_NS
                && server.readClock() - untilNs < 0) {
            final long tick = wheel.currentTickTime();
            final int expired = wheel.poll(
                    nowNs,
                    (unit, now, timer) -> {
                        expire(byTimer.get(timer));
                        return true;
                    },
                    EXPIRIES_IN_A_ROW);
            work += expired;
            if (expired == 0 && wheel.currentTickTime() == tick) {
                break;
            }
        }
        return work;
    }

    boolean cancel(final Connection connection, final long requestId) {
        final Held held = connection.held.get(requestId);
        if (held == null) {
            return false;
        }
        remove(held);
        held.drop();
        server.refuse(connection, requestId, Error.Code.CANCELLED, "cancelled by the engine");
        return true;
    }

    void dropAll(final Connection connection) {
        for (final Held held : List.copyOf(connection.held.values())) {
            remove(held);
            held.drop();
        }
    }

    /** Answers everything with what there is. */
    void endAll() {
        for (final Held held : List.copyOf(byTimer.values())) {
            expire(held);
        }
    }

    private void expire(final Held held) {
        if (held != null && !held.ended()) {
            remove(held);
            server.guarded(held, held::expire);
        }
    }
}
