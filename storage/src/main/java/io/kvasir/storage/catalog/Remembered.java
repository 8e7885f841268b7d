package io.kvasir.storage.catalog;

import io.kvasir.storage.budget.StoreLimits;
import io.kvasir.storage.metrics.StorageCounters;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.Executor;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;
import org.agrona.concurrent.ManyToManyConcurrentArrayQueue;
import org.agrona.concurrent.OneToOneConcurrentArrayQueue;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The store's side of the catalog, whose file is on a disk that may be behind: a thread of its own opens, reads and
 * writes it, behind bounded queues. What the owner needs of it is kept in memory. A
 * catalog that cannot be opened costs what it would have remembered, nothing else. Owned by the store's thread.
 */
public final class Remembered {
    private static final Logger LOG = LoggerFactory.getLogger(Remembered.class);
    /** Pins and namespaces that are not written yet; about 5 MB at most. Beyond it the calls are refused. */
    public static final int MOST_CHANGES = 32_768;
    /** Fields of namespaces that are not written yet. */
    public static final long MOST_FIELD_BYTES = 2L << 20;
    /** Evicted objects that are not written yet; beyond it the oldest are dropped. */
    public static final int MOST_GONE = 16_384;

    private static final int GONE_AT_ONCE = 256;
    private static final int PINS_AT_ONCE = 256;
    private static final long LOOK_MS = 100;

    private record Gone(long hash, long nowUnixMs, int uses) {}

    /** A pin that the catalog had when it opened. */
    public record KeptPin(ObjectId id, long expiryUnixMs) {}

    private record Waiting(long change, Runnable wake) {}

    private final Executor completions;
    private final StorageCounters counters;
    private final Runnable namespacesFound;
    private final Consumer<List<KeptPin>> pinsFound;
    /** Null: nothing is written. */
    private final ExecutorService worker;

    private final Path directory;

    // ---- the owner's
    private final Map<Hash256, String> tenants = new LinkedHashMap<>(64, 0.75f, true) {
        private static final long serialVersionUID = 1;

        @Override
        protected boolean removeEldestEntry(final Map.Entry<Hash256, String> eldest) {
            return size() > StoreLimits.NAMESPACES;
        }
    };
    private final ArrayDeque<Waiting> waiting = new ArrayDeque<>();
    private long submitted;

    // ---- between the two threads
    private final Queue<Consumer<Catalog>> changes = new OneToOneConcurrentArrayQueue<>(MOST_CHANGES);
    private final Queue<Gone> gone = new ManyToManyConcurrentArrayQueue<>(MOST_GONE);
    private final AtomicLong fieldBytes = new AtomicLong();
    private final AtomicBoolean scheduled = new AtomicBoolean();
    private final AtomicLong written = new AtomicLong();
    private volatile boolean closing;

    // ---- the catalog thread's; null when it cannot be opened
    private Catalog catalog;

    /**
     * @param directory null: nothing outlives the node
     * @param worker opens, reads and writes the catalog, one task at a time; null where there is no directory
     * @param namespacesFound told on the owner's thread that the tenants of those that the catalog has are known
     * @param pinsFound told on the owner's thread, some at a time
     */
    public Remembered(
            final Path directory,
            final ExecutorService worker,
            final Executor completions,
            final StorageCounters counters,
            final Runnable namespacesFound,
            final Consumer<List<KeptPin>> pinsFound) {
        this.directory = directory;
        this.worker = worker;
        this.completions = completions;
        this.counters = counters;
        this.namespacesFound = namespacesFound;
        this.pinsFound = pinsFound;
        if (worker != null) {
            worker.execute(this::open);
        }
    }

    // ---- owner

    /** False when the disk is so far behind that the namespace cannot be taken now. */
    public boolean namespace(final Hash256 namespace, final String tenant, final byte[] fields) {
        if (tenants.get(namespace) == null) {
            if (worker != null) {
                if (fieldBytes.get() + fields.length > MOST_FIELD_BYTES || !hasSpace(1)) {
                    return false;
                }
                fieldBytes.addAndGet(fields.length);
                submit(target -> {
                    fieldBytes.addAndGet(-fields.length);
                    if (target != null && !target.rememberNamespace(namespace, new NamespaceInfo(tenant, fields))) {
                        counters.faults.increment();
                    }
                });
            }
            tenants.put(namespace, tenant);
        }
        return true;
    }

    /** Null when it is not known, or not known yet. */
    public String tenantOf(final Hash256 namespace) {
        return tenants.get(namespace);
    }

    /** True when so many pins, unpins and namespaces can be taken now. */
    public boolean hasSpace(final int count) {
        return worker == null || changes.size() + count <= MOST_CHANGES;
    }

    /** After {@link #hasSpace}. */
    public void pinned(final ObjectId id, final long expiryUnixMs, final int priority) {
        submit(target -> {
            if (target != null && !target.pin(id, new Pin(expiryUnixMs, priority))) {
                counters.faults.increment();
            }
        });
    }

    /** After {@link #hasSpace}. */
    public void unpinned(final ObjectId id) {
        submit(target -> {
            if (target != null) {
                target.unpin(id);
            }
        });
    }

    /** The object left the node altogether. */
    public void gone(final long hash, final long nowUnixMs, final int uses) {
        if (worker != null) {
            final Gone object = new Gone(hash, nowUnixMs, uses);
            while (!gone.offer(object)) {
                if (gone.poll() != null) {
                    counters.historyDropped.increment();
                }
            }
            schedule();
        }
    }

    /**
     * Runs {@code wake} on the owner's thread when everything that was submitted is written; false, and does not, when it
     * is.
     */
    public boolean whenWritten(final Runnable wake) {
        if (written.get() == submitted) {
            return false;
        }
        waiting.add(new Waiting(submitted, wake));
        return true;
    }

    private void submit(final Consumer<Catalog> change) {
        if (worker != null) {
            if (!changes.offer(change)) {
                throw new IllegalStateException("a change came without space for it");
            }
            submitted++;
            schedule();
        }
    }

    private void schedule() {
        if (scheduled.compareAndSet(false, true) && !closing) {
            worker.execute(this::write);
        }
    }

    private void wakeWaiting() {
        while (!waiting.isEmpty() && waiting.peek().change <= written.get()) {
            waiting.poll().wake.run();
        }
    }

    /** Writes what is queued, and waits for that no longer than this. */
    public void close(final long boundNs) {
        if (worker == null || closing) {
            return;
        }
        closing = true;
        worker.execute(this::end);
        worker.shutdown();
        try {
            if (!worker.awaitTermination(Math.max(1, boundNs), TimeUnit.NANOSECONDS)) {
                LOG.warn(
                        "the catalog in {} did not close in time; {} pins and namespaces may not be written",
                        directory,
                        changes.size());
            }
        } catch (final InterruptedException stopped) {
            Thread.currentThread().interrupt();
        }
    }

    // ---- catalog thread

    private void open() {
        try {
            catalog = Catalog.open(new Catalog.Context().directory(directory));
        } catch (final RuntimeException | LinkageError failure) {
            if (!closing) {
                LOG.error("the catalog cannot be opened: pins and history will not outlive this node", failure);
                counters.faults.increment();
            }
            return;
        }
        final Map<Hash256, String> known = new HashMap<>();
        final Map<String, String> names = new HashMap<>();
        catalog.forEachNamespace((id, info) -> known.put(id, names.computeIfAbsent(info.tenant(), name -> name)));
        completions.execute(() -> {
            known.forEach(tenants::putIfAbsent);
            namespacesFound.run();
        });
        // Changes that came while it opened go before: a pin that was taken back meanwhile is not found again.
        write();
        readPins();
    }

    /** In small parts, the next one when the owner has had the last: there may be many. */
    private void readPins() {
        catalog.expirePins(System.currentTimeMillis());
        final Semaphore turns = new Semaphore(1);
        final List<KeptPin> some = new ArrayList<>(PINS_AT_ONCE);
        catalog.forEachPin((id, pin) -> {
            some.add(new KeptPin(id, pin.expiryUnixMs()));
            if (some.size() == PINS_AT_ONCE) {
                hand(some, turns);
            }
        });
        hand(some, turns);
    }

    private void hand(final List<KeptPin> some, final Semaphore turns) {
        final List<KeptPin> part = List.copyOf(some);
        some.clear();
        try {
            while (!closing) {
                if (turns.tryAcquire(LOOK_MS, TimeUnit.MILLISECONDS)) {
                    completions.execute(() -> {
                        pinsFound.accept(part);
                        turns.release();
                    });
                    return;
                }
            }
        } catch (final InterruptedException stopped) {
            Thread.currentThread().interrupt();
        }
    }

    private void write() {
        scheduled.set(false);
        long applied = 0;
        boolean more = true;
        while (more) {
            Consumer<Catalog> change;
            while ((change = changes.poll()) != null) {
                apply(change);
                applied++;
            }
            more = writeGone();
        }
        if (catalog != null && !catalog.flush()) {
            counters.faults.increment();
        }
        if (applied > 0) {
            written.addAndGet(applied);
            completions.execute(this::wakeWaiting);
        }
    }

    private void apply(final Consumer<Catalog> change) {
        try {
            change.accept(catalog);
        } catch (final RuntimeException failure) {
            LOG.error("the catalog cannot be written", failure);
            counters.faults.increment();
        }
    }

    /** False when nothing more is queued. */
    private boolean writeGone() {
        for (int i = 0; i < GONE_AT_ONCE; i++) {
            final Gone object = gone.poll();
            if (object == null) {
                return !changes.isEmpty();
            }
            if (catalog != null) {
                try {
                    final int before =
                            catalog.past(object.hash).map(GoneObject::frequency).orElse(0);
                    catalog.gone(object.hash, new GoneObject(object.nowUnixMs, before + object.uses));
                } catch (final RuntimeException failure) {
                    LOG.error("the catalog's history cannot be written", failure);
                    counters.faults.increment();
                }
            }
        }
        return true;
    }

    private void end() {
        write();
        if (catalog != null) {
            catalog.close();
        }
    }
}
