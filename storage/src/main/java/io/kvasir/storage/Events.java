package io.kvasir.storage;

import io.kvasir.storage.metrics.StorageCounters;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectEvent;
import io.kvasir.storage.object.TierKind;
import io.kvasir.storage.tier.Attachment;
import java.util.ArrayDeque;
import java.util.Queue;
import java.util.function.Consumer;
import java.util.function.Function;

/** Tells the engine server what happened in the store. Owned by {@link StoreAgent}. */
final class Events {
    /** Events whose tenant is not known yet; beyond it the oldest are dropped. */
    private static final int MOST_UNTOLD = 16_384;

    private final Function<Hash256, String> tenantOf;
    private final StorageCounters counters;
    /** Events of namespaces whose tenant is not known yet. */
    private final Queue<ObjectEvent> untold = new ArrayDeque<>();

    private Consumer<ObjectEvent> events = event -> {};
    private Consumer<Integer> regionRetired = region -> {};
    private Consumer<Attachment> processEnded = attachment -> {};

    /** @param tenantOf the name of a namespace's tenant; null while that is not known */
    Events(final Function<Hash256, String> tenantOf, final StorageCounters counters) {
        this.tenantOf = tenantOf;
        this.counters = counters;
    }

    /** @param dramIsEmpty it is told at once that nothing of an earlier node is left */
    void onEvent(final Consumer<ObjectEvent> consumer, final boolean dramIsEmpty) {
        events = consumer;
        if (dramIsEmpty) {
            consumer.accept(ObjectEvent.cleared(TierKind.DRAM));
        }
    }

    void onRegionRetired(final Consumer<Integer> consumer) {
        regionRetired = consumer;
    }

    void onProcessEnded(final Consumer<Attachment> consumer) {
        processEnded = consumer;
    }

    void regionRetired(final int region) {
        regionRetired.accept(region);
    }

    void processEnded(final Attachment attachment) {
        processEnded.accept(attachment);
    }

    /**
     * Events of the SSD tier name no tenant; its objects' namespaces do. After a start that is not known until the
     * catalog is open, or an engine names the namespace again: until then they wait, in their order.
     */
    void emit(final ObjectEvent event) {
        if (event.tenant() != null || event.kind() == ObjectEvent.Kind.CLEARED) {
            events.accept(event);
            return;
        }
        final String tenant = tenantOf.apply(event.id().namespace());
        if (tenant != null) {
            events.accept(new ObjectEvent(event.kind(), tenant, event.id(), event.tier()));
            return;
        }
        if (untold.size() == MOST_UNTOLD) {
            untold.remove();
            counters.faults.increment();
        }
        untold.add(event);
    }

    void tellUntold() {
        untold.removeIf(event -> {
            final String tenant = tenantOf.apply(event.id().namespace());
            if (tenant != null) {
                events.accept(new ObjectEvent(event.kind(), tenant, event.id(), event.tier()));
            }
            return tenant != null;
        });
    }
}
