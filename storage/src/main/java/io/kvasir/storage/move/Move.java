package io.kvasir.storage.move;

import io.kvasir.storage.lease.Timer;

/**
 * A copy of one object from one tier to another. It is its own place in the {@link Mover}'s queue, and is submitted once.
 */
public abstract class Move {
    enum State {
        NEW,
        WAITING,
        MOVING,
        ENDED
    }

    private final MoveKind kind;
    private final MovePriority priority;
    private final long bytes;
    State state = State.NEW;
    /** Null: it waits as long as it takes. */
    Timer deadline;

    /** In the queue of its priority. */
    Move ahead;

    Move behind;

    /** @param bytes of the object, at least 0 */
    protected Move(final MoveKind kind, final MovePriority priority, final long bytes) {
        this.kind = kind;
        this.priority = priority;
        this.bytes = bytes;
    }

    /** Begins the copy, without waiting for it; who made it calls {@link Mover#ended} once when it is over. */
    protected abstract void start();

    /** It has not started and never will: its deadline is over, or the store closes. */
    protected abstract void dropped();

    public final MoveKind kind() {
        return kind;
    }

    public final MovePriority priority() {
        return priority;
    }

    public final long bytes() {
        return bytes;
    }
}
