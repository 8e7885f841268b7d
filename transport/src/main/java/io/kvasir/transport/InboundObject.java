package io.kvasir.transport;

import java.lang.foreign.MemorySegment;
import java.util.zip.CRC32C;
import org.agrona.DirectBuffer;

/**
 * One object on its way in. It outlives attempts: what has arrived stays in the reserved slot, and another holder of the
 * same version goes on from there. Slices are taken in order only, so {@code received} is all there is to know of them.
 */
final class InboundObject {
    /** Of the list that was asked for; in a peer's push, of the transfer. */
    final int index;

    final ObjectName name;
    /** Null: of a peer's push. */
    final Pull pull;

    final ObjectSink sink;
    InboundTransfer transfer;
    /** In {@link #transfer}. */
    int wireIndex;

    /** What the holder of this attempt has; null until it said so. */
    ObjectVersion offered;

    /** What the sink was asked to make room for, until it answers; null otherwise. */
    ObjectVersion asked;

    Reservation reservation;
    ObjectVersion reservedVersion;
    long received;
    /** Whether slices may come: the holder was told from where on. */
    boolean accepted;

    /** The link that this object's bytes are credited to, and how many. */
    Link creditLink;

    long credit;
    int tries;
    int holder;
    long excludedHolders;
    Outcome lastFailure = Outcome.UNREACHABLE;
    boolean ended;
    private final CRC32C crc = new CRC32C();

    InboundObject(final int index, final ObjectName name, final Pull pull, final ObjectSink sink) {
        this.index = index;
        this.name = name;
        this.pull = pull;
        this.sink = sink;
    }

    void reserve(final Reservation newReservation, final ObjectVersion version) {
        reservation = newReservation;
        reservedVersion = version;
        restart();
    }

    /** No byte is written after this. */
    Reservation giveUp() {
        final Reservation given = reservation;
        reservation = null;
        reservedVersion = null;
        return given;
    }

    void restart() {
        received = 0;
        crc.reset();
    }

    /** Copies the payload behind what is there. Whoever calls checked that it belongs there and fits. */
    void append(final DirectBuffer buffer, final int offset, final int length) {
        final MemorySegment payload =
                MemorySegment.ofAddress(buffer.addressOffset() + offset).reinterpret(length);
        reservation.write(received, payload);
        // Nobody writes into what a stream has handed over, so this is what the slot got.
        crc.update(payload.asByteBuffer());
        received += length;
    }

    boolean intact() {
        return (int) crc.getValue() == reservedVersion.crc32c();
    }
}
