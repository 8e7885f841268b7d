package io.kvasir.node;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ch.qos.logback.classic.Logger;
import ch.qos.logback.classic.spi.ILoggingEvent;
import ch.qos.logback.core.AppenderBase;
import io.kvasir.node.engine.StallTracker;
import java.io.IOException;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.slf4j.LoggerFactory;

/** The real server's owner thread, and a store whose duty cycle stands still until the test lets it go. */
@Timeout(60)
class StallTrackerTest {
    private final Logger log = (Logger) LoggerFactory.getLogger(StallTracker.class);
    private final List<String> lines = new CopyOnWriteArrayList<>();
    private final AppenderBase<ILoggingEvent> appender = new AppenderBase<>() {
        @Override
        protected void append(final ILoggingEvent event) {
            lines.add(event.getFormattedMessage() + " " + event.getKeyValuePairs());
        }
    };
    private final CountDownLatch stall = new CountDownLatch(1);
    private ServerFixture fixture;

    @BeforeEach
    void start() throws IOException {
        appender.setContext(log.getLoggerContext());
        appender.start();
        log.addAppender(appender);
        fixture = new ServerFixture((peer, token) -> Optional.empty());
    }

    @AfterEach
    void stop() throws IOException {
        stall.countDown();
        fixture.close();
        log.detachAppender(appender);
    }

    private void standStill() {
        try {
            stall.await();
        } catch (final InterruptedException stopped) {
            Thread.currentThread().interrupt();
        }
    }

    private boolean logged(final String... parts) {
        return lines.stream().anyMatch(line -> Stream.of(parts).allMatch(line::contains));
    }

    private double metric(final String name) {
        return fixture.registry.getSampleValue(name);
    }

    @Test
    void logsWhereTheOwnerStandsAndCountsIt() {
        fixture.store.execute(this::standStill);
        NodeFixture.await(
                "its stack",
                () -> logged("The engine thread stands here", "StallTrackerTest.standStill", "StoreAgent.doWork"));
        assertTrue(logged("The engine thread stands still", "S in [", "major and"), lines::toString);
        assertTrue(metric("kvasir_node_duty_cycle_longest_seconds") > 0.1);
        final double before = metric("kvasir_node_duty_cycle_stalls_total");
        stall.countDown();
        NodeFixture.await("its end", () -> logged("The engine thread goes on"));
        assertEquals(before + 1, metric("kvasir_node_duty_cycle_stalls_total"));
    }
}
