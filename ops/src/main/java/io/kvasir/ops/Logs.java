package io.kvasir.ops;

import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.LoggerContext;
import ch.qos.logback.classic.encoder.JsonEncoder;
import ch.qos.logback.classic.encoder.PatternLayoutEncoder;
import ch.qos.logback.classic.spi.ILoggingEvent;
import ch.qos.logback.core.ConsoleAppender;
import ch.qos.logback.core.encoder.Encoder;
import io.kvasir.node.config.NodeConfig;
import io.prometheus.client.Collector;
import io.prometheus.client.CollectorRegistry;
import io.prometheus.client.CounterMetricFamily;
import java.util.List;
import java.util.Locale;
import org.agrona.concurrent.SystemNanoClock;
import org.slf4j.LoggerFactory;

/**
 * Sets up the log on standard error, in the form and from the level that the configuration asks for. A thread of its own
 * writes it, and what ends the process calls {@link #flush()} before.
 */
final class Logs {
    /** Lines of one kind in a second. */
    private static final int PER_SECOND = 10;

    private static final long FLUSH_MS = 1000;
    private static final String TEXT = "%d{yyyy-MM-dd'T'HH:mm:ss.SSSXXX} %-5level %logger{0}: %msg %kvp%n";

    private static volatile QueuedAppender queued;

    private Logs() {}

    /** Writes what was logged so far, unless its reader keeps it waiting for a second. */
    static void flush() {
        final QueuedAppender appender = queued;
        if (appender != null) {
            appender.flush(FLUSH_MS);
        }
    }

    /** Counters of what the log left out. */
    static void register(final CollectorRegistry registry) {
        new Collector() {
            @Override
            public List<MetricFamilySamples> collect() {
                final QueuedAppender appender = queued;
                return List.of(
                        new CounterMetricFamily(
                                "kvasir_node_log_dropped_lines_total",
                                "Lines that found the log's queue full, since its reader is slow.",
                                appender == null ? 0 : appender.dropped()),
                        new CounterMetricFamily(
                                "kvasir_node_log_suppressed_lines_total",
                                "Lines beyond what lines of one kind may be in a second.",
                                appender == null ? 0 : appender.suppressed()));
            }
        }.register(registry);
    }

    static void configure(final NodeConfig.Log log) {
        final LoggerContext context = (LoggerContext) LoggerFactory.getILoggerFactory();
        context.reset();
        final Encoder<ILoggingEvent> encoder;
        if ("json".equals(log.format())) {
            final JsonEncoder json = new JsonEncoder();
            json.setWithFormattedMessage(true);
            json.setWithMessage(false);
            json.setWithArguments(false);
            json.setWithContext(false);
            json.setWithMDC(false);
            json.setWithSequenceNumber(false);
            json.setWithNanoseconds(false);
            encoder = json;
        } else {
            final PatternLayoutEncoder text = new PatternLayoutEncoder();
            text.setPattern(TEXT);
            encoder = text;
        }
        encoder.setContext(context);
        encoder.start();
        final ConsoleAppender<ILoggingEvent> appender = new ConsoleAppender<>();
        appender.setContext(context);
        appender.setTarget("System.err");
        appender.setEncoder(encoder);
        appender.start();
        final QueuedAppender queue = new QueuedAppender(appender, PER_SECOND, SystemNanoClock.INSTANCE);
        queue.setContext(context);
        queue.start();
        queued = queue;
        final ch.qos.logback.classic.Logger root = context.getLogger(org.slf4j.Logger.ROOT_LOGGER_NAME);
        root.addAppender(queue);
        root.setLevel(Level.WARN);
        // It warns of the schema's own annotations at each start.
        context.getLogger("com.networknt").setLevel(Level.ERROR);
        context.getLogger("io.kvasir").setLevel(Level.valueOf(log.level().toUpperCase(Locale.ROOT)));
    }
}
