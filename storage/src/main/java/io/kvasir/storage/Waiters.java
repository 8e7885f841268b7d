package io.kvasir.storage;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import org.agrona.collections.Int2ObjectHashMap;
import org.agrona.collections.Long2ObjectHashMap;

/** Who waits for objects in flight, or for room. Wakes run from {@link #run()}, never inside the call that caused them. */
final class Waiters {
    /** Numbers from here down stand for what is no entry: a question, a pull. */
    static final int FIRST_EVENT = -16;

    private static final class Waiter {
        final long handle;
        final Runnable wake;
        int remaining;

        Waiter(final long handle, final Runnable wake, final int remaining) {
            this.handle = handle;
            this.wake = wake;
            this.remaining = remaining;
        }
    }

    private final Int2ObjectHashMap<List<Waiter>> byEntry = new Int2ObjectHashMap<>();
    private final Long2ObjectHashMap<Waiter> live = new Long2ObjectHashMap<>();
    private final ArrayDeque<Waiter> ready = new ArrayDeque<>();
    private List<Waiter> forRoom = new ArrayList<>();
    private long nextHandle = 1;

    /** Wakes when all these entries have settled. */
    long await(final int[] entries, final int count, final Runnable wake) {
        final Waiter waiter = new Waiter(nextHandle++, wake, count);
        live.put(waiter.handle, waiter);
        for (int i = 0; i < count; i++) {
            byEntry.computeIfAbsent(entries[i], ignored -> new ArrayList<>(1)).add(waiter);
        }
        return waiter.handle;
    }

    long awaitRoom(final Runnable wake) {
        final Waiter waiter = new Waiter(nextHandle++, wake, 1);
        live.put(waiter.handle, waiter);
        forRoom.add(waiter);
        return waiter.handle;
    }

    void cancel(final long handle) {
        live.remove(handle);
    }

    void settled(final int entry) {
        final List<Waiter> waiters = byEntry.remove(entry);
        if (waiters != null) {
            for (final Waiter waiter : waiters) {
                if (--waiter.remaining == 0) {
                    ready.add(waiter);
                }
            }
        }
    }

    void roomMade() {
        if (!forRoom.isEmpty()) {
            ready.addAll(forRoom);
            forRoom = new ArrayList<>();
        }
    }

    /** Runs what is ready now; what these wakes make ready runs in the next call. */
    int run() {
        int done = 0;
        for (int left = ready.size(); left > 0; left--) {
            final Waiter waiter = ready.poll();
            if (live.remove(waiter.handle) != null) {
                waiter.wake.run();
                done++;
            }
        }
        return done;
    }
}
