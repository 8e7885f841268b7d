package io.kvasir.transport;

import io.kvasir.transport.wire.AcceptDecoder;
import io.kvasir.transport.wire.CloseDecoder;
import io.kvasir.transport.wire.CorruptDecoder;
import io.kvasir.transport.wire.MessageHeaderDecoder;
import io.kvasir.transport.wire.OfferDecoder;
import io.kvasir.transport.wire.PullDecoder;
import io.kvasir.transport.wire.PushDecoder;
import io.kvasir.transport.wire.ReadyDecoder;
import io.kvasir.transport.wire.RefuseDecoder;
import io.kvasir.transport.wire.ResultDecoder;
import java.util.ArrayList;
import java.util.List;
import org.agrona.DirectBuffer;

/** Reads the control messages of proven peers, and hands each to the part that acts on it. */
final class ControlIn {
    private static final int HEADER = MessageHeaderDecoder.ENCODED_LENGTH;
    private static final int VERSION = MessageHeaderDecoder.SCHEMA_VERSION;

    /** A day at most: what is left of a deadline is not added up to an overflow. */
    private static final long MAX_LEFT_US = 86_400_000_000L;

    private final Links links;
    private final Receiver receiver;
    private final Sender sender;
    private final MessageHeaderDecoder header = new MessageHeaderDecoder();
    private final PullDecoder pull = new PullDecoder();
    private final PushDecoder push = new PushDecoder();
    private final OfferDecoder offer = new OfferDecoder();
    private final AcceptDecoder accept = new AcceptDecoder();
    private final ResultDecoder result = new ResultDecoder();
    private final RefuseDecoder refuse = new RefuseDecoder();
    private final CorruptDecoder corrupt = new CorruptDecoder();

    ControlIn(final Links links, final Receiver receiver, final Sender sender) {
        this.links = links;
        this.receiver = receiver;
        this.sender = sender;
    }

    /** Throws LinkException or IndexOutOfBoundsException for what is malformed. */
    void handle(final Link link, final DirectBuffer buffer, final int offset, final int length, final long nowNs) {
        header.wrap(buffer, offset);
        if (header.schemaId() != MessageHeaderDecoder.SCHEMA_ID || header.version() != VERSION) {
            throw new LinkException("schema " + header.schemaId() + " version " + header.version());
        }
        final int template = header.templateId();
        final int at = offset + HEADER;
        final int end = offset + length;
        final int block = header.blockLength();
        if (block != blockOf(template) || at + block > end) {
            throw new LinkException("message " + template + " of " + length + " bytes has a block of " + block);
        }
        switch (template) {
            case ReadyDecoder.TEMPLATE_ID -> link.peerReady = true;
            case CloseDecoder.TEMPLATE_ID -> links.closedByPeer(link);
            case PullDecoder.TEMPLATE_ID -> {
                pull.wrap(buffer, at, block, VERSION);
                final Announced announced = new Announced(
                        pull.transfer(),
                        deadline(nowNs, pull.deadlineUs()),
                        Messages.priority(pull.priority()),
                        pull.total(),
                        pull.first());
                final List<ObjectName> names = new ArrayList<>();
                for (final PullDecoder.ObjectsDecoder each : pull.objects()) {
                    names.add(name(buffer, each.name().offset(), end));
                }
                sender.onPull(link, announced, names);
            }
            case PushDecoder.TEMPLATE_ID -> {
                push.wrap(buffer, at, block, VERSION);
                final Announced announced = new Announced(
                        push.transfer(),
                        deadline(nowNs, push.deadlineUs()),
                        Messages.priority(push.priority()),
                        push.total(),
                        push.first());
                final List<ObjectName> names = new ArrayList<>();
                for (final PushDecoder.ObjectsDecoder each : push.objects()) {
                    names.add(name(buffer, each.name().offset(), end));
                }
                receiver.onPush(link, announced, names);
            }
            case OfferDecoder.TEMPLATE_ID -> {
                offer.wrap(buffer, at, block, VERSION);
                receiver.onOffer(
                        link,
                        offer.transfer(),
                        offer.index(),
                        offer.outcome() == 0 ? Messages.version(offer.objectVersion()) : null,
                        Outcome.of(offer.outcome()));
            }
            case AcceptDecoder.TEMPLATE_ID -> {
                accept.wrap(buffer, at, block, VERSION);
                sender.onAccept(link, accept.transfer(), accept.index(), accept.from());
            }
            case ResultDecoder.TEMPLATE_ID -> {
                result.wrap(buffer, at, block, VERSION);
                sender.onResult(link, result.transfer(), result.index(), Outcome.of(result.outcome()));
            }
            case RefuseDecoder.TEMPLATE_ID -> {
                refuse.wrap(buffer, at, block, VERSION);
                receiver.onRefuse(link, refuse.transfer(), Outcome.of(refuse.outcome()));
            }
            case CorruptDecoder.TEMPLATE_ID -> {
                corrupt.wrap(buffer, at, block, VERSION);
                sender.onCorrupt(name(buffer, corrupt.name().offset(), end), Messages.version(corrupt.objectVersion()));
            }
            default -> throw new LinkException("message " + template + " is not known");
        }
    }

    private static int blockOf(final int template) {
        return switch (template) {
            case ReadyDecoder.TEMPLATE_ID -> ReadyDecoder.BLOCK_LENGTH;
            case CloseDecoder.TEMPLATE_ID -> CloseDecoder.BLOCK_LENGTH;
            case PullDecoder.TEMPLATE_ID -> PullDecoder.BLOCK_LENGTH;
            case PushDecoder.TEMPLATE_ID -> PushDecoder.BLOCK_LENGTH;
            case OfferDecoder.TEMPLATE_ID -> OfferDecoder.BLOCK_LENGTH;
            case AcceptDecoder.TEMPLATE_ID -> AcceptDecoder.BLOCK_LENGTH;
            case ResultDecoder.TEMPLATE_ID -> ResultDecoder.BLOCK_LENGTH;
            case RefuseDecoder.TEMPLATE_ID -> RefuseDecoder.BLOCK_LENGTH;
            case CorruptDecoder.TEMPLATE_ID -> CorruptDecoder.BLOCK_LENGTH;
            default -> throw new LinkException("message " + template + " is not known");
        };
    }

    private static ObjectName name(final DirectBuffer buffer, final int at, final int end) {
        if (at + ObjectName.BYTES > end) {
            throw new LinkException("a name ends after its message");
        }
        return ObjectName.read(buffer, at);
    }

    private static long deadline(final long nowNs, final long leftUs) {
        return nowNs + Math.clamp(leftUs, 0, MAX_LEFT_US) * 1000;
    }
}
