package io.kvasir.storage.tier.ssd;

import org.agrona.concurrent.ManyToManyConcurrentArrayQueue;

/**
 * Uses that were served elsewhere, in batches of numbers of ids, each held; applied before something is chosen to go. While
 * nothing is written the oldest are forgotten. For any thread; takes no lock but in {@link #apply}.
 */
final class Touches {
    /** Batches that wait to be applied. */
    private static final int WAITING = 64;

    private final TierState state;
    private final ManyToManyConcurrentArrayQueue<int[]> batches = new ManyToManyConcurrentArrayQueue<>(WAITING);

    Touches(final TierState state) {
        this.state = state;
    }

    void add(final int[] numbers) {
        while (!batches.offer(numbers)) {
            final int[] oldest = batches.poll();
            if (oldest != null) {
                for (final int number : oldest) {
                    state.ids.release(number);
                }
            }
        }
    }

    boolean isEmpty() {
        return batches.isEmpty();
    }

    /** The caller has the state's lock. */
    void apply() {
        for (int[] numbers = batches.poll(); numbers != null; numbers = batches.poll()) {
            for (final int number : numbers) {
                final int entry = state.findDurable(state.ids.id(number));
                if (entry >= 0) {
                    state.policy.touch(entry);
                }
                state.ids.release(number);
            }
        }
    }
}
