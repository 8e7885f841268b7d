package io.kvasir.storage.move;

/** Moves of one priority, the oldest first. The moves themselves are the list, so that one is taken out in a step. */
final class MoveQueue {
    private Move first;
    private Move last;
    private int size;

    Move first() {
        return first;
    }

    int size() {
        return size;
    }

    void add(final Move move) {
        move.ahead = last;
        if (last == null) {
            first = move;
        } else {
            last.behind = move;
        }
        last = move;
        size++;
    }

    void remove(final Move move) {
        if (move.ahead == null) {
            first = move.behind;
        } else {
            move.ahead.behind = move.behind;
        }
        if (move.behind == null) {
            last = move.ahead;
        } else {
            move.behind.ahead = move.ahead;
        }
        move.ahead = null;
        move.behind = null;
        size--;
    }
}
