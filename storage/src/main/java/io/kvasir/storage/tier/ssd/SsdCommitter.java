package io.kvasir.storage.tier.ssd;

import io.kvasir.storage.posix.Posix;
import io.kvasir.storage.posix.PosixException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.function.Consumer;
import org.agrona.collections.IntArrayList;
import org.rocksdb.RocksDBException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One thread that makes changes durable, in the order in which they come: data sync of the extents, one synced RocksDB
 * batch for all that waits, and only then the callbacks. What it made durable is told under the state's lock, as removals
 * are when they begin, so that the listener hears of each object in the true order.
 */
final class SsdCommitter implements Runnable {
    private static final Logger LOG = LoggerFactory.getLogger(SsdCommitter.class);
    private static final int MOST_GROUPED = 64;

    /** What the committer is asked to do. */
    sealed interface Change {}

    /** A batch whose data is written. */
    record Written(List<SsdWriter.Member> members, Runnable finished) implements Change {}

    record Deleted(IntArrayList entries, Consumer<WriteOutcome> callback) implements Change {}

    /** Counts down when all before it is durable. */
    record Barrier(CountDownLatch reached) implements Change {}

    record Stop() implements Change {}

    private final SsdTier.Context context;
    private final TierState state;
    private final PlaceStore places;
    private final LinkedBlockingQueue<Change> queue = new LinkedBlockingQueue<>();
    /** Removals whose batch failed: their places must not be free before RocksDB knows. */
    private final List<Deleted> unfinished = new ArrayList<>();

    private volatile String trouble = "";

    SsdCommitter(final SsdTier.Context context, final TierState state, final PlaceStore places) {
        this.context = context;
        this.state = state;
        this.places = places;
    }

    /** Never blocks; callers hold the state's lock when the order against other threads matters. */
    void submit(final Change change) {
        queue.add(change);
    }

    /** Empty, or why nothing can be made durable now. */
    String trouble() {
        return trouble;
    }

    @Override
    public void run() {
        final List<Change> group = new ArrayList<>();
        boolean running = true;
        while (running) {
            group.clear();
            try {
                group.add(queue.take());
            } catch (final InterruptedException e) {
                Thread.currentThread().interrupt();
                return;
            }
            queue.drainTo(group, MOST_GROUPED);
            running = group.stream().noneMatch(Stop.class::isInstance);
            try {
                commit(group);
            } catch (final RuntimeException | Error e) {
                LOG.error("the SSD tier's committer failed", e);
                trouble = "committer: " + e;
                fail(group, trouble);
            }
            for (final Change change : group) {
                if (change instanceof Barrier barrier) {
                    barrier.reached().countDown();
                }
            }
        }
    }

    private void commit(final List<Change> group) {
        final Map<Integer, String> bad = syncExtents(group);
        final List<Deleted> deletes = new ArrayList<>(unfinished);
        final IntArrayList stored = new IntArrayList();
        String failure = "";
        try (PlaceStore.Batch batch = open()) {
            for (final Deleted delete : unfinished) {
                delete(batch, delete);
            }
            for (final Change change : group) {
                if (change instanceof Deleted delete) {
                    deletes.add(delete);
                    delete(batch, delete);
                } else if (change instanceof Written written) {
                    put(batch, written, bad, stored);
                }
            }
            if (!deletes.isEmpty() || !stored.isEmpty()) {
                batch.commit();
                context.metrics().commits.increment();
            }
            unfinished.clear();
            trouble = "";
        } catch (final RocksDBException e) {
            failure = "RocksDB: " + e.getMessage();
            if (trouble.isEmpty()) {
                LOG.error("ssd {}: places cannot be made durable, writes fail until they can", context.directory(), e);
            }
            trouble = failure;
            unfinished.clear();
            unfinished.addAll(deletes);
        }
        finish(group, deletes, bad, failure);
    }

    private PlaceStore.Batch open() throws RocksDBException {
        if (!trouble.isEmpty()) {
            places.reopen();
        }
        return places.batch();
    }

    private void delete(final PlaceStore.Batch batch, final Deleted delete) throws RocksDBException {
        for (int i = 0; i < delete.entries().size(); i++) {
            final int entry = delete.entries().getInt(i);
            final byte[] key;
            final long length;
            state.lock.lock();
            try {
                key = PlaceStore.key(state.entries.id(entry));
                length = state.entries.length(entry);
            } finally {
                state.lock.unlock();
            }
            batch.delete(key, length);
        }
    }

    private void put(
            final PlaceStore.Batch batch,
            final Written written,
            final Map<Integer, String> bad,
            final IntArrayList stored)
            throws RocksDBException {
        for (final SsdWriter.Member member : written.members()) {
            final byte[] value;
            state.lock.lock();
            try {
                final Extent extent = state.pool.get(state.entries.extent(member.entry()));
                if (bad.containsKey(extent.id)) {
                    continue;
                }
                value = PlaceStore.value(
                        extent, state.entries.slot(member.entry()), member.object(), member.sequence());
            } finally {
                state.lock.unlock();
            }
            batch.put(PlaceStore.key(member.id()), value, member.object().length());
            stored.addInt(member.entry());
        }
    }

    /** Extents whose data could not be synced, and why. */
    private Map<Integer, String> syncExtents(final List<Change> group) {
        final Map<Integer, Extent> touched = new HashMap<>();
        state.lock.lock();
        try {
            for (final Change change : group) {
                if (change instanceof Written written) {
                    for (final SsdWriter.Member member : written.members()) {
                        final Extent extent = state.pool.get(state.entries.extent(member.entry()));
                        touched.put(extent.id, extent);
                    }
                }
            }
        } finally {
            state.lock.unlock();
        }
        final Map<Integer, String> bad = new HashMap<>();
        for (final Extent extent : touched.values()) {
            try {
                Posix.dataSync(extent.fd);
            } catch (final PosixException e) {
                LOG.error("ssd {}: extent {} cannot be synced", context.directory(), extent.path, e);
                bad.put(extent.id, e.getMessage());
            }
        }
        return bad;
    }

    private void finish(
            final List<Change> group,
            final List<Deleted> deletes,
            final Map<Integer, String> bad,
            final String failure) {
        final List<Runnable> events = new ArrayList<>();
        state.lock.lock();
        try {
            if (failure.isEmpty()) {
                for (final Deleted delete : deletes) {
                    finishDelete(delete, events);
                }
            }
            for (final Change change : group) {
                if (change instanceof Written written) {
                    for (final SsdWriter.Member member : written.members()) {
                        final int extent = state.entries.extent(member.entry());
                        finishWrite(member, failure.isEmpty() ? bad.getOrDefault(extent, "") : failure, events);
                    }
                }
            }
            state.changed.signalAll();
            if (!events.isEmpty()) {
                // Under the lock: a removal that begins right after is told after this.
                context.completions().execute(() -> events.forEach(Runnable::run));
            }
            evictBeyondShares();
        } finally {
            state.lock.unlock();
        }
        for (final Change change : group) {
            if (change instanceof Written written) {
                written.finished().run();
            }
        }
    }

    /** Holds the lock. Tenants that are about to reach their maximum give up what is coldest of theirs. */
    private void evictBeyondShares() {
        final IntArrayList victims = state.eviction.beyondShares();
        if (!victims.isEmpty()) {
            context.metrics().evicted.add(victims.size());
            state.beginDelete(victims);
            submit(new Deleted(victims, outcome -> {}));
        }
    }

    private void finishDelete(final Deleted delete, final List<Runnable> events) {
        for (int i = 0; i < delete.entries().size(); i++) {
            state.deleteCommitted(delete.entries().getInt(i));
        }
        events.add(() -> delete.callback().accept(WriteOutcome.REMOVED));
    }

    private void finishWrite(final SsdWriter.Member member, final String reason, final List<Runnable> events) {
        final int entry = member.entry();
        final WriteRequest request = member.write().request();
        final List<Consumer<WriteOutcome>> followers = state.followers.remove(entry);
        final WriteOutcome outcome;
        final WriteOutcome followed;
        if (reason.isEmpty()) {
            state.becameDurable(entry);
            outcome = WriteOutcome.DURABLE;
            followed = WriteOutcome.ALREADY;
            context.metrics().writes.increment();
            context.metrics().writtenBytes.add(request.object().length());
            context.metrics()
                    .writeNanos
                    .accept(System.nanoTime() - member.write().startedNs());
            events.add(() ->
                    context.listener().stored(request.id(), request.object().length()));
        } else {
            state.abandonWriting(entry);
            outcome = WriteOutcome.failed(reason);
            followed = outcome;
            context.metrics().writeErrors.increment();
        }
        events.add(() -> request.callback().accept(outcome));
        if (followers != null) {
            followers.forEach(follower -> events.add(() -> follower.accept(followed)));
        }
    }

    /** Last resort after a bug: nobody waits for ever, and no slot is used again. */
    private void fail(final List<Change> group, final String reason) {
        for (final Change change : group) {
            if (change instanceof Written written) {
                context.completions()
                        .execute(() -> written.members()
                                .forEach(member ->
                                        member.write().request().callback().accept(WriteOutcome.failed(reason))));
                written.finished().run();
            } else if (change instanceof Deleted delete) {
                context.completions().execute(() -> delete.callback().accept(WriteOutcome.failed(reason)));
            }
        }
    }
}
