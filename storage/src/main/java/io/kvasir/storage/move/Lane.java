package io.kvasir.storage.move;

/**
 * What waits for one {@link Channel} and what is on its way over it: says which move starts next. The first of a lower
 * priority waits until {@link #PASSED} times its bytes have gone before it, and then goes next, so that loads without an
 * end leave the stores a quarter. Nobody overtakes a move whose turn it is, for being smaller.
 */
final class Lane {
    static final int PASSED = 3;

    private final MoveBudget budget;
    private final MoveQueue[] waiting = new MoveQueue[MovePriority.LEVELS];
    /** By priority: bytes that started while its first move waited and could have started. */
    private final long[] passedBytes = new long[MovePriority.LEVELS];

    /** Somebody starts what fits. */
    boolean isStarting;

    private long bytes;
    private long storeBytes;
    private int moves;
    private int stores;
    /** Of loads that wait or move: all, and those of the background. */
    private long loadBytes;

    private long backgroundLoadBytes;
    private int loads;
    private int backgroundLoads;

    Lane(final MoveBudget budget) {
        this.budget = budget;
        for (int i = 0; i < waiting.length; i++) {
            waiting[i] = new MoveQueue();
        }
    }

    /** Whether a move of so many bytes may wait here. */
    boolean takes(final MovePriority priority, final long size) {
        return switch (priority) {
            case LOAD -> loads < budget.loads() && fits(loadBytes, size, budget.loadBytes(), loads);
            case BACKGROUND_LOAD ->
                backgroundLoads < Math.max(1, budget.loads() / 2)
                        && takes(MovePriority.LOAD, size)
                        && fits(backgroundLoadBytes, size, budget.loadBytes() / 2, backgroundLoads);
            case STORE, BACKGROUND_STORE -> waiting[priority.level()].size() < budget.storesWaiting();
        };
    }

    private static boolean fits(final long before, final long size, final long most, final int others) {
        return others == 0 || before + size <= most;
    }

    void add(final Move move) {
        waiting[move.priority().level()].add(move);
        countLoad(move, 1);
    }

    /** It waits no longer, and does not start. */
    void remove(final Move move) {
        take(move);
        countLoad(move, -1);
    }

    private void take(final Move move) {
        final int priority = move.priority().level();
        waiting[priority].remove(move);
        if (waiting[priority].size() == 0) {
            passedBytes[priority] = 0;
        }
    }

    private void countLoad(final Move move, final int sign) {
        if (move.priority().isStore()) {
            return;
        }
        loads += sign;
        loadBytes += sign * move.bytes();
        if (move.priority() == MovePriority.BACKGROUND_LOAD) {
            backgroundLoads += sign;
            backgroundLoadBytes += sign * move.bytes();
        }
    }

    /** Takes the move out of the queue that starts now and counts it as moving; null when none does. */
    Move next() {
        final Move next = turn();
        if (next == null || !fits(bytes, next.bytes(), budget.bytes(), moves)) {
            return null;
        }
        for (int lower = next.priority().level() + 1; lower < MovePriority.LEVELS; lower++) {
            if (isReady(lower)) {
                passedBytes[lower] += next.bytes();
            }
        }
        final int priority = next.priority().level();
        passedBytes[priority] = Math.max(0, passedBytes[priority] - PASSED * next.bytes());
        take(next);
        bytes += next.bytes();
        moves++;
        if (next.priority().isStore()) {
            storeBytes += next.bytes();
            stores++;
        }
        return next;
    }

    private Move turn() {
        Move first = null;
        for (int i = 0; i < waiting.length; i++) {
            final Move head = waiting[i].first();
            if (head == null) {
                continue;
            }
            if (!isReady(i)) {
                // Lower stores do not take what this one waits for.
                return first;
            }
            if (passedBytes[i] >= PASSED * head.bytes() && passedBytes[i] > 0) {
                return head;
            }
            first = first == null ? head : first;
        }
        return first;
    }

    /** Whether somebody of this priority waits, and not for another store to end. */
    private boolean isReady(final int priority) {
        final Move head = waiting[priority].first();
        return head != null
                && (!MovePriority.isStore(priority)
                        || (stores < budget.stores() && fits(storeBytes, head.bytes(), budget.storeBytes(), stores)));
    }

    void ended(final Move move) {
        bytes -= move.bytes();
        moves--;
        countLoad(move, -1);
        if (move.priority().isStore()) {
            storeBytes -= move.bytes();
            stores--;
        }
    }

    /** Any that waits; null when none does. */
    Move anyWaiting() {
        for (final MoveQueue queue : waiting) {
            if (queue.first() != null) {
                return queue.first();
            }
        }
        return null;
    }

    long bytes() {
        return bytes;
    }

    long loadBytes() {
        return loadBytes;
    }
}
