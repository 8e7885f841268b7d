package io.kvasir.transport;

import java.util.EnumMap;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;

/** What a link counts since it was opened. Written by the link's thread, read by any. */
public final class LinkCounters {
    /** One counter each; gauges say so. */
    public enum Counter {
        BYTES_SENT,
        BYTES_RECEIVED,
        OBJECTS_SENT,
        OBJECTS_RECEIVED,
        /** Gauge. */
        LINKS,
        LINKS_OPENED,
        LINKS_LOST,
        /** Links closed because they were idle, or gave way to others. */
        LINKS_CLOSED,
        /** Handshakes of peers that do not know the secret. */
        REFUSED_NOT_PROVEN,
        /** Handshakes of another protocol version. */
        REFUSED_PROTOCOL,
        /** Messages that are malformed, of an unproven link, or whose authentication code is wrong. */
        REFUSED_MESSAGES,
        /** Slices of a transfer number that this node has not given to that link. */
        SLICES_UNKNOWN,
        /** Slices whose object, version, offset or length is not the next that was expected. */
        SLICES_OUT_OF_PLACE,
        /** Objects whose bytes had another checksum than their version. */
        OBJECTS_CORRUPT,
        /** Objects whose slot changed at the holder while they were sent. */
        OBJECTS_CHANGED,
        /** Objects that went on with another holder, or with the same over a new link. */
        OBJECTS_RETRIED,
        /** Bytes that a retry did not have to send again. */
        BYTES_RESUMED,
        /** Gauge: reservations that the link writes into. */
        RESERVATIONS,
        /** Gauge: objects of the source that the link holds. */
        OPEN_OBJECTS;
    }

    private final Map<Counter, AtomicLong> values = new EnumMap<>(Counter.class);

    public LinkCounters() {
        for (final Counter counter : Counter.values()) {
            values.put(counter, new AtomicLong());
        }
    }

    public long get(final Counter counter) {
        return values.get(counter).get();
    }

    void add(final Counter counter, final long count) {
        final AtomicLong value = values.get(counter);
        // One writer.
        value.setOpaque(value.getPlain() + count);
    }

    @Override
    public String toString() {
        return values.toString();
    }
}
