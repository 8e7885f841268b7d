package io.kvasir.storage.tier.ssd;

import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.SizeClass;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import org.agrona.collections.IntArrayList;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One thread that takes requests in order, finds each a slot, and has {@link ExtentWriter} write them. It hands a batch to
 * the committer and goes on with the next, so that one batch's data moves while the last one syncs.
 */
final class SsdWriter implements Runnable {
    private static final Logger LOG = LoggerFactory.getLogger(SsdWriter.class);
    private static final int BATCHES_IN_FLIGHT = 3;
    private static final int MOST_IN_BATCH = 512;
    /** How long a request waits for others to let go of room. */
    private static final long ROOM_BOUND_NS = 2_000_000_000L;
    /** How long a batch steps back behind waiting reads. */
    private static final long YIELD_BOUND_NS = 2_000_000L;

    sealed interface Command {}

    record Write(WriteRequest request, long startedNs) implements Command {}

    /**
     * A write that has a slot.
     *
     * @param sequence larger than that of all writes before
     */
    record Member(Write write, int entry, long sequence) {
        ObjectId id() {
            return write.request().id();
        }

        StoredObject object() {
            return write.request().object();
        }
    }

    record Remove(ObjectId id, Consumer<WriteOutcome> callback) implements Command {}

    record Barrier(CountDownLatch reached) implements Command {}

    record Stop() implements Command {}

    private final SsdTier.Context context;
    private final TierState state;
    private final SsdCommitter committer;
    private final ExtentMaker maker;
    private final BooleanSupplier readsWait;
    private final Runnable applyTouches;
    private final ConcurrentLinkedQueue<Command> queue = new ConcurrentLinkedQueue<>();
    private final AtomicInteger queuedWrites = new AtomicInteger();
    private final Semaphore wakeups = new Semaphore(0);
    private final Semaphore inFlight = new Semaphore(BATCHES_IN_FLIGHT);
    private final ExtentWriter extents;

    private final List<Member> members = new ArrayList<>();
    private volatile boolean hurry;

    SsdWriter(
            final SsdTier.Context context,
            final TierState state,
            final SsdCommitter committer,
            final HeaderPages headers,
            final ExtentMaker maker,
            final BooleanSupplier readsWait,
            final Runnable applyTouches) {
        this.context = context;
        this.state = state;
        this.committer = committer;
        this.maker = maker;
        this.readsWait = readsWait;
        this.applyTouches = applyTouches;
        extents = new ExtentWriter(context, state, headers);
    }

    /** False when the queue is full. */
    boolean offer(final WriteRequest request) {
        if (queuedWrites.incrementAndGet() > context.maxQueuedWrites()) {
            queuedWrites.decrementAndGet();
            return false;
        }
        submit(new Write(request, System.nanoTime()));
        return true;
    }

    void submit(final Command command) {
        queue.add(command);
        wakeups.release();
    }

    int queued() {
        return queuedWrites.get();
    }

    /** From here on writes that wait are rejected instead of written. */
    void hurry() {
        hurry = true;
    }

    @Override
    public void run() {
        final List<Command> batch = new ArrayList<>();
        boolean running = true;
        while (running) {
            batch.clear();
            try {
                gather(batch);
            } catch (final InterruptedException e) {
                Thread.currentThread().interrupt();
                return;
            }
            final List<Write> writes = new ArrayList<>();
            for (final Command command : batch) {
                switch (command) {
                    case Write write -> writes.add(write);
                    case Remove remove -> {
                        writeAll(writes);
                        remove(remove);
                    }
                    case Barrier barrier -> {
                        writeAll(writes);
                        committer.submit(new SsdCommitter.Barrier(barrier.reached()));
                    }
                    case Stop stop -> {
                        writeAll(writes);
                        running = false;
                    }
                }
            }
            writeAll(writes);
        }
    }

    private void gather(final List<Command> batch) throws InterruptedException {
        wakeups.acquire();
        long bytes = 0;
        do {
            final Command command = queue.remove();
            batch.add(command);
            if (command instanceof Write write) {
                queuedWrites.decrementAndGet();
                bytes += write.request().object().length();
            }
        } while (bytes < context.batchBytes() && batch.size() < MOST_IN_BATCH && wakeups.tryAcquire());
    }

    private void writeAll(final List<Write> writes) {
        if (writes.isEmpty()) {
            return;
        }
        state.lock.lock();
        try {
            applyTouches.run();
        } finally {
            state.lock.unlock();
        }
        // One size behind the other, in the order of arrival: neighbours in the file.
        writes.sort(Comparator.comparingLong(
                write -> SizeClass.slotBytes(write.request().object().length())));
        for (final Write write : writes) {
            if (hurry) {
                answer(write, WriteOutcome.rejected("the SSD tier is closing"));
                continue;
            }
            try {
                reserve(write);
            } catch (final InterruptedException e) {
                Thread.currentThread().interrupt();
                answer(write, WriteOutcome.failed("interrupted"));
            } catch (final RuntimeException e) {
                LOG.error("ssd {}: a write failed", context.directory(), e);
                answer(write, WriteOutcome.failed(e.toString()));
            }
        }
        writes.clear();
        writeMembers();
    }

    // ---- room

    private void reserve(final Write write) throws InterruptedException {
        final WriteRequest request = write.request();
        final long slotBytes = SizeClass.slotBytes(request.object().length());
        final long deadline = System.nanoTime() + ROOM_BOUND_NS;
        while (true) {
            final Extent cuttable;
            final boolean full;
            state.lock.lock();
            try {
                if (answerKnown(write)) {
                    return;
                }
                full = state.occupants() >= context.maxObjects();
                final Extent extent = full ? null : state.pool.withRoom(slotBytes);
                if (extent != null) {
                    final int entry = state.addWriting(request, extent);
                    members.add(new Member(write, entry, state.nextSequence()));
                    return;
                }
                cuttable = full ? null : state.pool.takeFree(slotBytes);
            } finally {
                state.lock.unlock();
            }
            final String refused = full
                    ? "it has as many objects as it may (" + context.maxObjects() + ")"
                    : cuttable != null ? maker.cut(cuttable, slotBytes) : maker.make(slotBytes);
            if (refused.isEmpty()) {
                continue;
            }
            if (!members.isEmpty()) {
                // What waits to be written may be what has to go, or what a victim waits for.
                writeMembers();
            }
            if (!makeRoom(full ? SsdEviction.ANY_SIZE : slotBytes, deadline)) {
                context.metrics().full.increment();
                answer(write, WriteOutcome.full(refused));
                return;
            }
        }
    }

    /** Holds the lock. True when the object is here, or on its way. */
    private boolean answerKnown(final Write write) {
        final WriteRequest request = write.request();
        final int known = state.find(request.id());
        if (known < 0) {
            return false;
        }
        if (state.entries.state(known) == EntryTable.WRITING) {
            state.followers.computeIfAbsent(known, entry -> new ArrayList<>()).add(request.callback());
        } else {
            state.policy.touch(known);
            answer(write, WriteOutcome.ALREADY);
        }
        return true;
    }

    /** Evicts, or waits for what is leaving; false when nothing can go. The caller's loop looks again. */
    @SuppressWarnings("WaitNotInLoop")
    private boolean makeRoom(final long slotBytes, final long deadline) throws InterruptedException {
        state.lock.lock();
        try {
            // Another object counts as soon as the coldest begins to leave; its slot is free later.
            final boolean full = slotBytes == SsdEviction.ANY_SIZE;
            if (full || state.deleting() == 0) {
                applyTouches.run();
                final IntArrayList victims = full ? state.eviction.coldest() : state.eviction.forSlot(slotBytes);
                if (!victims.isEmpty()) {
                    evict(victims);
                    if (full) {
                        return true;
                    }
                } else if (state.writing() == 0) {
                    return false;
                }
            }
            final long left = deadline - System.nanoTime();
            return left > 0 && state.changed.awaitNanos(left) > 0;
        } finally {
            state.lock.unlock();
        }
    }

    /** Holds the lock. */
    private void evict(final IntArrayList victims) {
        context.metrics().evicted.add(victims.size());
        delete(victims, outcome -> {});
    }

    /** Holds the lock. */
    private void delete(final IntArrayList victims, final Consumer<WriteOutcome> callback) {
        state.beginDelete(victims);
        committer.submit(new SsdCommitter.Deleted(victims, callback));
    }

    /** In a full tier: lets as much go as this batch took, so that it leaves with the batch's own commit. */
    private void evictAhead(final long slotBytes, final int count) {
        final long most = Math.min(context.batchBytes(), context.capacityBytes() / 64) / slotBytes;
        final int wanted = (int) Math.min(count, most);
        if (wanted == 0 || state.deleting() > 0) {
            return;
        }
        if (!state.pool.hasCapacityFor(state.pool.fileBytes(slotBytes))
                && state.pool.freeSlots(slotBytes) < wanted
                && !state.pool.hasUncut()) {
            applyTouches.run();
            final IntArrayList victims = state.eviction.coldestIfCold(slotBytes, wanted);
            if (!victims.isEmpty()) {
                evict(victims);
            }
        }
    }

    private void remove(final Remove remove) {
        state.lock.lock();
        try {
            int entry = state.find(remove.id());
            // A write of before is on its way: its end is awaited, within a bound.
            final long deadline = System.nanoTime() + ROOM_BOUND_NS;
            while (entry >= 0
                    && state.entries.state(entry) == EntryTable.WRITING
                    && state.changed.awaitNanos(deadline - System.nanoTime()) > 0) {
                entry = state.find(remove.id());
            }
            if (entry < 0) {
                complete(() -> remove.callback().accept(WriteOutcome.ABSENT));
            } else if (state.entries.state(entry) == EntryTable.WRITING) {
                complete(() -> remove.callback().accept(WriteOutcome.failed("its write does not end")));
            } else {
                context.metrics().dropped.increment();
                delete(single(entry), remove.callback());
            }
        } catch (final InterruptedException e) {
            Thread.currentThread().interrupt();
            complete(() -> remove.callback().accept(WriteOutcome.failed("interrupted")));
        } finally {
            state.lock.unlock();
        }
    }

    static IntArrayList single(final int entry) {
        final IntArrayList list = new IntArrayList(1, IntArrayList.DEFAULT_NULL_VALUE);
        list.addInt(entry);
        return list;
    }

    // ---- writing

    private void writeMembers() {
        if (members.isEmpty()) {
            return;
        }
        inFlight.acquireUninterruptibly();
        final String[] failures = new String[members.size()];
        for (final ExtentWriter.Run run : extents.runs(members)) {
            stepBack();
            extents.write(run, failures);
        }
        submit(failures);
        members.clear();
    }

    private void submit(final String[] failures) {
        final List<Member> written = new ArrayList<>();
        state.lock.lock();
        try {
            for (int i = 0; i < members.size(); i++) {
                if (failures[i] == null) {
                    written.add(members.get(i));
                } else {
                    abandon(members.get(i), failures[i]);
                }
            }
            if (!written.isEmpty()) {
                evictAhead(SizeClass.slotBytes(written.getLast().object().length()), written.size());
            }
            committer.submit(new SsdCommitter.Written(written, inFlight::release));
        } finally {
            state.lock.unlock();
        }
    }

    private void abandon(final Member member, final String failure) {
        final WriteOutcome outcome =
                failure.startsWith("full: ") ? WriteOutcome.full(failure) : WriteOutcome.failed(failure);
        final List<Consumer<WriteOutcome>> followers = state.followers.remove(member.entry());
        state.abandonWriting(member.entry());
        state.changed.signalAll();
        context.metrics().writeErrors.increment();
        answer(member.write(), outcome);
        if (followers != null) {
            followers.forEach(follower -> complete(() -> follower.accept(outcome)));
        }
    }

    /** Reads go first: someone waits for them. */
    private void stepBack() {
        final long deadline = System.nanoTime() + YIELD_BOUND_NS;
        while (readsWait.getAsBoolean() && System.nanoTime() < deadline) {
            LockSupport.parkNanos(50_000);
        }
    }

    private void answer(final Write write, final WriteOutcome outcome) {
        complete(() -> write.request().callback().accept(outcome));
    }

    private void complete(final Runnable callback) {
        context.completions().execute(callback);
    }
}
