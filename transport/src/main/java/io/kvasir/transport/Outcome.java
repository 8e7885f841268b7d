package io.kvasir.transport;

/** How the transfer of one object ended. Numbers travel: append only. */
public enum Outcome {
    /** All bytes arrived, their checksum is the version's, and {@link Reservation#complete()} was called. */
    STORED,
    /** No holder has it (any more). */
    MISSING,
    /** Bytes and checksum differed at every holder that was asked; each was told. */
    CORRUPT,
    /** The receiving side has no room for it, or does not want it. */
    REFUSED,
    /** The receiving side has it already; nothing was moved. */
    ALREADY_THERE,
    /** By {@link Transfer#cancel()}. */
    CANCELLED,
    /** The deadline came first. */
    DEADLINE,
    /** No holder could be reached, or each went away or fell silent. */
    UNREACHABLE,
    /** The peer does not know the cluster secret, or this node does not. */
    NOT_PROVEN,
    /** The peer speaks another version of the protocol. */
    OTHER_PROTOCOL,
    /** A limit of this node or the peer was reached: links, transfers or objects under way. */
    BUSY;

    private static final Outcome[] ALL = values();

    /** Of its number on the wire; what this version does not know is {@link #REFUSED}. */
    static Outcome of(final int number) {
        return number >= 0 && number < ALL.length ? ALL[number] : REFUSED;
    }
}
