package io.kvasir.storage.tier.ssd;

import io.kvasir.storage.index.ObjectIds;
import io.kvasir.storage.index.ObjectTable;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.SizeClass;
import io.kvasir.storage.object.StorageException;
import io.kvasir.storage.posix.DirectoryLock;
import io.kvasir.storage.posix.Posix;
import io.kvasir.storage.posix.PosixException;
import io.kvasir.storage.tenant.TenantShare;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executor;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Consumer;
import java.util.function.LongSupplier;

/** The front of the SSD tier; the owner of the DRAM tier calls it. Any thread may; nothing here blocks on the disk. */
public final class SsdTier implements AutoCloseable {
    /** Fills {@code destination} from a file, or throws. */
    @FunctionalInterface
    public interface Reads {
        void read(int fd, MemorySegment destination, long offset) throws PosixException;
    }

    /** Settings; {@link #conclude} checks them once. */
    public static final class Context {
        private Path directory;
        private long capacityBytes;
        private long extentBytes = 1L << 30;
        private int maxObjects;
        private int readThreads = 2;
        private int maxQueuedReads = 1024;
        private int maxQueuedWrites = 1024;
        private long batchBytes = 8L << 20;
        private boolean directIo = true;
        private Executor completions = Runnable::run;
        private SsdListener listener = SsdListener.NONE;
        private SsdMetrics metrics = new SsdMetrics();
        private Map<String, TenantShare> shares = Map.of();
        private ObjectIds ids;
        private Clock clock = Clock.systemUTC();
        private Reads reads = Posix::read;
        private boolean concluded;

        /** Made when it is not there; one tier at a time owns it. */
        public Context directory(final Path value) {
            directory = value;
            return this;
        }

        public Path directory() {
            return directory;
        }

        /** The most that all extent files together may occupy; places and logs of RocksDB come on top. */
        public Context capacityBytes(final long value) {
            capacityBytes = value;
            return this;
        }

        public long capacityBytes() {
            return capacityBytes;
        }

        /** The size of an extent file; a sixteenth of the capacity when that is less. */
        public Context extentBytes(final long value) {
            extentBytes = value;
            return this;
        }

        public long extentBytes() {
            return extentBytes;
        }

        /**
         * Objects that are here at most: the coldest gives way to a further one. 0: one for each 64 KiB of the capacity, but
         * at least as many as a capacity of 1 GiB has pages, or as this one has.
         */
        public Context maxObjects(final int value) {
            maxObjects = value;
            return this;
        }

        public int maxObjects() {
            return maxObjects == 0 ? usualObjects(capacityBytes) : maxObjects;
        }

        /** See {@link #maxObjects(int)}. */
        public static int usualObjects(final long capacityBytes) {
            final long least = Math.min(capacityBytes, 1L << 30) / SizeClass.PAGE;
            return (int) Math.min(ObjectTable.MAX_CAPACITY, Math.max(least, capacityBytes >>> 16));
        }

        /** Bytes of memory that the tier needs for so many objects, beside the node's object table. */
        public static long indexBytes(final int objects) {
            return TierState.bytes(objects);
        }

        /** Reads in flight at the device. */
        public Context readThreads(final int value) {
            readThreads = value;
            return this;
        }

        public int readThreads() {
            return readThreads;
        }

        public Context maxQueuedReads(final int value) {
            maxQueuedReads = value;
            return this;
        }

        public int maxQueuedReads() {
            return maxQueuedReads;
        }

        public Context maxQueuedWrites(final int value) {
            maxQueuedWrites = value;
            return this;
        }

        public int maxQueuedWrites() {
            return maxQueuedWrites;
        }

        /** The most payload that one batch of writes gathers. */
        public Context batchBytes(final long value) {
            batchBytes = value;
            return this;
        }

        public long batchBytes() {
            return batchBytes;
        }

        /** False: through the page cache even where O_DIRECT works. */
        public Context directIo(final boolean value) {
            directIo = value;
            return this;
        }

        public boolean directIo() {
            return directIo;
        }

        /**
         * Runs every callback and every call of the listener; it must keep their order and may not refuse. It is called
         * under the tier's lock too, so it may not wait.
         */
        public Context completions(final Executor value) {
            completions = value;
            return this;
        }

        public Executor completions() {
            return completions;
        }

        public Context listener(final SsdListener value) {
            listener = value;
            return this;
        }

        public SsdListener listener() {
            return listener;
        }

        public Context metrics(final SsdMetrics value) {
            metrics = value;
            return this;
        }

        public SsdMetrics metrics() {
            return metrics;
        }

        /** By tenant; which namespaces are whose the tier is told by {@link SsdTier#belongs}. */
        public Context shares(final Map<String, TenantShare> value) {
            shares = Map.copyOf(value);
            return this;
        }

        /** Where ids have numbers; the tier holds those of its objects. Not set: ids of the tier's own. */
        public Context ids(final ObjectIds value) {
            ids = value;
            return this;
        }

        public Context clock(final Clock value) {
            clock = value;
            return this;
        }

        public Clock clock() {
            return clock;
        }

        /** How extents are read; a test brings errors in here. */
        public Context reads(final Reads value) {
            reads = value;
            return this;
        }

        public Reads reads() {
            return reads;
        }

        Context conclude() {
            if (concluded) {
                throw new StorageException("this SSD context was used already; make one for each tier");
            }
            require(directory != null, "directory is not set; name a directory on the SSD");
            require(
                    capacityBytes >= 16L << 20,
                    "capacity is " + capacityBytes + " bytes; it must be at least 16777216 (16 MiB)");
            require(
                    extentBytes >= 1L << 20 && extentBytes <= 1L << 36 && extentBytes % 4096 == 0,
                    "extent size is " + extentBytes + " bytes; it must be a multiple of 4096, 1 MiB to 64 GiB");
            require(
                    maxObjects >= 0,
                    "the most objects are " + maxObjects + "; it must be at least 1, or 0 for the usual");
            require(readThreads >= 1 && readThreads <= 64, "read threads is " + readThreads + "; it must be 1 to 64");
            require(maxQueuedReads >= 1, "max queued reads is " + maxQueuedReads + "; it must be at least 1");
            require(maxQueuedWrites >= 1, "max queued writes is " + maxQueuedWrites + "; it must be at least 1");
            require(
                    batchBytes >= 4096 && batchBytes <= 1L << 30,
                    "batch is " + batchBytes + " bytes; it must be 4 KiB to 1 GiB");
            concluded = true;
            extentBytes = Math.min(extentBytes, Math.max(1L << 20, capacityBytes / 16 & -(1L << 20)));
            return this;
        }

        private static void require(final boolean holds, final String message) {
            if (!holds) {
                throw new StorageException("ssd: " + message);
            }
        }
    }

    /** Objects that are listed in one go: more than a node that leaves its cluster has time to move. */
    private static final int MOST_LISTED = 1 << 16;

    private static final int LEAVING = 1 << 16;

    private final Context context;
    private final DirectoryLock lock;
    private final TierState state;
    private final boolean direct;
    private final SsdThreads threads;
    private final Touches touches;
    private final AtomicBoolean closed = new AtomicBoolean();

    /**
     * Takes the directory's lock and starts to read what is there, in the background; see {@link SsdListener#warm()}.
     * Requests are accepted at once and wait for that.
     *
     * @throws StorageException when the settings are wrong, another process has the directory, or it cannot be used
     */
    public static SsdTier open(final Context context) {
        return new SsdTier(context.conclude());
    }

    private SsdTier(final Context context) {
        this.context = context;
        this.lock = DirectoryLock.take(context.directory(), "ssd");
        try {
            final Path extents = Files.createDirectories(context.directory().resolve("extents"));
            this.direct = context.directIo() && DirectIo.works(context.directory());
            this.state = new TierState(
                    context.ids == null ? new ObjectIds(ownIds(context.maxObjects())) : context.ids,
                    new ExtentPool(context.capacityBytes(), context.extentBytes()),
                    context.maxObjects(),
                    new SsdShares(context.shares, context.capacityBytes()),
                    ids -> complete(() -> ids.forEach(context.listener()::removed)));
            this.touches = new Touches(state);
            this.threads = new SsdThreads(context, state, extents, direct, closed::get, touches::apply);
        } catch (final IOException e) {
            lock.close();
            throw new StorageException(
                    "ssd: " + context.directory() + " cannot be used: " + e + "; check that it exists and is writable",
                    e);
        }
        threads.open();
    }

    /** Also for those that are leaving, and for what a start finds beyond the most. */
    private static int ownIds(final int objects) {
        return (int) Math.min(ObjectTable.MAX_CAPACITY, 2L * objects + LEAVING);
    }

    /** Whose a namespace is, so that its objects count for that tenant's share. Takes a lock where there are shares. */
    public void belongs(final Hash256 namespace, final String tenant) {
        if (!state.shares.isEmpty()) {
            state.lock.lock();
            try {
                state.shares.belongs(namespace, tenant);
            } finally {
                state.lock.unlock();
            }
        }
    }

    public void write(final WriteRequest request) {
        if (closed.get()) {
            refuse(request, "the SSD tier is closed");
            return;
        }
        threads.withWriter(to -> {
            if (to == null) {
                refuse(request, threads.failure());
            } else if (!to.offer(request)) {
                refuse(request, "the queue holds " + context.maxQueuedWrites() + " writes");
            }
        });
    }

    private void refuse(final WriteRequest request, final String reason) {
        context.metrics().rejected.increment();
        complete(() -> request.callback().accept(WriteOutcome.rejected(reason)));
    }

    public void read(final ReadRequest request) {
        threads.read(request);
    }

    private void complete(final Runnable callback) {
        context.completions().execute(callback);
    }

    /** Answers {@code REMOVED} once it is durable, or {@code ABSENT}; never rejected but by a closed tier. */
    public void remove(final ObjectId id, final Consumer<WriteOutcome> callback) {
        if (closed.get()) {
            complete(() -> callback.accept(WriteOutcome.rejected("the SSD tier is closed")));
            return;
        }
        threads.withWriter(to -> {
            if (to == null) {
                complete(() -> callback.accept(WriteOutcome.rejected(threads.failure())));
            } else {
                to.submit(new SsdWriter.Remove(id, callback));
            }
        });
    }

    /**
     * Uses that were served elsewhere, the last one last; they keep the objects warm here. Takes no lock. While nothing is
     * written the oldest uses may be forgotten.
     *
     * @param numbers of ids, each held for the tier; the array is the tier's from now on
     */
    public void touch(final int[] numbers) {
        touches.add(numbers);
    }

    /** True when the tier has applied all uses that it was told of. */
    public boolean wantsTouches() {
        return touches.isEmpty();
    }

    /** True when the object is durable here; false while the tier is not warm. */
    public boolean contains(final ObjectId id) {
        return isWarm() && locked(() -> (long) state.findDurable(id)) >= 0;
    }

    /** What is durable here, the object used last first; at most 65,536 of them. */
    public List<ObjectId> hottestFirst() {
        if (!isWarm()) {
            return List.of();
        }
        state.lock.lock();
        try {
            return state.hottestFirst(MOST_LISTED);
        } finally {
            state.lock.unlock();
        }
    }

    private long locked(final LongSupplier look) {
        state.lock.lock();
        try {
            return look.getAsLong();
        } finally {
            state.lock.unlock();
        }
    }

    public boolean isWarm() {
        return threads.isOpen() && threads.failure().isEmpty() && !closed.get();
    }

    /** Waits until the tier is warm or has failed; true when it is warm. */
    public boolean awaitWarm(final long boundNs) {
        return threads.awaitOpen(boundNs) && isWarm();
    }

    /** Bytes of slots in use. */
    public long usedBytes() {
        return isWarm() ? locked(state::usedBytes) : 0;
    }

    /** Bytes of all extent files, at most the capacity. */
    public long allocatedBytes() {
        return isWarm() ? locked(state.pool::allocatedBytes) : 0;
    }

    public long capacityBytes() {
        return context.capacityBytes();
    }

    public long objects() {
        return isWarm() ? locked(state::objects) : 0;
    }

    /** Objects that it may have at most. */
    public int maxObjects() {
        return context.maxObjects();
    }

    public int queuedReads() {
        return threads.queuedReads();
    }

    public int queuedWrites() {
        return isWarm() ? threads.queuedWrites() : 0;
    }

    public SsdMetrics metrics() {
        return context.metrics();
    }

    /** For people: where, how full, which I/O, and what is wrong. */
    public String describe() {
        final StringBuilder text = new StringBuilder("ssd in ").append(context.directory());
        text.append(direct ? ", O_DIRECT" : ", buffered I/O (slower: no O_DIRECT on this file system)");
        if (!threads.failure().isEmpty()) {
            return text.append(", unusable: ").append(threads.failure()).toString();
        }
        if (!isWarm()) {
            return text.append(closed.get() ? ", closed" : ", opening").toString();
        }
        text.append(", %d objects, %d of %d bytes".formatted(objects(), usedBytes(), capacityBytes()));
        text.append(threads.trouble());
        return text.toString();
    }

    /** Waits until all writes and removals that were accepted before have ended; false when the bound passed first. */
    public boolean flush(final long boundNs) {
        return threads.flush(boundNs);
    }

    /**
     * Accepts nothing more, finishes what is queued within the bound and rejects the rest. No memory of a request is in
     * use when this returns true; false: the device still holds a transfer, and the directory stays locked.
     */
    public boolean close(final long boundNs) {
        if (closed.getAndSet(true)) {
            return threads.hasOpened();
        }
        if (!threads.close(boundNs)) {
            return false;
        }
        state.close();
        lock.close();
        return true;
    }

    /** For tests, which hold places as a reader does. */
    TierState state() {
        return state;
    }

    @Override
    public void close() {
        close(10_000_000_000L);
    }
}
