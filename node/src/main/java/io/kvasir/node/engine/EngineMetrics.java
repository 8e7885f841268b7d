package io.kvasir.node.engine;

import io.kvasir.node.engine.v1.Error;
import io.kvasir.node.engine.v1.Request;
import io.kvasir.storage.object.TierKind;
import io.prometheus.client.CollectorRegistry;
import io.prometheus.client.Counter;
import io.prometheus.client.Gauge;
import io.prometheus.client.Histogram;
import java.util.EnumMap;
import java.util.Locale;
import java.util.Map;

/** What the engine API server counts. Every labelled child is looked up here once, none during a call. */
final class EngineMetrics {
    private static final double NANOS = 1e9;
    private static final double[] SECONDS = {
        10e-6, 20e-6, 50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 20e-3, 50e-3, 0.1, 0.2, 0.5, 1, 2, 5, 10
    };

    final Gauge.Child connections;
    final Gauge.Child sessions;
    final Gauge.Child held;
    final Gauge.Child heldBytes;
    final Gauge.Child socketBytes;
    final Counter.Child notHeld;
    final Counter.Child accepted;
    final Counter.Child bytesIn;
    final Counter.Child bytesOut;
    private final Map<Request.CallCase, Histogram.Child> callSeconds = new EnumMap<>(Request.CallCase.class);
    private final Map<Error.Code, Counter.Child> errors = new EnumMap<>(Error.Code.class);
    private final Map<Fault, Counter.Child> faults = new EnumMap<>(Fault.class);
    private final Map<TierKind, Counter.Child> hits = new EnumMap<>(TierKind.class);
    private final Map<TierKind, Counter.Child> pending = new EnumMap<>(TierKind.class);
    private final Counter.Child misses;

    EngineMetrics(final CollectorRegistry registry) {
        connections = Gauge.build("kvasir_node_connections", "Open connections of engines.")
                .register(registry)
                .labels();
        sessions = Gauge.build("kvasir_node_sessions", "Sessions of engines.")
                .register(registry)
                .labels();
        held = Gauge.build("kvasir_node_held_requests", "Requests whose answers are held.")
                .register(registry)
                .labels();
        heldBytes = Gauge.build("kvasir_node_held_bytes", "Memory of requests whose answers are held.")
                .register(registry)
                .labels();
        socketBytes = Gauge.build(
                        "kvasir_node_socket_bytes", "Memory of half-sent and waiting requests and of unread answers.")
                .register(registry)
                .labels();
        notHeld = Counter.build(
                        "kvasir_node_not_held_total",
                        "Requests that were answered at once, since those that are held take all of their memory.")
                .register(registry)
                .labels();
        accepted = Counter.build("kvasir_node_connections_accepted_total", "Connections accepted since the start.")
                .register(registry)
                .labels();
        bytesIn = Counter.build("kvasir_node_received_bytes_total", "Bytes of requests.")
                .register(registry)
                .labels();
        bytesOut = Counter.build("kvasir_node_sent_bytes_total", "Bytes of answers.")
                .register(registry)
                .labels();
        final Histogram histogram = Histogram.build(
                        "kvasir_node_call_seconds", "Time from a request's arrival to its answer, waits included.")
                .labelNames("call")
                .buckets(SECONDS)
                .register(registry);
        for (final Request.CallCase call : Request.CallCase.values()) {
            callSeconds.put(call, histogram.labels(label(call)));
        }
        final Counter errorCounter = Counter.build("kvasir_node_errors_total", "Calls answered with an error.")
                .labelNames("code")
                .register(registry);
        for (final Error.Code code : Error.Code.values()) {
            errors.put(code, errorCounter.labels(label(code)));
        }
        final Counter faultCounter = Counter.build(
                        "kvasir_node_faults_total", "Misbehaving connections and internal failures.")
                .labelNames("reason")
                .register(registry);
        for (final Fault fault : Fault.values()) {
            faults.put(fault, faultCounter.labels(label(fault)));
        }
        final Counter chunks = Counter.build("kvasir_node_lookup_chunks_total", "Chunks that engines looked up.")
                .labelNames("status", "tier")
                .register(registry);
        for (final TierKind tier : TierKind.values()) {
            hits.put(tier, chunks.labels("hit", tier.label()));
            pending.put(tier, chunks.labels("pending", tier.label()));
        }
        misses = chunks.labels("miss", "none");
    }

    void call(final Request.CallCase call, final long nanos) {
        callSeconds.get(call).observe(nanos / NANOS);
    }

    void error(final Error.Code code) {
        errors.get(code).inc();
    }

    void fault(final Fault fault) {
        faults.get(fault).inc();
    }

    /** A tier is null where the store does not know it. */
    void hits(final TierKind tier, final int chunks) {
        hits.get(tier == null ? TierKind.DRAM : tier).inc(chunks);
    }

    void pending(final TierKind tier, final int chunks) {
        pending.get(tier == null ? TierKind.DRAM : tier).inc(chunks);
    }

    void misses(final int chunks) {
        misses.inc(chunks);
    }

    private static String label(final Enum<?> value) {
        return value.name().toLowerCase(Locale.ROOT);
    }
}
