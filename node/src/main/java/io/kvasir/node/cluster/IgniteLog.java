package io.kvasir.node.cluster;

import org.apache.ignite.IgniteLogger;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Ignite's log lines in the node's log, a level down: what an operator must know of membership the node says itself.
 */
final class IgniteLog implements IgniteLogger {
    private final Logger log;

    IgniteLog() {
        this(LoggerFactory.getLogger("org.apache.ignite"));
    }

    private IgniteLog(final Logger log) {
        this.log = log;
    }

    @Override
    public IgniteLogger getLogger(final Object category) {
        return category == null
                ? this
                : new IgniteLog(LoggerFactory.getLogger(
                        category instanceof Class<?> type ? type.getName() : category.toString()));
    }

    @Override
    public void trace(final String message) {
        log.trace(message);
    }

    @Override
    public void debug(final String message) {
        log.trace(message);
    }

    @Override
    public void info(final String message) {
        // Ignite lists attributes; a proof is nobody's business.
        if (!message.contains(IgniteInstance.PROOF)) {
            log.debug(message);
        }
    }

    @Override
    public void warning(final String message, final Throwable cause) {
        log.debug(message, cause);
    }

    @Override
    public void error(final String message, final Throwable cause) {
        log.info("{}{}", message, cause == null ? "" : ": " + cause.getMessage());
        log.debug(message, cause);
    }

    @Override
    public boolean isTraceEnabled() {
        return log.isTraceEnabled();
    }

    @Override
    public boolean isDebugEnabled() {
        return log.isTraceEnabled();
    }

    @Override
    public boolean isInfoEnabled() {
        return log.isDebugEnabled();
    }

    @Override
    public boolean isQuiet() {
        return false;
    }

    @Override
    public String fileName() {
        return null;
    }
}
