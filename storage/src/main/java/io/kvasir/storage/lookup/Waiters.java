package io.kvasir.storage.lookup;

import java.util.ArrayDeque;
import java.util.Map;
import java.util.TreeMap;
import org.agrona.collections.Int2ObjectHashMap;
import org.agrona.collections.Long2ObjectHashMap;

/** Who waits for objects in flight, or for room. Wakes run from {@link #run()}, never inside the call that caused them. */
public final class Waiters {
    /** Numbers from here down stand for what is no entry: a question, a pull. */
    public static final int FIRST_EVENT = -16;

    /** Requests for space that are tried again in one turn: a try may look at thousands of eviction candidates. */
    private static final int SPACE_IN_A_ROW = 4;

    private static final class Waiter {
        final long handle;
        final Runnable wake;
        int remaining;
        Link links;

        Waiter(final long handle, final Runnable wake, final int remaining) {
            this.handle = handle;
            this.wake = wake;
            this.remaining = remaining;
        }
    }

    /** One waiter in the list of one entry. */
    private static final class Link {
        final Waiter waiter;
        final int entry;
        final Link nextOfWaiter;
        Link previous;
        Link next;
        boolean linked = true;

        Link(final Waiter waiter, final int entry, final Link nextOfWaiter) {
            this.waiter = waiter;
            this.entry = entry;
            this.nextOfWaiter = nextOfWaiter;
        }
    }

    /** The head of each entry's list. */
    private final Int2ObjectHashMap<Link> byEntry = new Int2ObjectHashMap<>();

    private final Long2ObjectHashMap<Waiter> live = new Long2ObjectHashMap<>();
    private final ArrayDeque<Waiter> ready = new ArrayDeque<>();
    /** By the handle under which each waited first: a request that tries in vain keeps its place. */
    private final TreeMap<Long, Waiter> forSpace = new TreeMap<>();

    private long nextHandle = 1;
    private int links;
    /** A pass over {@link #forSpace}: behind which place it goes on, and where it ends. 0: there is none. */
    private long passAt;

    private long passEnd;
    private boolean passAgain;

    /** Wakes when all these entries have settled. */
    public long await(final int[] entries, final int count, final Runnable wake) {
        final Waiter waiter = new Waiter(nextHandle++, wake, count);
        live.put(waiter.handle, waiter);
        for (int i = 0; i < count; i++) {
            final Link link = new Link(waiter, entries[i], waiter.links);
            waiter.links = link;
            final Link head = byEntry.put(entries[i], link);
            if (head != null) {
                link.next = head;
                head.previous = link;
            }
        }
        links += count;
        return waiter.handle;
    }

    /**
     * Wakes when room was made.
     *
     * @param place the handle of this request's first wait, whose place in the order it keeps; 0: this is the first
     */
    public long awaitRoom(final long place, final Runnable wake) {
        final Waiter waiter = new Waiter(place == 0 ? nextHandle++ : place, wake, 1);
        live.put(waiter.handle, waiter);
        forSpace.put(waiter.handle, waiter);
        return waiter.handle;
    }

    /** Forgets the wait and all that it kept. */
    public void cancel(final long handle) {
        final Waiter waiter = live.remove(handle);
        if (waiter == null) {
            return;
        }
        forSpace.remove(handle);
        for (Link link = waiter.links; link != null; link = link.nextOfWaiter) {
            if (link.linked) {
                unlink(link);
            }
        }
    }

    private void unlink(final Link link) {
        link.linked = false;
        links--;
        if (link.next != null) {
            link.next.previous = link.previous;
        }
        if (link.previous != null) {
            link.previous.next = link.next;
        } else if (link.next != null) {
            byEntry.put(link.entry, link.next);
        } else {
            byEntry.remove(link.entry);
        }
    }

    public void settled(final int entry) {
        for (Link link = byEntry.remove(entry); link != null; link = link.next) {
            link.linked = false;
            links--;
            if (--link.waiter.remaining == 0) {
                ready.add(link.waiter);
            }
        }
    }

    /** Whoever waits for room tries again, one after the other, a few in each turn. */
    public void roomMade() {
        if (forSpace.isEmpty()) {
            return;
        }
        if (passEnd != 0) {
            passAgain = true;
        } else {
            passAt = 0;
            passEnd = forSpace.lastKey();
        }
    }

    /** Runs what is ready now; what these wakes make ready runs in the next call. */
    public int run() {
        int done = 0;
        for (int left = ready.size(); left > 0; left--) {
            final Waiter waiter = ready.poll();
            if (live.remove(waiter.handle) != null) {
                waiter.wake.run();
                done++;
            }
        }
        for (int left = SPACE_IN_A_ROW; left > 0 && passEnd != 0; left--) {
            final Map.Entry<Long, Waiter> next = forSpace.higherEntry(passAt);
            if (next == null || next.getKey() > passEnd) {
                passEnd = 0;
                if (passAgain) {
                    passAgain = false;
                    roomMade();
                }
                continue;
            }
            passAt = next.getKey();
            forSpace.remove(passAt);
            live.remove(passAt);
            next.getValue().wake.run();
            done++;
        }
        return done;
    }

    /** Requests that wait, and entries that they are listed under. */
    public int size() {
        return live.size() + links;
    }
}
