package io.kvasir.transport;

import io.kvasir.transport.wire.AcceptEncoder;
import io.kvasir.transport.wire.CloseEncoder;
import io.kvasir.transport.wire.CorruptEncoder;
import io.kvasir.transport.wire.HelloEncoder;
import io.kvasir.transport.wire.IncarnationDecoder;
import io.kvasir.transport.wire.IncarnationEncoder;
import io.kvasir.transport.wire.MessageHeaderEncoder;
import io.kvasir.transport.wire.NonceDecoder;
import io.kvasir.transport.wire.NonceEncoder;
import io.kvasir.transport.wire.ObjectVersionDecoder;
import io.kvasir.transport.wire.ObjectVersionEncoder;
import io.kvasir.transport.wire.OfferEncoder;
import io.kvasir.transport.wire.PullEncoder;
import io.kvasir.transport.wire.PushEncoder;
import io.kvasir.transport.wire.ReadyEncoder;
import io.kvasir.transport.wire.RefuseEncoder;
import io.kvasir.transport.wire.ResultEncoder;
import io.kvasir.transport.wire.WelcomeEncoder;
import java.util.List;
import org.agrona.concurrent.UnsafeBuffer;

/**
 * Encodes control messages into one buffer, which is valid until the next one. Each method returns the length without
 * the seal; {@link Link#send} fills the sequence in. Decoding is done where a message is handled, by the generated
 * flyweights.
 */
final class Messages {
    private static final ObjectVersion NONE = new ObjectVersion(0, 0, 0, 0, 0, 0, 0, 0, 0, 0);

    final UnsafeBuffer buffer;
    private final int room;
    private final MessageHeaderEncoder header = new MessageHeaderEncoder();
    private final HelloEncoder hello = new HelloEncoder();
    private final WelcomeEncoder welcome = new WelcomeEncoder();
    private final ReadyEncoder ready = new ReadyEncoder();
    private final CloseEncoder close = new CloseEncoder();
    private final PullEncoder pull = new PullEncoder();
    private final PushEncoder push = new PushEncoder();
    private final OfferEncoder offer = new OfferEncoder();
    private final AcceptEncoder accept = new AcceptEncoder();
    private final ResultEncoder result = new ResultEncoder();
    private final CorruptEncoder corrupt = new CorruptEncoder();
    private final RefuseEncoder refuse = new RefuseEncoder();

    Messages(final int maxControl) {
        buffer = new UnsafeBuffer(new byte[maxControl]);
        room = maxControl - LinkKeys.SEAL;
    }

    int hello(final Link link, final Peer self, final int termLength) {
        hello.wrapAndApplyHeader(buffer, 0, header)
                .link(link.number)
                .termLength(termLength)
                .dataStreams(link.ownSessions.length)
                .port(self.port());
        put(self.incarnation(), hello.incarnation());
        put(link.peer.incarnation(), hello.expected());
        put(link.ownNonce, hello.nonce());
        for (int i = 0; i < HelloEncoder.sessionsLength(); i++) {
            hello.sessions(i, i < link.ownSessions.length ? link.ownSessions[i] : 0);
        }
        hello.host(self.host());
        return MessageHeaderEncoder.ENCODED_LENGTH + hello.encodedLength();
    }

    int welcome(final Link link, final Peer self, final int termLength) {
        welcome.wrapAndApplyHeader(buffer, 0, header)
                .link(link.number)
                .termLength(termLength)
                .dataStreams(link.ownSessions.length);
        put(self.incarnation(), welcome.incarnation());
        put(link.ownNonce, welcome.nonce());
        for (int i = 0; i < WelcomeEncoder.sessionsLength(); i++) {
            welcome.sessions(i, i < link.ownSessions.length ? link.ownSessions[i] : 0);
        }
        return MessageHeaderEncoder.ENCODED_LENGTH + welcome.encodedLength();
    }

    int ready(final Link link) {
        ready.wrapAndApplyHeader(buffer, 0, header).link(link.number);
        return MessageHeaderEncoder.ENCODED_LENGTH + ready.encodedLength();
    }

    int close(final Link link) {
        close.wrapAndApplyHeader(buffer, 0, header).link(link.number);
        return MessageHeaderEncoder.ENCODED_LENGTH + close.encodedLength();
    }

    /** How many names one {@link #pull} or {@link #push} takes. */
    int namesOfOne() {
        return (room
                        - MessageHeaderEncoder.ENCODED_LENGTH
                        - PullEncoder.BLOCK_LENGTH
                        - PullEncoder.ObjectsEncoder.sbeHeaderSize())
                / ObjectName.BYTES;
    }

    int pull(
            final Link link,
            final long transfer,
            final long leftNs,
            final Priority priority,
            final int total,
            final int first,
            final List<ObjectName> names) {
        final PullEncoder.ObjectsEncoder group = pull.wrapAndApplyHeader(buffer, 0, header)
                .link(link.number)
                .transfer(transfer)
                .deadlineUs(Math.max(1, leftNs / 1000))
                .total(total)
                .first(first)
                .priority(number(priority))
                .objectsCount(names.size());
        for (final ObjectName name : names) {
            group.next();
            name.write(buffer, group.name().offset());
        }
        return MessageHeaderEncoder.ENCODED_LENGTH + pull.encodedLength();
    }

    int push(
            final Link link,
            final long transfer,
            final long leftNs,
            final Priority priority,
            final int total,
            final int first,
            final List<ObjectName> names) {
        final PushEncoder.ObjectsEncoder group = push.wrapAndApplyHeader(buffer, 0, header)
                .link(link.number)
                .transfer(transfer)
                .deadlineUs(Math.max(1, leftNs / 1000))
                .total(total)
                .first(first)
                .priority(number(priority))
                .objectsCount(names.size());
        for (final ObjectName name : names) {
            group.next();
            name.write(buffer, group.name().offset());
        }
        return MessageHeaderEncoder.ENCODED_LENGTH + push.encodedLength();
    }

    int offer(final Link link, final long transfer, final int index, final ObjectVersion version) {
        return offer(link, transfer, index, version, 0);
    }

    /** Why an object will not come. */
    int offer(final Link link, final long transfer, final int index, final Outcome outcome) {
        return offer(link, transfer, index, NONE, outcome.number());
    }

    private int offer(
            final Link link, final long transfer, final int index, final ObjectVersion version, final int outcome) {
        offer.wrapAndApplyHeader(buffer, 0, header)
                .link(link.number)
                .transfer(transfer)
                .index(index)
                .outcome((short) outcome);
        put(version, offer.objectVersion());
        return MessageHeaderEncoder.ENCODED_LENGTH + offer.encodedLength();
    }

    int accept(final Link link, final long transfer, final int index, final long from) {
        accept.wrapAndApplyHeader(buffer, 0, header)
                .link(link.number)
                .transfer(transfer)
                .from(from)
                .index(index);
        return MessageHeaderEncoder.ENCODED_LENGTH + accept.encodedLength();
    }

    int result(final Link link, final long transfer, final int index, final Outcome outcome) {
        result.wrapAndApplyHeader(buffer, 0, header)
                .link(link.number)
                .transfer(transfer)
                .index(index)
                .outcome((short) outcome.number());
        return MessageHeaderEncoder.ENCODED_LENGTH + result.encodedLength();
    }

    int refuse(final Link link, final long transfer, final Outcome outcome) {
        refuse.wrapAndApplyHeader(buffer, 0, header)
                .link(link.number)
                .transfer(transfer)
                .outcome((short) outcome.number());
        return MessageHeaderEncoder.ENCODED_LENGTH + refuse.encodedLength();
    }

    int corrupt(final Link link, final ObjectName name, final ObjectVersion version) {
        corrupt.wrapAndApplyHeader(buffer, 0, header).link(link.number);
        name.write(buffer, corrupt.name().offset());
        put(version, corrupt.objectVersion());
        return MessageHeaderEncoder.ENCODED_LENGTH + corrupt.encodedLength();
    }

    private static void put(final ObjectVersion version, final ObjectVersionEncoder into) {
        into.length(version.length())
                .crc32c(version.crc32c())
                .codec(version.codec())
                .parent0(version.parent0())
                .parent1(version.parent1())
                .parent2(version.parent2())
                .parent3(version.parent3())
                .chunkIndex(version.chunkIndex())
                .priority(version.priority())
                .expiryUnixMs(version.expiryUnixMs());
    }

    static ObjectVersion version(final ObjectVersionDecoder from) {
        return new ObjectVersion(
                from.length(),
                from.crc32c(),
                from.codec(),
                from.parent0(),
                from.parent1(),
                from.parent2(),
                from.parent3(),
                from.chunkIndex(),
                from.priority(),
                from.expiryUnixMs());
    }

    static Incarnation incarnation(final IncarnationDecoder from) {
        return new Incarnation(from.high(), from.low());
    }

    static long[] nonce(final NonceDecoder from) {
        return new long[] {from.word0(), from.word1(), from.word2(), from.word3()};
    }

    static Priority priority(final int number) {
        return number == 0 ? Priority.LOAD : Priority.STORE;
    }

    private static short number(final Priority priority) {
        return (short) (priority == Priority.LOAD ? 0 : 1);
    }

    private static void put(final Incarnation value, final IncarnationEncoder into) {
        into.high(value.high()).low(value.low());
    }

    private static void put(final long[] nonce, final NonceEncoder into) {
        into.word0(nonce[0]).word1(nonce[1]).word2(nonce[2]).word3(nonce[3]);
    }
}
