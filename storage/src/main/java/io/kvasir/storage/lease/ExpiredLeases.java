package io.kvasir.storage.lease;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Executor;
import java.util.concurrent.ExecutorService;
import java.util.function.Consumer;
import org.agrona.concurrent.NanoClock;

/**
 * Proves that nobody copies any more under leases whose time is over, so that they can end. A process stores the mark of
 * a copy before it looks at its lease's time: so a copy under such a lease has a number below what {@code next} of its
 * {@link CopyMarks} says some time after the lease's end, and all of these have ended once {@code oldest} is that number.
 * A process that has lost its lock is not asked. Leases of a session that expire while a proof is under way are the next
 * one's. Part of {@link LeaseTable}; the files are read by a thread of its own.
 */
final class ExpiredLeases {
    /** From the end of a lease's time until it is expired: far longer than a store takes until others see it. */
    static final long GRACE_NS = 100_000_000;

    private static final long FIRST_PAUSE_NS = 50_000_000;
    private static final long LONGEST_PAUSE_NS = 5_000_000_000L;

    /** A process of a session, which may read what that has leased. */
    static final class Reader {
        final Path lockFile;
        /** What {@code next} was when the proof began; 0: not known yet. */
        private long next;
        /** It is not asked in this proof (any more). */
        private boolean proved = true;

        Reader(final Path lockFile) {
            this.lockFile = lockFile;
        }
    }

    /** When a lease expires. Its own are made once and used again. */
    private final class LeaseTimer extends Timer {
        private final int lease;

        LeaseTimer(final int lease) {
            this.lease = lease;
        }

        @Override
        protected void expired(final long nowNs) {
            onExpired.accept(lease, nowNs);
        }
    }

    /** When processes that still copied are asked again. */
    private final class Retry extends Timer {
        private final SessionLeases session;

        Retry(final SessionLeases session) {
            this.session = session;
        }

        @Override
        protected void expired(final long nowNs) {
            ask(session);
        }
    }

    interface OnExpired {
        void accept(int lease, long nowNs);
    }

    private final TimerWheel timers;
    private final ExecutorService worker;
    private final Executor owner;
    private final NanoClock clock;
    private final OnExpired onExpired;
    private final Consumer<SessionLeases> onProved;
    private final LeaseTimer[] ofLease;

    /**
     * @param worker reads the files
     * @param owner brings back what was read
     * @param onProved the leases that the proof was for can end
     */
    ExpiredLeases(
            final int leases,
            final TimerWheel timers,
            final ExecutorService worker,
            final Executor owner,
            final NanoClock clock,
            final OnExpired onExpired,
            final Consumer<SessionLeases> onProved) {
        this.timers = timers;
        this.worker = worker;
        this.owner = owner;
        this.clock = clock;
        this.onExpired = onExpired;
        this.onProved = onProved;
        ofLease = new LeaseTimer[leases];
    }

    void schedule(final int lease, final long expiresNs) {
        if (ofLease[lease] == null) {
            ofLease[lease] = new LeaseTimer(lease);
        }
        timers.schedule(ofLease[lease], expiresNs + GRACE_NS);
    }

    void cancel(final int lease) {
        if (ofLease[lease] != null) {
            ofLease[lease].cancel();
        }
    }

    /** Begins a proof for what has expired. None is under way. */
    void begin(final SessionLeases session) {
        session.isProving = true;
        session.proof++;
        session.pauseNs = FIRST_PAUSE_NS;
        session.processes.forEachLong((id, process) -> {
            process.next = 0;
            process.proved = false;
        });
        ask(session);
    }

    private void ask(final SessionLeases session) {
        if (!session.isProving || endIfProved(session)) {
            return;
        }
        final List<Reader> asked = new ArrayList<>(session.processes.size());
        session.processes.forEachLong((id, process) -> {
            if (!process.proved) {
                asked.add(process);
            }
        });
        final int proof = session.proof;
        worker.execute(() -> {
            final CopyMarks[] read = new CopyMarks[asked.size()];
            for (int i = 0; i < read.length; i++) {
                read[i] = CopyMarks.read(asked.get(i).lockFile);
            }
            owner.execute(() -> {
                if (session.isProving && session.proof == proof) {
                    answer(session, asked, read);
                }
            });
        });
    }

    private void answer(final SessionLeases session, final List<Reader> asked, final CopyMarks[] read) {
        for (int i = 0; i < read.length; i++) {
            final Reader process = asked.get(i);
            if (process.next == 0) {
                process.next = read[i].next();
            }
            process.proved = read[i].provesEndOf(process.next);
        }
        if (!endIfProved(session)) {
            if (session.retry == null) {
                session.retry = new Retry(session);
            }
            timers.schedule(session.retry, clock.nanoTime() + session.pauseNs);
            session.pauseNs = Math.min(LONGEST_PAUSE_NS, session.pauseNs * 2);
        }
    }

    /** A process of the session has ended. */
    void ended(final SessionLeases session) {
        if (session.isProving) {
            endIfProved(session);
        }
    }

    private boolean endIfProved(final SessionLeases session) {
        final boolean[] proved = {true};
        session.processes.forEachLong((id, process) -> proved[0] &= process.proved);
        if (proved[0]) {
            stop(session);
            onProved.accept(session);
        }
        return proved[0];
    }

    /** Nothing of the session is to be proved any more. */
    void stop(final SessionLeases session) {
        session.isProving = false;
        if (session.retry != null) {
            session.retry.cancel();
        }
    }

    void close() {
        worker.shutdownNow();
    }
}
