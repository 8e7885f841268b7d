package io.kvasir.transport;

import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Which Hello of a peer was its last. A Hello is proven by the cluster's secret alone and names this node's incarnation, so
 * that whoever recorded one could send it again for as long as this process runs: a peer's link numbers rise, and a number
 * that does not exceed the last one is a recording. Used by {@link Handshake} for messages whose seal is right, which only
 * members of the cluster can make.
 */
final class Greetings {
    /** Starts of nodes that are remembered, 64 bytes or so each; a node meets fewer in its life. */
    private static final int MOST = 1 << 16;

    private final Map<Incarnation, Long> last = new LinkedHashMap<>() {
        private static final long serialVersionUID = 1L;

        @Override
        protected boolean removeEldestEntry(final Map.Entry<Incarnation, Long> eldest) {
            return size() > MOST;
        }
    };

    private long own;

    /** @param nowNs of a clock that does not go back while this process lives */
    Greetings(final long nowNs) {
        own = nowNs;
    }

    /** For the next Hello of this node; above all before, also of a link of this process that was closed and opened anew. */
    long next(final long nowNs) {
        own = nowNs - own > 0 ? nowNs : own + 1;
        return own;
    }

    /** Whether the Hello is the peer's next one; then it is its last. */
    boolean isNew(final Incarnation from, final long number) {
        final Long known = last.get(from);
        if (known != null && number - known <= 0) {
            return false;
        }
        last.put(from, number);
        return true;
    }
}
