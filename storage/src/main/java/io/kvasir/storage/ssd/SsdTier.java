package io.kvasir.storage.ssd;

import io.kvasir.storage.ObjectId;
import io.kvasir.storage.StorageException;
import io.kvasir.storage.policy.EvictionPolicy;
import io.kvasir.storage.policy.LruPolicy;
import java.nio.file.Path;
import java.time.Clock;
import java.util.concurrent.Executor;
import java.util.function.Consumer;
import java.util.function.Supplier;

/** The front of the SSD tier; the owner of the DRAM tier calls it. Any thread may; nothing here blocks on the disk. */
public final class SsdTier implements AutoCloseable {
    /** Settings; {@link #conclude} checks them once. */
    public static final class Context {
        private Path directory;
        private long capacityBytes;
        private long extentBytes = 1L << 30;
        private int readThreads = 2;
        private int writeThreads = 1;
        private int maxQueuedReads = 1024;
        private int maxQueuedWrites = 1024;
        private long batchBytes = 8L << 20;
        private boolean directIo = true;
        private Supplier<EvictionPolicy> policy = LruPolicy::new;
        private Executor completions = Runnable::run;
        private SsdListener listener = SsdListener.NONE;
        private SsdMetrics metrics = new SsdMetrics();
        private Clock clock = Clock.systemUTC();
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

        /** Reads in flight at the device. */
        public Context readThreads(final int value) {
            readThreads = value;
            return this;
        }

        public int readThreads() {
            return readThreads;
        }

        /** Batches in flight at the device. With one, operations on one id end in the order of the calls. */
        public Context writeThreads(final int value) {
            writeThreads = value;
            return this;
        }

        public int writeThreads() {
            return writeThreads;
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

        public Context policy(final Supplier<EvictionPolicy> value) {
            policy = value;
            return this;
        }

        public Supplier<EvictionPolicy> policy() {
            return policy;
        }

        /** Runs every callback and every call of the listener; it must keep their order and may not refuse. */
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

        public Context clock(final Clock value) {
            clock = value;
            return this;
        }

        public Clock clock() {
            return clock;
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
            require(readThreads >= 1 && readThreads <= 64, "read threads is " + readThreads + "; it must be 1 to 64");
            require(
                    writeThreads >= 1 && writeThreads <= 16,
                    "write threads is " + writeThreads + "; it must be 1 to 16");
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

    /**
     * Takes the directory's lock and starts to read what is there, in the background; see {@link SsdListener#warm()}.
     *
     * @throws StorageException when the settings are wrong, another process has the directory, or it cannot be used
     */
    public static SsdTier open(final Context context) {
        throw new UnsupportedOperationException();
    }

    public void write(final WriteRequest request) {
        throw new UnsupportedOperationException();
    }

    public void read(final ReadRequest request) {
        throw new UnsupportedOperationException();
    }

    /** Answers {@code REMOVED} once it is durable, or {@code ABSENT}; never rejected but by a closed tier. */
    public void remove(final ObjectId id, final Consumer<WriteOutcome> callback) {
        throw new UnsupportedOperationException();
    }

    /** A use that was served elsewhere; keeps the object warm here. May be forgotten under load. */
    public void touch(final ObjectId id) {
        throw new UnsupportedOperationException();
    }

    /** True when the object is durable here and not expired; false while the tier is not warm. */
    public boolean contains(final ObjectId id) {
        throw new UnsupportedOperationException();
    }

    public boolean isWarm() {
        throw new UnsupportedOperationException();
    }

    /** Waits until the tier is warm or has failed; true when it is warm. */
    public boolean awaitWarm(final long boundNs) {
        throw new UnsupportedOperationException();
    }

    /** Bytes of slots in use. */
    public long usedBytes() {
        throw new UnsupportedOperationException();
    }

    /** Bytes of all extent files, at most the capacity. */
    public long allocatedBytes() {
        throw new UnsupportedOperationException();
    }

    public long capacityBytes() {
        throw new UnsupportedOperationException();
    }

    public long objects() {
        throw new UnsupportedOperationException();
    }

    public int queuedReads() {
        throw new UnsupportedOperationException();
    }

    public int queuedWrites() {
        throw new UnsupportedOperationException();
    }

    public SsdMetrics metrics() {
        throw new UnsupportedOperationException();
    }

    /** For people: where, how full, which I/O, and what is wrong. */
    public String describe() {
        throw new UnsupportedOperationException();
    }

    /** Waits until all that was accepted before has its outcome; false when the bound passed first. */
    public boolean flush(final long boundNs) {
        throw new UnsupportedOperationException();
    }

    /**
     * Accepts nothing more, finishes what is queued within the bound and rejects the rest. No memory of a request is in
     * use when this returns true; false: the device still holds a transfer.
     */
    public boolean close(final long boundNs) {
        throw new UnsupportedOperationException();
    }

    @Override
    public void close() {
        close(10_000_000_000L);
    }
}
