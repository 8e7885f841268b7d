package io.kvasir.storage.tier.dram;

import io.kvasir.storage.lease.Timer;
import java.util.Arrays;
import java.util.function.Consumer;

/**
 * The slots that one turn of a Reserve gave to a process, and the deadline by which it commits or aborts them. It is
 * canceled when all of them are; {@link DramTier} ends what is left at the deadline.
 */
public final class Reservation extends Timer {
    /** Of what an earlier node had reserved: it is quarantined already. */
    static final Reservation ENDED = new Reservation(null, ended -> {});

    private final Attachments.Entry writer;
    private final Consumer<Reservation> overdue;
    private long[] places = new long[8];
    private int count;
    private int open;

    Reservation(final Attachments.Entry writer, final Consumer<Reservation> overdue) {
        this.writer = writer;
        this.overdue = overdue;
    }

    Attachments.Entry writer() {
        return writer;
    }

    /** Slots of it that are neither committed nor given back. */
    public int open() {
        return open;
    }

    int count() {
        return count;
    }

    long place(final int i) {
        return places[i];
    }

    void add(final long place) {
        if (count == places.length) {
            places = Arrays.copyOf(places, count * 2);
        }
        places[count++] = place;
        open++;
    }

    void closed() {
        if (--open == 0) {
            cancel();
        }
    }

    @Override
    protected void expired(final long nowNs) {
        overdue.accept(this);
    }
}
