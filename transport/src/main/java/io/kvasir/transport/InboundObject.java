package io.kvasir.transport;

import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.util.zip.CRC32C;
import org.agrona.DirectBuffer;

/**
 * One object on its way in. It outlives attempts: what has arrived stays in the reserved slot, and another holder of the
 * same version goes on from there. Slices are taken in order only, so {@code received} is all there is to know of them.
 */
final class InboundObject {
    /** Copied, and then summed where it came from, which is still in the processor's first cache. */
    private static final int PIECE = 8 << 10;

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
    private MemorySegment slot;
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
        slot = newReservation.bytes().asSlice(0, version.length());
        restart();
    }

    /** No byte is written after this. */
    Reservation giveUp() {
        final Reservation given = reservation;
        reservation = null;
        reservedVersion = null;
        slot = null;
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
        // A sum of the slot would wait for each piece's stores: a shared arena's memory is summed between two atomic
        // operations. Nobody writes into what a stream has handed over, so both are the same bytes.
        final ByteBuffer toSum = payload.asByteBuffer();
        for (int at = 0; at < length; at += PIECE) {
            final int piece = Math.min(PIECE, length - at);
            MemorySegment.copy(payload, at, slot, received, piece);
            crc.update(toSum.limit(at + piece).position(at));
            received += piece;
        }
    }

    boolean intact() {
        return (int) crc.getValue() == reservedVersion.crc32c();
    }
}
