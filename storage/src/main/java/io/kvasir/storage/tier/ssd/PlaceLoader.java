package io.kvasir.storage.tier.ssd;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.locks.Lock;
import java.util.function.Supplier;
import org.rocksdb.RocksDBException;

/**
 * Reads all places when the tier opens: a range of the ids to each thread, since what takes time with millions of places is
 * RocksDB's iteration. What was read is taken in batches, by one thread at a time.
 */
final class PlaceLoader {
    private static final int MOST_THREADS = 4;
    private static final int TAKEN_AT_ONCE = 256;
    static final long BYTES = SlotHeader.ID_BYTES + PlaceStore.VALUE_BYTES;

    /** Takes places. The id of one is at {@code from}, the value of the usual length behind it. */
    interface Taker {
        /** The thread that read some places looks at them first, without the lock; {@link Taken#take} follows for all of them. */
        Taken look(MemorySegment places, int count);
    }

    /** Places that were looked at. */
    @FunctionalInterface
    interface Taken {
        /** False when there is no such place. The caller has the lock. */
        boolean take(MemorySegment places, int number);
    }

    private final PlaceStore places;
    private final Lock lock;
    private final Supplier<Taker> takers;
    /** Under the lock. */
    private final List<byte[]> refused = new ArrayList<>();

    private RocksDBException damage;
    private Throwable failure;

    /**
     * @param lock is held while places are taken
     * @param takers one for each thread
     */
    PlaceLoader(final PlaceStore places, final Lock lock, final Supplier<Taker> takers) {
        this.places = places;
        this.lock = lock;
        this.takers = takers;
    }

    /** Ids of places that the taker refused. */
    List<byte[]> refused() {
        return refused;
    }

    /** When it ends, whether it succeeds or not, no thread reads any more. */
    void run() throws RocksDBException {
        final int most = Math.clamp(Runtime.getRuntime().availableProcessors(), 1, MOST_THREADS);
        final List<PlaceStore.Range> ranges = places.ranges(most);
        final List<Thread> threads = new ArrayList<>();
        for (final PlaceStore.Range range : ranges.subList(1, ranges.size())) {
            threads.add(Thread.ofPlatform()
                    .daemon()
                    .name("kvasir-ssd-recovery-" + threads.size())
                    .start(() -> load(range)));
        }
        load(ranges.getFirst());
        boolean interrupted = false;
        for (final Thread thread : threads) {
            while (thread.isAlive()) {
                try {
                    thread.join();
                } catch (final InterruptedException e) {
                    interrupted = true;
                }
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
        if (failure != null) {
            throw new IllegalStateException("the places could not be read", failure);
        }
        if (damage != null) {
            throw damage;
        }
    }

    private void load(final PlaceStore.Range range) {
        try (Arena arena = Arena.ofConfined()) {
            final Batch batch = new Batch(arena.allocate(TAKEN_AT_ONCE * BYTES, Long.BYTES));
            places.visit(range, batch);
            batch.take();
        } catch (final RocksDBException e) {
            failed(e, null);
        } catch (final RuntimeException | Error e) {
            failed(null, e);
        }
    }

    private void failed(final RocksDBException damaged, final Throwable other) {
        lock.lock();
        try {
            damage = damaged == null ? damage : damaged;
            failure = other == null ? failure : other;
        } finally {
            lock.unlock();
        }
    }

    /** What one thread has read and nobody has taken. */
    private final class Batch implements PlaceStore.Visitor {
        private final MemorySegment bytes;
        private final Taker taker = takers.get();
        private int count;

        Batch(final MemorySegment bytes) {
            this.bytes = bytes;
        }

        @Override
        public void place(final MemorySegment id, final MemorySegment value, final int valueBytes) {
            final long at = count * BYTES;
            MemorySegment.copy(id, 0, bytes, at, SlotHeader.ID_BYTES);
            if (valueBytes == PlaceStore.VALUE_BYTES) {
                MemorySegment.copy(value, 0, bytes, at + SlotHeader.ID_BYTES, PlaceStore.VALUE_BYTES);
            } else {
                // No extent has the number 0, so this names no place.
                bytes.asSlice(at + SlotHeader.ID_BYTES, PlaceStore.VALUE_BYTES).fill((byte) 0);
            }
            if (++count == TAKEN_AT_ONCE) {
                take();
            }
        }

        void take() {
            final Taken taken = taker.look(bytes, count);
            lock.lock();
            try {
                for (int i = 0; i < count; i++) {
                    if (!taken.take(bytes, i)) {
                        refused.add(bytes.asSlice(i * BYTES, SlotHeader.ID_BYTES)
                                .toArray(java.lang.foreign.ValueLayout.JAVA_BYTE));
                    }
                }
            } finally {
                lock.unlock();
            }
            count = 0;
        }
    }
}
