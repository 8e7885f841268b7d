package io.kvasir.storage.move;

import io.kvasir.storage.lease.Timer;
import io.kvasir.storage.lease.TimerWheel;
import java.util.EnumMap;
import java.util.Map;

/**
 * Every copy of an object between tiers waits here until its device or link has a place for it, and is counted here while
 * it is under way: one queue with priorities, one {@link MoveBudget} for each {@link Channel}. Owned by the store's thread;
 * nothing here waits.
 */
public final class Mover {
    private static final class Count {
        int waiting;
        int moving;
        long bytes;
    }

    private final TimerWheel timers;
    private final Map<Channel, Lane> lanes = new EnumMap<>(Channel.class);
    private final Map<MoveKind, Count> counts = new EnumMap<>(MoveKind.class);
    private boolean closed;

    /** @param budgets of all channels that moves will name */
    public Mover(final TimerWheel timers, final Map<Channel, MoveBudget> budgets) {
        this.timers = timers;
        budgets.forEach((channel, budget) -> lanes.put(channel, new Lane(budget)));
        for (final MoveKind kind : MoveKind.values()) {
            counts.put(kind, new Count());
        }
    }

    /** Whether {@link #submit} would take such a move now. */
    public boolean takes(final MoveKind kind, final MovePriority priority, final long bytes) {
        return !closed && lane(kind).takes(priority, bytes);
    }

    /**
     * The move starts, before this returns or when its turn comes.
     *
     * @return false: as many as may wait do so, or it is closed; the move is as before
     */
    public boolean submit(final Move move) {
        assert move.state == Move.State.NEW : "a move is submitted once";
        if (!takes(move.kind(), move.priority(), move.bytes())) {
            return false;
        }
        move.state = Move.State.WAITING;
        counts.get(move.kind()).waiting++;
        final Lane lane = lane(move.kind());
        lane.add(move);
        startWhatFits(lane);
        return true;
    }

    /** The same; what has not started by then is dropped, within a tick of the timers. */
    public boolean submit(final Move move, final long deadlineNs) {
        final boolean taken = submit(move);
        if (taken && move.state == Move.State.WAITING) {
            move.deadline = new Timer() {
                @Override
                protected void expired(final long nowNs) {
                    drop(move);
                    startWhatFits(lane(move.kind()));
                }
            };
            timers.schedule(move.deadline, deadlineNs);
        }
        return taken;
    }

    /**
     * Takes back a move that waits; {@link Move#dropped} is not called.
     *
     * @return false: it has started, or is over
     */
    public boolean cancel(final Move move) {
        if (move.state != Move.State.WAITING) {
            return false;
        }
        leaveQueue(move);
        startWhatFits(lane(move.kind()));
        return true;
    }

    /** A move that has started is over, however it ended. */
    public void ended(final Move move) {
        assert move.state == Move.State.MOVING : "it has not started, or ended before";
        move.state = Move.State.ENDED;
        final Count count = counts.get(move.kind());
        count.moving--;
        count.bytes -= move.bytes();
        final Lane lane = lane(move.kind());
        lane.ended(move);
        startWhatFits(lane);
    }

    private void drop(final Move move) {
        leaveQueue(move);
        move.dropped();
    }

    private void leaveQueue(final Move move) {
        noDeadline(move);
        move.state = Move.State.ENDED;
        counts.get(move.kind()).waiting--;
        lane(move.kind()).remove(move);
    }

    private static void noDeadline(final Move move) {
        if (move.deadline != null) {
            move.deadline.cancel();
        }
    }

    /** Drops what waits; what moves ends as before. */
    public void close() {
        closed = true;
        for (final Lane lane : lanes.values()) {
            for (Move move = lane.anyWaiting(); move != null; move = lane.anyWaiting()) {
                drop(move);
            }
        }
    }

    /** A move that ends within its start leaves the rest to the loop that started it. */
    private void startWhatFits(final Lane lane) {
        if (lane.isStarting || closed) {
            return;
        }
        lane.isStarting = true;
        try {
            for (Move move = lane.next(); move != null; move = lane.next()) {
                noDeadline(move);
                move.state = Move.State.MOVING;
                final Count count = counts.get(move.kind());
                count.waiting--;
                count.moving++;
                count.bytes += move.bytes();
                move.start();
            }
        } finally {
            lane.isStarting = false;
        }
    }

    private Lane lane(final MoveKind kind) {
        return lanes.get(kind.channel());
    }

    /** Moves that have not started. */
    public int waiting(final MoveKind kind) {
        return counts.get(kind).waiting;
    }

    /** Moves under way. */
    public int moving(final MoveKind kind) {
        return counts.get(kind).moving;
    }

    /** Bytes of objects under way. */
    public long movingBytes(final MoveKind kind) {
        return counts.get(kind).bytes;
    }

    /** Bytes under way over a device or link. */
    public long movingBytes(final Channel channel) {
        return lanes.get(channel).bytes();
    }

    /** Bytes of loads that wait or are under way over a device or link. */
    public long loadBytes(final Channel channel) {
        return lanes.get(channel).loadBytes();
    }
}
