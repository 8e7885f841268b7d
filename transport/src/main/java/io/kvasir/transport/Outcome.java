package io.kvasir.transport;

/** How the transfer of one object ended. Numbers travel: append only. */
public enum Outcome {
    /** All bytes arrived, their checksum is the version's, and {@link Reservation#complete()} was called. */
    STORED(1),
    /** No holder has it (any more). */
    MISSING(2),
    /** Bytes and checksum differed at every holder that was asked; each was told. */
    CORRUPT(3),
    /** The receiving side has no room for it, or does not want it. */
    REFUSED(4),
    /** The receiving side has it already; nothing was moved. */
    ALREADY_THERE(5),
    /** By {@link Transfer#cancel()}. */
    CANCELLED(6),
    /** The deadline came first. */
    DEADLINE(7),
    /** No holder could be reached, or each went away or fell silent. */
    UNREACHABLE(8),
    /** The peer does not know the cluster secret, or this node does not. */
    NOT_PROVEN(9),
    /** The peer speaks another version of the protocol. */
    OTHER_PROTOCOL(10),
    /** A limit of this node or the peer was reached: links, transfers or objects under way. */
    BUSY(11);

    private final int number;

    Outcome(final int number) {
        this.number = number;
    }

    /** On the wire. */
    int number() {
        return number;
    }

    /** Of its number on the wire; what this version does not know is {@link #REFUSED}. */
    static Outcome of(final int number) {
        for (final Outcome outcome : values()) {
            if (outcome.number == number) {
                return outcome;
            }
        }
        return REFUSED;
    }
}
