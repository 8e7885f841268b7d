package io.kvasir.transport;

import io.kvasir.transport.LinkCounters.Counter;
import io.kvasir.transport.wire.DoneDecoder;
import io.kvasir.transport.wire.MessageHeaderDecoder;
import io.kvasir.transport.wire.SliceDecoder;
import org.agrona.DirectBuffer;

/**
 * Reads the data streams of proven peers: checks that a slice is the next one of its object, copies it into the object's
 * slot, and hands a sealed Done on to {@link Receiver}. The slices themselves are not sealed, so nothing that one says is
 * believed.
 */
final class SliceIn {
    private static final int AHEAD = MessageHeaderDecoder.ENCODED_LENGTH + SliceDecoder.BLOCK_LENGTH;
    private static final int DONE_INSIDE = MessageHeaderDecoder.ENCODED_LENGTH + DoneDecoder.BLOCK_LENGTH;

    private final LinkContext context;
    private final Receiver receiver;
    private final MessageHeaderDecoder header = new MessageHeaderDecoder();
    private final SliceDecoder slice = new SliceDecoder();
    private final DoneDecoder done = new DoneDecoder();

    SliceIn(final LinkContext context, final Receiver receiver) {
        this.context = context;
        this.receiver = receiver;
    }

    void handle(final Link link, final DirectBuffer buffer, final int offset, final int length) {
        if (link.phase != Link.Phase.UP || length < MessageHeaderDecoder.ENCODED_LENGTH) {
            context.counters().add(Counter.REFUSED_MESSAGES, 1);
            return;
        }
        header.wrap(buffer, offset);
        final int template = header.templateId();
        if (header.schemaId() != MessageHeaderDecoder.SCHEMA_ID
                || header.version() != MessageHeaderDecoder.SCHEMA_VERSION) {
            context.counters().add(Counter.REFUSED_MESSAGES, 1);
        } else if (template == SliceDecoder.TEMPLATE_ID) {
            onSlice(link, buffer, offset, length);
        } else if (template == DoneDecoder.TEMPLATE_ID) {
            onDone(link, buffer, offset, length);
        } else {
            context.counters().add(Counter.REFUSED_MESSAGES, 1);
        }
    }

    private void onSlice(final Link link, final DirectBuffer buffer, final int offset, final int length) {
        if (length <= AHEAD || header.blockLength() != SliceDecoder.BLOCK_LENGTH) {
            context.counters().add(Counter.REFUSED_MESSAGES, 1);
            return;
        }
        slice.wrap(
                buffer,
                offset + MessageHeaderDecoder.ENCODED_LENGTH,
                SliceDecoder.BLOCK_LENGTH,
                MessageHeaderDecoder.SCHEMA_VERSION);
        final InboundObject object = Receiver.find(link, slice.transfer(), slice.index());
        if (object == null) {
            context.counters().add(Counter.SLICES_UNKNOWN, 1);
            return;
        }
        final int payload = length - AHEAD;
        if (!object.accepted
                || slice.versionTag() != object.reservedVersion.tag()
                || slice.position() != object.received
                || slice.length() != payload
                || payload > object.reservedVersion.length() - object.received
                || slice.keyEpoch() != 0) {
            context.counters().add(Counter.SLICES_OUT_OF_PLACE, 1);
            return;
        }
        try {
            object.append(buffer, offset + AHEAD, payload);
        } catch (final RuntimeException slotIsGone) {
            // The owner broke its promise; the object must not be completed.
            context.errors().onError("a reserved slot can't be written: " + slotIsGone);
            receiver.endHere(object, Outcome.REFUSED);
            return;
        }
        context.counters().add(Counter.BYTES_RECEIVED, payload);
        receiver.onSlice(object);
    }

    private void onDone(final Link link, final DirectBuffer buffer, final int offset, final int length) {
        if (length != DONE_INSIDE + LinkKeys.SEAL
                || header.blockLength() != DoneDecoder.BLOCK_LENGTH
                || link.opening.open(buffer, offset, length) != DONE_INSIDE) {
            context.counters().add(Counter.REFUSED_MESSAGES, 1);
            return;
        }
        done.wrap(
                buffer,
                offset + MessageHeaderDecoder.ENCODED_LENGTH,
                DoneDecoder.BLOCK_LENGTH,
                MessageHeaderDecoder.SCHEMA_VERSION);
        final InboundObject object = Receiver.find(link, done.transfer(), done.index());
        if (object == null || !object.accepted || done.versionTag() != object.reservedVersion.tag()) {
            context.counters().add(Counter.SLICES_UNKNOWN, 1);
            return;
        }
        receiver.onDone(object, done.unchanged() == 1);
    }
}
