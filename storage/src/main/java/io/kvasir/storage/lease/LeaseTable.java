package io.kvasir.storage.lease;

import io.kvasir.storage.budget.StoreLimits;
import io.kvasir.storage.object.StorageException;
import io.kvasir.storage.posix.PosixException;
import io.kvasir.storage.tenant.TenantAccount;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Executor;
import java.util.concurrent.ExecutorService;
import java.util.function.IntConsumer;
import org.agrona.collections.IntArrayList;
import org.agrona.concurrent.NanoClock;

/**
 * Rights that end at a time: to read, which are leases, and to write, which are {@link Reservation}s. A lease holds entries
 * for one session until that gives them back. Its time's end stops new reads only, because a reader may be in the middle of
 * a copy: it ends once all processes of the session have said that none of the copies that had begun by then runs any more
 * ({@link ExpiredLeases}), or have ended. So does what a session leaves.
 *
 * <p>What is leased is bounded for all sessions together, for a tenant and for a session: in bytes, of which each counts
 * once however many leases have it, and in leases and cells. All memory of leases is off the heap and sized at start; when it
 * is used up, {@link #hasSpace} says no. Ends are worked off in parts: a lease may have as many cells as the widest lookup.
 * What is reserved is bounded by the tier whose slots they are. Owned by the store's thread.
 */
public final class LeaseTable implements AutoCloseable {
    /** No entry, no lease. */
    public static final int NONE = -1;

    /** What a call gives back at once; more is for {@link #doWork}. */
    private static final int SWEPT_AT_ONCE = 1024;

    /** The slots behind the entries. */
    public interface Slots {
        long slotBytes(int entry);

        /** Keeps the slot's object where it is. */
        void hold(int entry);

        /** Once for each {@link #hold}. */
        void unhold(int entry);
    }

    private final Arena arena = Arena.ofShared();
    private final Slots slots;
    private final LeaseUse use;
    private final long allBytes;
    private final long sessionBytes;
    private final LeaseRecords records;
    /** Deadlines of leases and of reservations. */
    private final TimerWheel timers;

    private final ExpiredLeases expired;
    private final LeaseCounts counts;
    private final List<SessionLeases> sessions = new ArrayList<>();
    private final IntArrayList freeNumbers = new IntArrayList();
    /** Sessions that processes joined, until they are closed and all of those have ended. */
    private final Set<SessionLeases> joined = new LinkedHashSet<>();
    /** Sessions with something to give back, in turns. */
    private final ArrayDeque<SessionLeases> sweeps = new ArrayDeque<>();

    private final IntConsumer unhold = this::unhold;
    /** Whose leases are swept. */
    private SessionLeases swept;

    private long heldBytes;
    private long claimed;

    /**
     * @param capacity cells of all leases together, at most
     * @param allBytes that all sessions together may have leased
     * @param sessionBytes that one session may have leased
     * @param seed random, so that an id of another incarnation names nothing here
     * @param worker reads what processes say of their copies; ends with this
     * @param owner runs on the store's thread
     */
    public LeaseTable(
            final Slots slots,
            final int capacity,
            final long allBytes,
            final long sessionBytes,
            final long seed,
            final TimerWheel timers,
            final ExecutorService worker,
            final Executor owner,
            final NanoClock clock) {
        this.slots = slots;
        use = new LeaseUse(StoreLimits.LEASES, capacity);
        this.allBytes = allBytes;
        this.sessionBytes = sessionBytes;
        this.timers = timers;
        expired = new ExpiredLeases(StoreLimits.LEASES, timers, worker, owner, clock, this::timeIsOver, this::proved);
        // Number 0 is that of all.
        sessions.add(null);
        try {
            records = new LeaseRecords(StoreLimits.LEASES, capacity, seed, arena);
            counts = new LeaseCounts(capacity, seed, arena);
        } catch (final PosixException failure) {
            arena.close();
            throw new StorageException(
                    "the leases need " + bytes(capacity) + " bytes of memory: " + failure.getMessage(), failure);
        }
    }

    /** Bytes of memory that the leases of so many cells take when there are as many as may be. */
    public static long bytes(final int capacity) {
        return LeaseRecords.bytes(StoreLimits.LEASES, capacity) + LeaseCounts.bytes(capacity);
    }

    // ---- sessions

    public SessionLeases open(final TenantAccount tenant) {
        final int number = freeNumbers.isEmpty() ? sessions.size() : freeNumbers.removeAt(freeNumbers.size() - 1);
        final SessionLeases session = new SessionLeases(number, tenant);
        if (number == sessions.size()) {
            sessions.add(session);
        } else {
            sessions.set(number, session);
        }
        return session;
    }

    /**
     * A process joins: what is not released is kept while one of these may copy.
     *
     * @param lockFile made by {@link LockFile}
     */
    public void join(final SessionLeases session, final long attachment, final Path lockFile) {
        session.processes.put(attachment, new ExpiredLeases.Reader(lockFile));
        joined.add(session);
    }

    /** The session's last connection is gone. */
    public void close(final SessionLeases session) {
        session.isClosed = true;
        endIfGone(session);
    }

    /** A process ended or said that its copies have stopped. */
    public void attachmentEnded(final long attachment) {
        // Also before the session is closed: what has ended by then is not waited for.
        final List<SessionLeases> left = new ArrayList<>(1);
        for (final SessionLeases session : joined) {
            if (session.processes.remove(attachment) != null) {
                left.add(session);
            }
        }
        left.forEach(session -> {
            expired.ended(session);
            endIfGone(session);
        });
    }

    private void endIfGone(final SessionLeases session) {
        if (session.isClosed && !session.isEnding && (session.processes.isEmpty() || session.leases == 0)) {
            joined.remove(session);
            session.isEnding = true;
            expired.stop(session);
            letGo(session, SWEPT_AT_ONCE);
        }
    }

    // ---- what may be leased

    /** What the session may still lease by its own bound. */
    public long leasableBytes(final SessionLeases session) {
        return Math.max(0, sessionBytes - session.bytes - session.claimed);
    }

    /** What leasing the entry takes of {@link #leasableBytes}: nothing when the session has leased it already. */
    public long chargedBytes(final SessionLeases session, final int entry) {
        return counts.get(session.number, entry) > 0 ? 0 : slots.slotBytes(entry);
    }

    /** What the session may still lease that no session has leased: the bounds of all and of its tenant leave so much. */
    public long newlyLeasableBytes(final SessionLeases session) {
        return Math.max(0, session.tenant.leasable(allBytes - heldBytes - claimed));
    }

    /** What leasing the entry takes of {@link #newlyLeasableBytes}: nothing when any session has leased it already. */
    public long newlyChargedBytes(final int entry) {
        return counts.get(LeaseCounts.ALL, entry) > 0 ? 0 : slots.slotBytes(entry);
    }

    /** Whether there is memory for another lease. */
    public boolean hasSpace(final SessionLeases session, final int moreCells, final int shards) {
        return use.hasSpace(session, LeaseRecords.numbers(moreCells, shards));
    }

    // ---- grants

    /**
     * Begins a lease: {@link #add} gives it its cells, in order, and {@link #seal} ends that. Until then it is nobody's;
     * others may be granted and released meanwhile. There is {@link #hasSpace}.
     *
     * @param moreCells chunks x shards
     * @param claim of {@link #leasableBytes}, which nobody else gets before it is sealed. As much is claimed of what all
     *     may lease: other sessions may give back meanwhile what this one had not been charged for
     * @return its number
     */
    public int begin(
            final SessionLeases session,
            final int moreCells,
            final int shards,
            final long claim,
            final long expiresNs) {
        final int lease = records.take(session, moreCells, shards, expiresNs);
        use.count(session, 1, records.numbers(lease));
        claim(session, lease, claim);
        return lease;
    }

    /** @param entry {@link #NONE} for a cell that the lease does not have */
    public void add(final int lease, final int entry) {
        records.add(lease, entry);
        if (entry == NONE) {
            return;
        }
        final SessionLeases session = sessions.get(records.session(lease));
        final long bytes = slots.slotBytes(entry);
        if (counts.increment(session.number, entry)) {
            session.bytes += bytes;
            claim(session, lease, -Math.min(bytes, records.claim(lease)));
        }
        if (counts.increment(LeaseCounts.ALL, entry)) {
            slots.hold(entry);
            heldBytes += bytes;
            session.tenant.leased(bytes);
        }
    }

    /** The lease has its cells. Returns its id, which is not 0. */
    public long seal(final int lease) {
        final SessionLeases session = sessions.get(records.session(lease));
        claim(session, lease, -records.claim(lease));
        records.seal(session, lease);
        expired.schedule(lease, records.expiresNs(lease));
        if (session.isEnding) {
            queue(session);
        }
        return records.id(lease);
    }

    /** Gives back a lease that was not sealed. */
    public void abandon(final int lease) {
        final SessionLeases session = sessions.get(records.session(lease));
        claim(session, lease, -records.claim(lease));
        records.end(lease);
        sweepSoon(session, lease);
    }

    private void claim(final SessionLeases session, final int lease, final long bytes) {
        records.claim(lease, records.claim(lease) + bytes);
        session.claimed += bytes;
        session.tenant.leased(bytes);
        claimed += bytes;
    }

    // ---- leases

    /** The number of the session's lease; {@link #NONE} when it has ended, or is another session's. */
    public int find(final SessionLeases session, final long id) {
        final int lease = records.find(id);
        return lease == NONE || records.session(lease) != session.number ? NONE : lease;
    }

    /** {@link #find}, of a lease whose time has not ended. */
    public int findValid(final SessionLeases session, final long id, final long nowNs) {
        final int lease = find(session, id);
        return lease == NONE || records.expiresNs(lease) - nowNs <= 0 ? NONE : lease;
    }

    public long expiresNs(final int lease) {
        return records.expiresNs(lease);
    }

    /** Cells, chunk-major. */
    public int cells(final int lease) {
        return records.cells(lease);
    }

    public int shards(final int lease) {
        return records.shards(lease);
    }

    public LeaseReading reading(final SessionLeases session, final long id) {
        return new LeaseReading(this, records, session, id);
    }

    /** Prolongs the session's valid lease; one that ends later anyway stays as it is. False when it is none. */
    public boolean renew(final SessionLeases session, final long id, final long expiresNs, final long nowNs) {
        final int lease = findValid(session, id, nowNs);
        if (lease != NONE && expiresNs - records.expiresNs(lease) > 0) {
            records.expiresNs(lease, expiresNs);
        }
        return lease != NONE;
    }

    /**
     * Gives back the named shards (empty: all), also after the lease's time. Of a large lease the rest goes with {@link
     * #letGo} or {@link #doWork}; it is nobody's from now on.
     */
    public boolean release(final SessionLeases session, final long id, final int[] shardIndices) {
        final int lease = find(session, id);
        if (lease == NONE) {
            return false;
        }
        if (records.release(lease, shardIndices)) {
            sweepSoon(session, lease);
        }
        return true;
    }

    // ---- expiry

    private void timeIsOver(final int lease, final long nowNs) {
        if (records.isEnded(lease)) {
            return;
        }
        final long expiresNs = records.expiresNs(lease);
        if (expiresNs + ExpiredLeases.GRACE_NS - nowNs > 0) {
            // Renewed meanwhile.
            expired.schedule(lease, expiresNs);
            return;
        }
        final SessionLeases session = sessions.get(records.session(lease));
        records.move(session, lease, session.expiring);
        prove(session);
    }

    /** One proof at a time, and the next when what the last one was for has ended. */
    private void prove(final SessionLeases session) {
        if (!session.isProving
                && session.ending == 0
                && !session.isEnding
                && session.newest[session.expiring] != NONE) {
            session.expiring = 3 - session.expiring;
            expired.begin(session);
        }
    }

    private void proved(final SessionLeases session) {
        session.ending = 3 - session.expiring;
        queue(session);
    }

    /** The next lease that ends though nobody released it. */
    private int nextToEnd(final SessionLeases session) {
        int lease = session.newest[session.ending];
        if (session.isEnding) {
            for (final int newest : session.newest) {
                lease = lease == NONE ? newest : lease;
            }
            return lease;
        }
        return session.ending == 0 ? NONE : lease;
    }

    // ---- reservations

    /** Slots were added to it: what is neither committed nor aborted by the deadline is overdue. */
    public void reserved(final Reservation<?> reservation, final long deadlineNs) {
        if (reservation.open() > 0) {
            timers.schedule(reservation, deadlineNs);
        }
    }

    // ---- giving back

    /** A part of it at once, the rest later. */
    private void sweepSoon(final SessionLeases session, final int lease) {
        toSweep(session, lease);
        letGo(session, SWEPT_AT_ONCE);
    }

    private void toSweep(final SessionLeases session, final int lease) {
        if (records.sweepAgain(lease)) {
            return;
        }
        if (session.lastToSweep == NONE) {
            session.firstToSweep = lease;
        } else {
            records.nextToSweep(session.lastToSweep, lease);
        }
        session.lastToSweep = lease;
    }

    private void queue(final SessionLeases session) {
        if (!session.isQueued) {
            session.isQueued = true;
            sweeps.add(session);
        }
    }

    /** Looks at about so many cells that the session gives back; true when there are no more. */
    public boolean letGo(final SessionLeases session, final int most) {
        final boolean done = sweep(session, most) > 0;
        if (!done) {
            queue(session);
        }
        return done;
    }

    /** Looks at about so many cells that sessions give back, each in its turn; returns how many that was. */
    public int doWork(final int most) {
        int left = most;
        while (left > 0 && !sweeps.isEmpty()) {
            final SessionLeases session = sweeps.remove();
            session.isQueued = false;
            left = sweep(session, left);
            if (left == 0) {
                queue(session);
            }
        }
        return most - left;
    }

    /** Returns what is left of the limit: above 0 when the session has nothing more to give back. */
    private int sweep(final SessionLeases session, final int most) {
        int left = most;
        swept = session;
        while (left > 0) {
            if (session.firstToSweep == NONE) {
                final int next = nextToEnd(session);
                if (next == NONE) {
                    session.ending = 0;
                    break;
                }
                records.end(next);
                toSweep(session, next);
            }
            final int lease = session.firstToSweep;
            left = records.sweep(lease, left, unhold);
            if (left > 0) {
                session.firstToSweep = records.nextToSweep(lease);
                session.lastToSweep = session.firstToSweep == NONE ? NONE : session.lastToSweep;
                if (records.swept(lease)) {
                    ended(session, lease);
                }
            }
        }
        prove(session);
        forget(session);
        return left;
    }

    private void forget(final SessionLeases session) {
        if (session.isClosed && session.leases == 0 && sessions.get(session.number) == session) {
            session.isEnding = true;
            joined.remove(session);
            expired.stop(session);
            sessions.set(session.number, null);
            freeNumbers.addInt(session.number);
        }
    }

    private void ended(final SessionLeases session, final int lease) {
        use.count(session, -1, -records.numbers(lease));
        expired.cancel(lease);
        records.give(session, lease);
    }

    private void unhold(final int entry) {
        final SessionLeases session = swept;
        final long bytes = slots.slotBytes(entry);
        if (counts.decrement(session.number, entry)) {
            session.bytes -= bytes;
        }
        if (counts.decrement(LeaseCounts.ALL, entry)) {
            heldBytes -= bytes;
            session.tenant.leased(-bytes);
            slots.unhold(entry);
        }
    }

    // ---- what there is

    /** Leases, those included of which something is still to be given back. */
    public int count() {
        return use.leases();
    }

    /** Bytes of leased slots, each counted once. */
    public long heldBytes() {
        return heldBytes;
    }

    @Override
    public void close() {
        expired.close();
        arena.close();
    }
}
