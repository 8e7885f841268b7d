package io.kvasir.node;

import io.kvasir.storage.AdminStore;
import io.kvasir.storage.metrics.StorageCounters;
import io.kvasir.storage.move.MoveKind;
import io.kvasir.storage.move.Mover;
import io.kvasir.storage.tenant.TenantAccount;
import io.kvasir.storage.tier.ssd.SsdMetrics;
import io.prometheus.client.Collector;
import io.prometheus.client.CollectorRegistry;
import io.prometheus.client.CounterMetricFamily;
import io.prometheus.client.GaugeMetricFamily;
import io.prometheus.client.Histogram;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.atomic.LongAdder;
import java.util.function.ToLongFunction;

/**
 * The object store's figures as metrics. The owner of the store calls {@link #sample} now and then for what only it may
 * read; counters are read by whoever scrapes.
 */
final class StoreMetrics extends Collector {
    private static final double[] SECONDS = {
        100e-6, 250e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 20e-3, 50e-3, 0.1, 0.5, 1, 5
    };

    /** Tenants with time series of their own: those that have most. Without configured tenants each user is one. */
    static final int MOST_TENANTS = 32;

    /** The sum of all others; no tenant can have this name. */
    static final String OTHER_TENANTS = "_other";

    private record Sample(
            long dramObjects,
            long dramUsed,
            long dramCapacity,
            long quarantined,
            long leases,
            long leasedBytes,
            List<TenantSample> tenants,
            List<MoveSample> moves) {}

    private record MoveSample(String kind, long waiting, long moving, long movingBytes) {}

    private record TenantSample(String name, long dram, long regions, long ssd, long quarantined, int connections) {
        TenantSample(final TenantAccount account) {
            this(
                    account.name(),
                    account.dramBytes(),
                    account.regionBytes(),
                    account.ssdBytes(),
                    account.quarantinedBytes(),
                    account.connections());
        }

        TenantSample plus(final TenantSample other) {
            return new TenantSample(
                    name,
                    dram + other.dram,
                    regions + other.regions,
                    ssd + other.ssd,
                    quarantined + other.quarantined,
                    connections + other.connections);
        }
    }

    private final AdminStore store;
    private volatile Sample sample;

    StoreMetrics(final AdminStore store, final CollectorRegistry registry) {
        this.store = store;
        sample();
        register(registry);
        final SsdMetrics ssd = store.ssdMetrics();
        if (ssd != null) {
            final Histogram.Child reads = Histogram.build(
                            "kvasir_storage_ssd_read_seconds", "Time from a read's request to its outcome.")
                    .buckets(SECONDS)
                    .register(registry)
                    .labels();
            final Histogram.Child writes = Histogram.build(
                            "kvasir_storage_ssd_write_seconds", "Time from a write's request to its outcome.")
                    .buckets(SECONDS)
                    .register(registry)
                    .labels();
            ssd.readNanos = nanos -> reads.observe(nanos / NANOSECONDS_PER_SECOND);
            ssd.writeNanos = nanos -> writes.observe(nanos / NANOSECONDS_PER_SECOND);
        }
    }

    /** Owner thread. */
    void sample() {
        sample = new Sample(
                store.dramObjects(),
                store.dramUsedBytes(),
                store.dramCapacityBytes(),
                store.quarantinedBytes(),
                store.leases(),
                store.leasedBytes(),
                tenants(),
                moves());
    }

    private List<MoveSample> moves() {
        final Mover mover = store.mover();
        return Arrays.stream(MoveKind.values())
                .map(kind -> new MoveSample(
                        kind.name().toLowerCase(Locale.ROOT),
                        mover.waiting(kind),
                        mover.moving(kind),
                        mover.movingBytes(kind)))
                .toList();
    }

    private List<TenantSample> tenants() {
        final List<TenantSample> all = new ArrayList<>();
        store.accounts().all().forEach(account -> all.add(new TenantSample(account)));
        if (all.size() <= MOST_TENANTS) {
            return all;
        }
        all.sort(Comparator.comparingLong((TenantSample tenant) -> tenant.regions + tenant.ssd)
                .reversed());
        TenantSample others = new TenantSample(OTHER_TENANTS, 0, 0, 0, 0, 0);
        for (final TenantSample tenant : all.subList(MOST_TENANTS, all.size())) {
            others = others.plus(tenant);
        }
        final List<TenantSample> bounded = new ArrayList<>(all.subList(0, MOST_TENANTS));
        bounded.add(others);
        return bounded;
    }

    @Override
    public List<MetricFamilySamples> collect() {
        final List<MetricFamilySamples> families = new ArrayList<>();
        final Sample seen = sample;
        gauge(families, "kvasir_storage_dram_objects", "Objects in DRAM.", seen.dramObjects);
        gauge(families, "kvasir_storage_dram_used_bytes", "Bytes of slots in use in DRAM.", seen.dramUsed);
        gauge(families, "kvasir_storage_dram_capacity_bytes", "Capacity of DRAM.", seen.dramCapacity);
        gauge(
                families,
                "kvasir_storage_quarantined_bytes",
                "Bytes of slots that were taken back from a process which may still write there.",
                seen.quarantined);
        gauge(families, "kvasir_storage_leases", "Leases.", seen.leases);
        gauge(families, "kvasir_storage_leased_bytes", "Bytes of slots that leases hold.", seen.leasedBytes);
        tenants(families, seen.tenants);
        moves(families, seen.moves);
        counters(families, store.counters());
        if (store.ssdMetrics() != null) {
            ssd(families, store.ssdMetrics());
        }
        return families;
    }

    private static void tenants(final List<MetricFamilySamples> families, final List<TenantSample> tenants) {
        final GaugeMetricFamily bytes = new GaugeMetricFamily(
                "kvasir_storage_tenant_bytes", "Bytes of slots in use, by tenant and tier.", List.of("tenant", "tier"));
        for (final TenantSample tenant : tenants) {
            bytes.addMetric(List.of(tenant.name, "dram"), (double) tenant.dram);
            bytes.addMetric(List.of(tenant.name, "ssd"), (double) tenant.ssd);
        }
        families.add(bytes);
        byTenant(
                families,
                "kvasir_storage_tenant_region_bytes",
                "Bytes of a tenant's regions in DRAM, which no other tenant can use.",
                tenants,
                tenant -> tenant.regions);
        byTenant(
                families,
                "kvasir_storage_tenant_quarantined_bytes",
                "Bytes of slots that a departed process of the tenant may still write.",
                tenants,
                tenant -> tenant.quarantined);
        byTenant(
                families,
                "kvasir_storage_tenant_connections",
                "Connections of the tenant that have said Hello.",
                tenants,
                tenant -> tenant.connections);
    }

    private static void moves(final List<MetricFamilySamples> families, final List<MoveSample> moves) {
        final GaugeMetricFamily waiting = new GaugeMetricFamily(
                "kvasir_storage_moves_waiting_objects",
                "Objects that wait for their copy to another tier, by kind.",
                List.of("kind"));
        final GaugeMetricFamily moving = new GaugeMetricFamily(
                "kvasir_storage_moves_in_flight_objects",
                "Objects on their way to another tier, by kind.",
                List.of("kind"));
        final GaugeMetricFamily bytes = new GaugeMetricFamily(
                "kvasir_storage_moves_in_flight_bytes",
                "Bytes on their way to another tier, by kind.",
                List.of("kind"));
        for (final MoveSample move : moves) {
            waiting.addMetric(List.of(move.kind), (double) move.waiting);
            moving.addMetric(List.of(move.kind), (double) move.moving);
            bytes.addMetric(List.of(move.kind), (double) move.movingBytes);
        }
        families.addAll(List.of(waiting, moving, bytes));
    }

    private static void byTenant(
            final List<MetricFamilySamples> families,
            final String name,
            final String help,
            final List<TenantSample> tenants,
            final ToLongFunction<TenantSample> value) {
        final GaugeMetricFamily family = new GaugeMetricFamily(name, help, List.of("tenant"));
        tenants.forEach(tenant -> family.addMetric(List.of(tenant.name), (double) value.applyAsLong(tenant)));
        families.add(family);
    }

    private static void counters(final List<MetricFamilySamples> families, final StorageCounters counters) {
        counter(
                families,
                "kvasir_storage_hits_total",
                "Chunks that lookups were answered to be in DRAM.",
                counters.hits);
        counter(
                families,
                "kvasir_storage_pending_total",
                "Chunks that lookups were answered to be on their way.",
                counters.pending);
        counter(families, "kvasir_storage_misses_total", "Chunks that lookups did not find.", counters.misses);
        counter(families, "kvasir_storage_stored_objects_total", "Objects committed.", counters.stored);
        counter(families, "kvasir_storage_stored_bytes_total", "Bytes committed.", counters.storedBytes);
        counter(families, "kvasir_storage_promoted_objects_total", "Objects read from SSD to DRAM.", counters.promoted);
        counter(
                families,
                "kvasir_storage_promoted_bytes_total",
                "Bytes read from SSD to DRAM.",
                counters.promotedBytes);
        counter(families, "kvasir_storage_pulled_objects_total", "Objects pulled from other nodes.", counters.pulled);
        counter(families, "kvasir_storage_pulled_bytes_total", "Bytes pulled from other nodes.", counters.pulledBytes);
        counter(families, "kvasir_storage_pulls_failed_total", "Pulls that brought nothing.", counters.pullsFailed);
        counter(
                families,
                "kvasir_storage_received_objects_total",
                "Objects received from other nodes, pulled or pushed.",
                counters.received);
        counter(families, "kvasir_storage_demoted_objects_total", "Objects written to SSD.", counters.demoted);
        counter(families, "kvasir_storage_demoted_bytes_total", "Bytes written to SSD.", counters.demotedBytes);
        counter(
                families,
                "kvasir_storage_evicted_copies_total",
                "Objects that left DRAM as a copy of what another node has.",
                counters.evictedCopies);
        counter(
                families,
                "kvasir_storage_evicted_clean_total",
                "Objects that left DRAM with a copy on SSD.",
                counters.evictedClean);
        counter(
                families,
                "kvasir_storage_evicted_undemoted_total",
                "Objects that left the node.",
                counters.evictedUndemoted);
        counter(families, "kvasir_storage_adopted_total", "Objects taken over from an earlier node.", counters.adopted);
        counter(
                families,
                "kvasir_storage_adopted_damaged_total",
                "Damaged slots of an earlier node.",
                counters.adoptedDamaged);
        counter(
                families,
                "kvasir_storage_verified_total",
                "Taken-over objects whose checksum was right.",
                counters.verified);
        counter(families, "kvasir_storage_corrupt_total", "Objects dropped for a wrong checksum.", counters.corrupt);
        counter(
                families,
                "kvasir_storage_moved_total",
                "Objects moved inside DRAM, so that their region's memory can be used for other sizes.",
                counters.moved);
        counter(
                families,
                "kvasir_storage_regions_ruined_total",
                "Regions given up because an engine truncated their files or punched holes in them.",
                counters.regionsRuined);
        counter(
                families,
                "kvasir_storage_quota_refused_total",
                "Leases and slots refused by a quota.",
                counters.quotaRefused);
        counter(
                families,
                "kvasir_storage_reservations_overdue_total",
                "Reserved slots that were neither committed nor aborted by reserve.deadline.",
                counters.reservationsOverdue);
        counter(
                families,
                "kvasir_storage_no_room_total",
                "Reserve calls that were answered without space for an object.",
                counters.noRoom);
        counter(
                families,
                "kvasir_storage_fetches_without_space_total",
                "Objects on SSD that were told as a miss, since DRAM had no space for them.",
                counters.fetchesWithoutSpace);
        counter(
                families,
                "kvasir_storage_history_dropped_total",
                "Evicted objects whose past was not kept, since the catalog's disk was too far behind.",
                counters.historyDropped);
        counter(families, "kvasir_storage_faults_total", "Failed operations of files or tiers.", counters.faults);
    }

    private static void ssd(final List<MetricFamilySamples> families, final SsdMetrics ssd) {
        counter(families, "kvasir_storage_ssd_reads_total", "Objects read.", ssd.reads);
        counter(families, "kvasir_storage_ssd_read_bytes_total", "Bytes read.", ssd.readBytes);
        counter(families, "kvasir_storage_ssd_read_misses_total", "Reads of what was not there.", ssd.readMisses);
        counter(families, "kvasir_storage_ssd_read_errors_total", "Reads that failed.", ssd.readErrors);
        counter(families, "kvasir_storage_ssd_writes_total", "Objects written.", ssd.writes);
        counter(families, "kvasir_storage_ssd_written_bytes_total", "Bytes written.", ssd.writtenBytes);
        counter(families, "kvasir_storage_ssd_write_errors_total", "Writes that failed.", ssd.writeErrors);
        counter(families, "kvasir_storage_ssd_corrupt_total", "Reads with a wrong checksum.", ssd.corrupt);
        counter(families, "kvasir_storage_ssd_evicted_total", "Objects evicted to make room.", ssd.evicted);
        counter(families, "kvasir_storage_ssd_dropped_total", "Objects dropped for another reason.", ssd.dropped);
        counter(families, "kvasir_storage_ssd_full_total", "Writes that found no room.", ssd.full);
        counter(families, "kvasir_storage_ssd_rejected_total", "Requests that found their queue full.", ssd.rejected);
        counter(families, "kvasir_storage_ssd_rebuilt_total", "Rebuilds of the places from the extents.", ssd.rebuilt);
        counter(families, "kvasir_storage_ssd_commits_total", "Durable batches.", ssd.commits);
    }

    private static void gauge(
            final List<MetricFamilySamples> families, final String name, final String help, final long value) {
        families.add(new GaugeMetricFamily(name, help, value));
    }

    private static void counter(
            final List<MetricFamilySamples> families, final String name, final String help, final LongAdder value) {
        families.add(new CounterMetricFamily(name, help, value.sum()));
    }
}
