package io.kvasir.node;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;

import io.kvasir.storage.StoreAgent;
import io.kvasir.storage.StoreContext;
import io.prometheus.client.Collector;
import io.prometheus.client.CollectorRegistry;
import java.nio.file.Path;
import java.util.Collections;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Time series of tenants: those with most each have their own, and their number is bounded. */
class StoreMetricsTest {
    @TempDir
    private Path directory;

    private final CollectorRegistry registry = new CollectorRegistry();

    private Double connections(final String tenant) {
        return registry.getSampleValue(
                "kvasir_storage_tenant_connections", new String[] {"tenant"}, new String[] {tenant});
    }

    @Test
    void tenantsBeyondTheBoundAreOneSum() {
        try (StoreAgent store = new StoreAgent(
                new StoreContext().dramDirectory(directory.resolve("dram")).dramCapacity(1 << 20))) {
            final StoreMetrics metrics = new StoreMetrics(store.admin(), registry);
            store.engines().openAttachment(store.engines().openTenant("one", -1));
            metrics.sample();
            assertEquals(1.0, connections("one"));
            assertNull(connections(StoreMetrics.OTHER_TENANTS));
            for (int i = 0; i < StoreMetrics.MOST_TENANTS + 9; i++) {
                store.engines().openAttachment(store.engines().openTenant("many-" + i, -1));
            }
            metrics.sample();
            assertEquals(10.0, connections(StoreMetrics.OTHER_TENANTS));
            final List<Collector.MetricFamilySamples> families = Collections.list(registry.metricFamilySamples());
            for (final Collector.MetricFamilySamples family : families) {
                if (family.name.startsWith("kvasir_storage_tenant_")) {
                    final int tiers = family.name.equals("kvasir_storage_tenant_bytes") ? 2 : 1;
                    assertEquals((StoreMetrics.MOST_TENANTS + 1) * tiers, family.samples.size(), family.name);
                }
            }
            assertNotNull(registry.getSampleValue(
                    "kvasir_storage_tenant_bytes",
                    new String[] {"tenant", "tier"},
                    new String[] {StoreMetrics.OTHER_TENANTS, "ssd"}));
        }
    }
}
