package io.kvasir.transport;

import io.aeron.logbuffer.BufferClaim;
import io.kvasir.transport.LinkCounters.Counter;
import io.kvasir.transport.wire.DoneEncoder;
import io.kvasir.transport.wire.MessageHeaderEncoder;
import io.kvasir.transport.wire.SliceEncoder;
import java.lang.foreign.MemorySegment;
import org.agrona.MutableDirectBuffer;
import org.agrona.concurrent.UnsafeBuffer;

/**
 * Writes objects into data streams: copies slices from where the bytes lie into the stream, and confirms an object with a
 * sealed Done after it asked the source whether its bytes were this version's to the end. {@link Sender} calls it.
 */
final class SliceOut {
    private static final int AHEAD = MessageHeaderEncoder.ENCODED_LENGTH + SliceEncoder.BLOCK_LENGTH;
    private static final int DONE_LENGTH =
            MessageHeaderEncoder.ENCODED_LENGTH + DoneEncoder.BLOCK_LENGTH + LinkKeys.SEAL;

    /** What became of an object's turn. */
    enum Result {
        /** The stream has no space now; what was sent so far is kept. */
        NO_SPACE,
        SENT,
        /** All is sent, and the peer knows whether to keep it. */
        CONFIRMED,
        /** The source does not give the bytes any more. */
        UNREADABLE
    }

    private final LinkContext context;
    private final int maxPayload;
    private final BufferClaim claim = new BufferClaim();
    private final MessageHeaderEncoder header = new MessageHeaderEncoder();
    private final SliceEncoder slice = new SliceEncoder();
    private final DoneEncoder done = new DoneEncoder();
    private final UnsafeBuffer doneBuffer = new UnsafeBuffer(new byte[DONE_LENGTH]);

    /** @param maxData largest message of a data stream, in bytes */
    SliceOut(final LinkContext context, final int maxData) {
        this.context = context;
        maxPayload = maxData - AHEAD;
    }

    /** Sends the object's next slice; with its last one, or when only that is left, the Done. */
    Result send(final OutStream stream, final OutboundObject object) {
        final long left = object.version.length() - object.sent;
        if (left == 0) {
            return confirm(stream, object);
        }
        final int payload = (int) Math.min(left, maxPayload);
        if (!stream.out.claim(AHEAD + payload, claim)) {
            return Result.NO_SPACE;
        }
        final MutableDirectBuffer buffer = claim.buffer();
        final int at = claim.offset();
        try {
            slice.wrapAndApplyHeader(buffer, at, header)
                    .transfer(object.transfer.number)
                    .versionTag(object.tag)
                    .position(object.sent)
                    .index(object.index)
                    .length(payload)
                    .keyEpoch(0)
                    .flags(0)
                    .authTag0(0)
                    .authTag1(0);
            object.source.read(
                    object.sent,
                    MemorySegment.ofAddress(buffer.addressOffset() + at + AHEAD).reinterpret(payload));
        } catch (final RuntimeException sourceIsGone) {
            // The owner broke its promise; what is in the claim must not be taken for the object.
            claim.abort();
            context.errors().onError("a source's bytes can't be read: " + sourceIsGone);
            return Result.UNREADABLE;
        }
        claim.commit();
        object.sent += payload;
        stream.sent(payload);
        context.counters().add(Counter.BYTES_SENT, payload);
        return object.sent < object.version.length() ? Result.SENT : confirm(stream, object);
    }

    /** After the last slice: whether the bytes were this version's all along. Only now does the receiver keep them. */
    private Result confirm(final OutStream stream, final OutboundObject object) {
        if (!stream.out.claim(DONE_LENGTH, claim)) {
            return Result.NO_SPACE;
        }
        boolean unchanged;
        try {
            unchanged = object.source.unchanged();
        } catch (final RuntimeException e) {
            context.errors().onError("the source failed at a check: " + e);
            unchanged = false;
        }
        done.wrapAndApplyHeader(doneBuffer, 0, header)
                .transfer(object.transfer.number)
                .versionTag(object.tag)
                .index(object.index)
                .unchanged((short) (unchanged ? 1 : 0));
        final int length = object.transfer.link.sealing.seal(doneBuffer, 0, DONE_LENGTH - LinkKeys.SEAL);
        claim.buffer().putBytes(claim.offset(), doneBuffer, 0, length);
        claim.commit();
        context.counters().add(Counter.OBJECTS_SENT, 1);
        return Result.CONFIRMED;
    }
}
