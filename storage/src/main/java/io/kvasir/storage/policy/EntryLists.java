package io.kvasir.storage.policy;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * A fixed number of queues over dense entry numbers, through two int arrays: each entry is in one queue or in none. Walks
 * over them stay valid while entries move. The building block of the policies.
 */
public final class EntryLists {
    public static final int NONE = EvictionPolicy.NONE;
    private static final int INITIAL = 1024;

    private final int[] first;
    private final int[] last;
    private final int[] size;
    private final List<int[]> walks = new ArrayList<>();
    private int[] before = new int[INITIAL];
    private int[] after = new int[INITIAL];
    private short[] queue = new short[INITIAL];

    public EntryLists(final int queues) {
        first = filled(queues);
        last = filled(queues);
        size = new int[queues];
    }

    /** One position for each queue: the entry that is met next, or {@link #NONE}. Follows when that entry moves. */
    int[] walk() {
        final int[] walk = filled(first.length);
        walks.add(walk);
        return walk;
    }

    void restart(final int[] walk) {
        System.arraycopy(first, 0, walk, 0, walk.length);
    }

    /** Entry numbers that the arrays hold; grows by doubling. */
    int capacity() {
        return after.length;
    }

    public void append(final int entry, final int to) {
        if (entry >= after.length) {
            final int grown = Math.max(entry + 1, after.length * 2);
            before = Arrays.copyOf(before, grown);
            after = Arrays.copyOf(after, grown);
            queue = Arrays.copyOf(queue, grown);
        }
        queue[entry] = (short) to;
        before[entry] = last[to];
        after[entry] = NONE;
        if (last[to] == NONE) {
            first[to] = entry;
        } else {
            after[last[to]] = entry;
        }
        last[to] = entry;
        size[to]++;
    }

    public void remove(final int entry) {
        final int from = queue[entry];
        for (int i = 0; i < walks.size(); i++) {
            final int[] walk = walks.get(i);
            if (walk[from] == entry) {
                walk[from] = after[entry];
            }
        }
        if (before[entry] == NONE) {
            first[from] = after[entry];
        } else {
            after[before[entry]] = after[entry];
        }
        if (after[entry] == NONE) {
            last[from] = before[entry];
        } else {
            before[after[entry]] = before[entry];
        }
        size[from]--;
    }

    int queueOf(final int entry) {
        return queue[entry];
    }

    public int first(final int of) {
        return first[of];
    }

    int last(final int of) {
        return last[of];
    }

    int after(final int entry) {
        return after[entry];
    }

    int size(final int of) {
        return size[of];
    }

    private static int[] filled(final int count) {
        final int[] array = new int[count];
        Arrays.fill(array, NONE);
        return array;
    }
}
