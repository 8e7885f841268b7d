package io.kvasir.storage.lease;

import java.util.Arrays;
import java.util.function.Consumer;

/**
 * Slots that a process may write, and the deadline by which it commits or aborts them, which {@link LeaseTable} keeps. What
 * a process reserves within a sixty-fourth of the time that it has is one reservation, with the deadline of what came last:
 * so the memory for deadlines does not grow with the calls that it makes. It is canceled when all of its slots are closed.
 *
 * @param <W> the process
 */
public final class Reservation<W> extends Timer {
    /** About so many slots are in one, so that its end is a bounded piece of work. */
    static final int MOST = 1024;

    private static final int SPAN_PART = 64;

    private final W writer;
    private final Consumer<Reservation<W>> overdue;
    private final long beganNs;
    private long[] places = new long[8];
    private int count;
    private int open;

    /** @param overdue ends what is left at the deadline */
    public Reservation(final W writer, final Consumer<Reservation<W>> overdue, final long beganNs) {
        this.writer = writer;
        this.overdue = overdue;
        this.beganNs = beganNs;
    }

    /** Of what an earlier node had reserved: it is quarantined already. */
    public static <W> Reservation<W> ended() {
        return new Reservation<>(null, overdue -> {}, 0);
    }

    /** Whether what its writer reserves now may be part of it. */
    public boolean takes(final long nowNs, final long writingNs) {
        return open > 0 && count < MOST && nowNs - beganNs <= writingNs / SPAN_PART;
    }

    public W writer() {
        return writer;
    }

    /** Slots of it that are neither committed nor given back. */
    public int open() {
        return open;
    }

    /** Slots that were ever in it. */
    public int count() {
        return count;
    }

    /** By whatever number the writer's tier gave to {@link #add}. */
    public long place(final int i) {
        return places[i];
    }

    public void add(final long place) {
        if (count == places.length) {
            places = Arrays.copyOf(places, count * 2);
        }
        places[count++] = place;
        open++;
    }

    public void closed() {
        if (--open == 0) {
            cancel();
        }
    }

    @Override
    protected void expired(final long nowNs) {
        overdue.accept(this);
    }
}
