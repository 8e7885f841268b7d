package io.kvasir.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ch.qos.logback.classic.Logger;
import ch.qos.logback.classic.LoggerContext;
import ch.qos.logback.classic.spi.ILoggingEvent;
import ch.qos.logback.classic.util.LogbackMDCAdapter;
import ch.qos.logback.core.AppenderBase;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.agrona.concurrent.CachedNanoClock;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class QueuedAppenderTest {
    private final LoggerContext context = new LoggerContext();
    private final CachedNanoClock clock = new CachedNanoClock();
    private final CountDownLatch reader = new CountDownLatch(1);
    private final List<String> written = new CopyOnWriteArrayList<>();
    private final QueuedAppender appender = new QueuedAppender(
            new AppenderBase<>() {
                {
                    setContext(context);
                    start();
                }

                @Override
                protected void append(final ILoggingEvent event) {
                    try {
                        reader.await();
                    } catch (final InterruptedException stopped) {
                        Thread.currentThread().interrupt();
                    }
                    written.add(event.getFormattedMessage());
                }
            },
            10,
            clock);
    private final Logger log = context.getLogger("io.kvasir.test");

    @BeforeEach
    void start() {
        context.setMDCAdapter(new LogbackMDCAdapter());
        appender.setContext(context);
        appender.start();
        log.addAppender(appender);
    }

    @AfterEach
    void stop() {
        reader.countDown();
        appender.stop();
    }

    /** Two kinds in turn for each second, so that none reaches its limit. */
    private void log(final int lines) {
        for (int i = 0; i < lines; i++) {
            if (i % 10 == 0) {
                clock.update(clock.nanoTime() + TimeUnit.SECONDS.toNanos(1));
            }
            log.info("line {}", i);
        }
    }

    @Test
    void doesNotWaitForAReaderThatHasStopped() {
        log(10_000);
        assertTrue(appender.dropped() >= 10_000 - 4096 - 1, "dropped " + appender.dropped());
        assertFalse(appender.flush(1));
        reader.countDown();
        assertTrue(appender.flush(30_000));
        assertEquals("line 0", written.getFirst());
        final long dropped = appender.dropped();
        assertEquals(
                10_000 - dropped,
                written.stream().filter(line -> line.startsWith("line")).count());
        while (written.stream().noneMatch(line -> line.startsWith(dropped + " lines found"))) {
            LockSupport.parkNanos(1_000_000);
        }
    }

    @Test
    void withholdsWhatRepeatsAndSaysHowMuch() {
        reader.countDown();
        for (int i = 0; i < 1000; i++) {
            log.info("Hello from {}", i);
            log.info("other {}", i % 3 == 0 ? "a" : "b");
        }
        log.warn("Hello from {}", "another level");
        assertTrue(appender.flush(30_000));
        assertEquals(21, written.size());
        assertEquals(2 * 990, appender.suppressed());
        clock.update(clock.nanoTime() + TimeUnit.SECONDS.toNanos(1));
        while (written.size() < 23) {
            LockSupport.parkNanos(1_000_000);
        }
        assertTrue(written.contains("990 more lines of a second were withheld: Hello from {}"), written::toString);
        log.info("Hello from {}", "the next second");
        assertTrue(appender.flush(30_000));
        assertEquals("Hello from the next second", written.getLast());
    }
}
