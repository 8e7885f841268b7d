package io.kvasir.storage;

import io.kvasir.storage.catalogue.Catalogue;
import io.kvasir.storage.catalogue.GoneObject;
import io.kvasir.storage.catalogue.NamespaceInfo;
import io.kvasir.storage.catalogue.Pin;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.Queue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executor;
import java.util.function.Consumer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The store's side of the catalogue: it opens in the background, so what is to be remembered before that waits here. A
 * catalogue that cannot be opened costs what it would have remembered, nothing else. Owned by {@link ObjectStore}.
 */
final class Remembered {
    private static final Logger LOG = LoggerFactory.getLogger(Remembered.class);
    private static final int WAITING = 4096;

    private final Queue<Consumer<Catalogue>> waiting = new ArrayDeque<>();
    private final CompletableFuture<Catalogue> opening;
    private final StorageCounters counters;
    private Catalogue catalogue;

    /**
     * @param directory null: nothing is remembered
     * @param opened told on the owner's thread
     */
    Remembered(
            final Path directory,
            final Executor completions,
            final StorageCounters counters,
            final Consumer<Catalogue> opened) {
        this.counters = counters;
        if (directory == null) {
            opening = null;
            return;
        }
        opening = Catalogue.openAsync(new Catalogue.Context().directory(directory));
        final CompletableFuture<Catalogue> _ = opening.whenComplete((result, failure) -> completions.execute(() -> {
            if (failure != null) {
                LOG.error("the catalogue cannot be opened: pins and history will not outlive this node", failure);
                counters.faults.increment();
                waiting.clear();
                return;
            }
            catalogue = result;
            opened.accept(result);
            waiting.forEach(late -> late.accept(result));
            waiting.clear();
        }));
    }

    void namespace(final Hash256 namespace, final String tenant, final byte[] fields) {
        later(target -> {
            if (!target.rememberNamespace(namespace, new NamespaceInfo(tenant, fields))) {
                counters.faults.increment();
            }
        });
    }

    /** Null when it is not known, or not known yet. */
    String tenantOf(final Hash256 namespace) {
        return catalogue == null
                ? null
                : catalogue.namespace(namespace).map(NamespaceInfo::tenant).orElse(null);
    }

    void pinned(final ObjectId id, final long expiryUnixMs, final int priority) {
        later(target -> {
            if (!target.pin(id, new Pin(expiryUnixMs, priority))) {
                counters.faults.increment();
            }
        });
    }

    void unpinned(final ObjectId id) {
        later(target -> target.unpin(id));
    }

    /** The object left the node altogether. */
    void gone(final long hash, final long nowUnixMs, final int uses) {
        if (catalogue != null) {
            final int before = catalogue.past(hash).map(GoneObject::frequency).orElse(0);
            catalogue.gone(hash, new GoneObject(nowUnixMs, before + uses));
        }
    }

    private void later(final Consumer<Catalogue> change) {
        if (catalogue != null) {
            change.accept(catalogue);
        } else if (opening != null && !opening.isCompletedExceptionally() && waiting.size() < WAITING) {
            waiting.add(change);
        }
    }

    /** Waits for the catalogue to open, so that nothing that waits here is lost. */
    void close() {
        if (opening == null) {
            return;
        }
        try {
            final Catalogue opened = opening.get();
            waiting.forEach(late -> late.accept(opened));
            waiting.clear();
            opened.close();
        } catch (final ExecutionException neverOpened) {
            LOG.debug("the catalogue was never open", neverOpened);
        } catch (final InterruptedException stopped) {
            Thread.currentThread().interrupt();
        }
    }
}
