package io.kvasir.ops;

import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.LoggerContext;
import ch.qos.logback.classic.encoder.JsonEncoder;
import ch.qos.logback.classic.encoder.PatternLayoutEncoder;
import ch.qos.logback.classic.spi.ILoggingEvent;
import ch.qos.logback.core.ConsoleAppender;
import ch.qos.logback.core.encoder.Encoder;
import io.kvasir.node.config.NodeConfig;
import java.util.Locale;
import org.slf4j.LoggerFactory;

/** Sets up the log on standard error, in the form and from the level that the configuration asks for. */
final class Logs {
    private static final String TEXT = "%d{yyyy-MM-dd'T'HH:mm:ss.SSSXXX} %-5level %logger{0}: %msg %kvp%n";

    private Logs() {}

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
        final ch.qos.logback.classic.Logger root = context.getLogger(org.slf4j.Logger.ROOT_LOGGER_NAME);
        root.addAppender(appender);
        root.setLevel(Level.WARN);
        // It warns of the schema's own annotations at each start.
        context.getLogger("com.networknt").setLevel(Level.ERROR);
        context.getLogger("io.kvasir").setLevel(Level.valueOf(log.level().toUpperCase(Locale.ROOT)));
    }
}
