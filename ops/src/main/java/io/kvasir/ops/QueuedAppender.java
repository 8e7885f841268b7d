package io.kvasir.ops;

import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.LoggerContext;
import ch.qos.logback.classic.spi.ILoggingEvent;
import ch.qos.logback.classic.spi.LoggingEvent;
import ch.qos.logback.core.Appender;
import ch.qos.logback.core.UnsynchronizedAppenderBase;
import io.kvasir.node.engine.WakeupSignal;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.LongAdder;
import java.util.concurrent.locks.LockSupport;
import org.agrona.concurrent.ManyToOneConcurrentArrayQueue;
import org.agrona.concurrent.NanoClock;

/**
 * Hands log lines to a thread that writes them, so that a reader of standard error who stops holds up nobody who logs: the
 * engine thread is one. A full queue drops lines, and lines of one kind (a logger, a level and a message before its
 * values are put in) are limited for each second; both are counted and told in the log.
 */
final class QueuedAppender extends UnsynchronizedAppenderBase<ILoggingEvent> {
    private static final int QUEUED = 4096;
    private static final long SECOND_NS = TimeUnit.SECONDS.toNanos(1);
    /** Kinds come from the source code; this bounds those that a library makes up. */
    private static final int KINDS = 1024;

    private static final long IDLE_NS = TimeUnit.MILLISECONDS.toNanos(100);

    private final Appender<ILoggingEvent> target;
    private final int perSecond;
    private final NanoClock clock;
    private final ManyToOneConcurrentArrayQueue<ILoggingEvent> queue = new ManyToOneConcurrentArrayQueue<>(QUEUED);
    private final Map<Kind, Window> windows = new ConcurrentHashMap<>();
    private final LongAdder dropped = new LongAdder();
    private final LongAdder suppressed = new LongAdder();
    private final Thread writer =
            Thread.ofPlatform().daemon().name("kvasir-log").unstarted(this::write);
    private final WakeupSignal wakeup = new WakeupSignal(() -> LockSupport.unpark(writer));
    private volatile boolean stopping;
    private volatile boolean idle;
    private long toldDropped;

    private record Kind(String logger, int level, String message) {}

    /** How many lines of a kind came in this second. Threads that meet here may let one line more through. */
    private final class Window {
        private final String logger;
        private final Level level;
        private final AtomicLong lines = new AtomicLong();
        private volatile long sinceNs;

        Window(final ILoggingEvent example, final long nowNs) {
            logger = example.getLoggerName();
            level = example.getLevel();
            sinceNs = nowNs;
        }

        boolean admits(final long nowNs) {
            if (nowNs - sinceNs >= SECOND_NS && lines.get() <= perSecond) {
                sinceNs = nowNs;
                lines.set(0);
            }
            return lines.incrementAndGet() <= perSecond;
        }

        /** What the second withheld, once it is over; -1 before that. */
        long withheld(final long nowNs) {
            if (nowNs - sinceNs < SECOND_NS) {
                return -1;
            }
            sinceNs = nowNs;
            return Math.max(0, lines.getAndSet(0) - perSecond);
        }
    }

    /** @param perSecond lines of one kind in a second */
    QueuedAppender(final Appender<ILoggingEvent> target, final int perSecond, final NanoClock clock) {
        this.target = target;
        this.perSecond = perSecond;
        this.clock = clock;
    }

    @Override
    public void start() {
        super.start();
        writer.start();
    }

    /** Lines that found the queue full. */
    long dropped() {
        return dropped.sum();
    }

    /** Lines beyond what a kind may have in a second. */
    long suppressed() {
        return suppressed.sum();
    }

    @Override
    protected void append(final ILoggingEvent event) {
        final long nowNs = clock.nanoTime();
        final Kind kind = new Kind(event.getLoggerName(), event.getLevel().toInt(), event.getMessage());
        Window window = windows.get(kind);
        if (window == null && windows.size() < KINDS) {
            window = windows.computeIfAbsent(kind, ignored -> new Window(event, nowNs));
        }
        if (window != null && !window.admits(nowNs)) {
            suppressed.increment();
            return;
        }
        // Now, on the thread that logs: what a line names may change.
        event.prepareForDeferredProcessing();
        if (!queue.offer(event)) {
            dropped.increment();
        }
        wakeup.signal();
    }

    private void write() {
        while (true) {
            idle = false;
            final boolean last = stopping;
            ILoggingEvent event;
            try {
                while ((event = queue.poll()) != null) {
                    target.doAppend(event);
                }
                tell(clock.nanoTime());
            } catch (final RuntimeException failure) {
                addError("a line could not be written", failure);
            }
            if (last) {
                return;
            }
            wakeup.aboutToSleep();
            if (queue.isEmpty() && !stopping) {
                idle = true;
                LockSupport.parkNanos(this, IDLE_NS);
            }
            wakeup.awake();
        }
    }

    private void tell(final long nowNs) {
        windows.entrySet().removeIf(each -> {
            final Window window = each.getValue();
            final long withheld = window.withheld(nowNs);
            if (withheld > 0) {
                line(
                        window.logger,
                        window.level,
                        "{} more lines of a second were withheld: {}",
                        withheld,
                        each.getKey().message);
            }
            return withheld == 0;
        });
        final long lost = dropped.sum() - toldDropped;
        if (lost > 0) {
            toldDropped += lost;
            line(
                    getClass().getName(),
                    Level.WARN,
                    "{} lines found the log's queue full and are lost: its reader is slow",
                    lost);
        }
    }

    private void line(final String logger, final Level level, final String message, final Object... values) {
        final LoggingEvent event = new LoggingEvent(
                getClass().getName(), ((LoggerContext) getContext()).getLogger(logger), level, message, null, values);
        event.setThreadName(writer.getName());
        target.doAppend(event);
    }

    /** Waits until what was logged before is written; false when that takes longer than the bound. */
    boolean flush(final long boundMs) {
        final long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(boundMs);
        LockSupport.unpark(writer);
        while (!(queue.isEmpty() && idle) && writer.isAlive()) {
            if (System.nanoTime() - end > 0) {
                return false;
            }
            LockSupport.parkNanos(TimeUnit.MILLISECONDS.toNanos(1));
        }
        return true;
    }

    /** Writes what is queued, within a second. */
    @Override
    public void stop() {
        if (isStarted()) {
            super.stop();
            stopping = true;
            LockSupport.unpark(writer);
            try {
                writer.join(TimeUnit.SECONDS.toMillis(1));
            } catch (final InterruptedException interrupted) {
                Thread.currentThread().interrupt();
            }
        }
    }
}
