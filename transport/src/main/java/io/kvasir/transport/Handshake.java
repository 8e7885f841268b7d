package io.kvasir.transport;

import io.kvasir.transport.LinkCounters.Counter;
import io.kvasir.transport.wire.HelloDecoder;
import io.kvasir.transport.wire.MessageHeaderDecoder;
import io.kvasir.transport.wire.ReadyDecoder;
import io.kvasir.transport.wire.WelcomeDecoder;
import org.agrona.DirectBuffer;

/**
 * How the two ends of a link prove to each other that they know the cluster's secret, and agree on the link's keys: the
 * initiator's Hello, the responder's Welcome, the initiator's Ready. Reads and writes these messages and knows which are
 * recordings; {@link Links} owns the links and decides whether there is space for one more.
 */
final class Handshake {
    /** Why a message does not open a link. Goes to the peer, which is unauthenticated, so it tells nothing that it must not know. */
    static final class Refusal extends Exception {
        private static final long serialVersionUID = 1L;

        final Counter counter;
        final Outcome outcome;

        /** Without a stack trace: whoever reaches the port can cause any number of them. */
        Refusal(final Counter counter, final Outcome outcome, final String message) {
            super(message, null, false, false);
            this.counter = counter;
            this.outcome = outcome;
        }
    }

    /** A peer that knows the secret asks for a link, with a message that was not sent before. */
    record Hello(Peer peer, long number, long[] nonce, int[] sessions) {}

    private final LinkContext context;
    private final Messages messages;
    private final LinkKeys helloKeys;
    private final Greetings greetings;
    private final MessageHeaderDecoder header = new MessageHeaderDecoder();
    private final HelloDecoder hello = new HelloDecoder();
    private final WelcomeDecoder welcome = new WelcomeDecoder();

    Handshake(final LinkContext context, final Messages messages) {
        this.context = context;
        this.messages = messages;
        helloKeys = LinkKeys.hello(context.secret());
        greetings = new Greetings(context.nanoClock().nanoTime());
    }

    /** For the next link that this node initiates. */
    long nextNumber() {
        return greetings.next(context.nanoClock().nanoTime());
    }

    /** Puts the link's first message into the messages' buffer; returns its length. */
    int begin(final Link link) {
        if (link.initiator) {
            link.sealing = helloKeys;
            return messages.hello(link, context.self(), context.termLength());
        }
        return messages.welcome(link, context.self(), context.termLength());
    }

    /**
     * Whether an unauthenticated stream's message is a Welcome; else it is a Hello.
     *
     * @throws Refusal when it is neither
     */
    boolean isWelcome(final DirectBuffer buffer, final int offset, final int length) throws Refusal {
        if (length < MessageHeaderDecoder.ENCODED_LENGTH) {
            throw new IndexOutOfBoundsException("message of " + length + " bytes");
        }
        header.wrap(buffer, offset);
        if (header.schemaId() != MessageHeaderDecoder.SCHEMA_ID) {
            throw new Refusal(Counter.REFUSED_MESSAGES, Outcome.REFUSED, "not a message of a Kvasir node");
        }
        if (header.version() != MessageHeaderDecoder.SCHEMA_VERSION) {
            throw new Refusal(
                    Counter.REFUSED_PROTOCOL,
                    Outcome.OTHER_PROTOCOL,
                    "protocol version " + header.version() + "; this node speaks version "
                            + MessageHeaderDecoder.SCHEMA_VERSION);
        }
        if (header.templateId() != HelloDecoder.TEMPLATE_ID && header.templateId() != WelcomeDecoder.TEMPLATE_ID) {
            throw new Refusal(Counter.REFUSED_MESSAGES, Outcome.UNREACHABLE, "no handshake");
        }
        return header.templateId() == WelcomeDecoder.TEMPLATE_ID;
    }

    /** Reads a Hello; nothing is kept for the peer until the seal is checked. */
    Hello hello(final DirectBuffer buffer, final int offset, final int length) throws Refusal {
        if (helloKeys.open(buffer, offset, length) < 0) {
            throw notProven();
        }
        hello.wrap(
                buffer,
                offset + MessageHeaderDecoder.ENCODED_LENGTH,
                header.blockLength(),
                MessageHeaderDecoder.SCHEMA_VERSION);
        final Incarnation from = Messages.incarnation(hello.incarnation());
        final Incarnation expected = Messages.incarnation(hello.expected());
        final long[] nonce = Messages.nonce(hello.nonce());
        final int[] sessions = sessions(hello.dataStreams(), hello.sessions(0));
        for (int i = 0; i < sessions.length; i++) {
            sessions[i] = hello.sessions(i);
        }
        checkTerm(hello.termLength());
        final long number = hello.link();
        final Peer peer = new Peer(hello.host(), hello.port(), from);
        if (!expected.equals(context.self().incarnation())) {
            throw new Refusal(
                    Counter.REFUSED_MESSAGES,
                    Outcome.UNREACHABLE,
                    "this node is " + context.self().incarnation() + ", not " + expected + " that " + peer + " means");
        }
        // Before a link's place is taken for it: a recording takes none and pushes no idle link out.
        if (!greetings.isNew(from, number)) {
            throw new Refusal(
                    Counter.REFUSED_MESSAGES, Outcome.REFUSED, "a Hello of " + peer + " that was sent before");
        }
        return new Hello(peer, number, nonce, sessions);
    }

    /** Gives the responder's link its keys. */
    void accept(final Link link, final Hello from) {
        link.peerSessions = from.sessions();
        link.sealing = keys(false, link.number, from.peer(), from.nonce(), context.self(), link.ownNonce);
        link.opening = keys(true, link.number, from.peer(), from.nonce(), context.self(), link.ownNonce);
    }

    /** The link that a Welcome is for, by the peer's unproven word. */
    long welcomed(final DirectBuffer buffer, final int offset) {
        welcome.wrap(
                buffer,
                offset + MessageHeaderDecoder.ENCODED_LENGTH,
                header.blockLength(),
                MessageHeaderDecoder.SCHEMA_VERSION);
        return welcome.link();
    }

    /**
     * Checks the Welcome that {@link #welcomed} read, and gives the initiator's link its keys: its peer is proven then.
     *
     * @param link null when none waits for a Welcome
     */
    void complete(final Link link, final DirectBuffer buffer, final int offset, final int length) throws Refusal {
        if (link == null || length < MessageHeaderDecoder.ENCODED_LENGTH + WelcomeDecoder.BLOCK_LENGTH) {
            throw new Refusal(Counter.REFUSED_MESSAGES, Outcome.UNREACHABLE, "no handshake");
        }
        final long[] nonce = Messages.nonce(welcome.nonce());
        link.opening = keys(false, link.number, context.self(), link.ownNonce, link.peer, nonce);
        if (link.open(buffer, offset, length) < 0
                || !Messages.incarnation(welcome.incarnation()).equals(link.peer.incarnation())) {
            throw notProven();
        }
        final int[] sessions = sessions(welcome.dataStreams(), welcome.sessions(0));
        checkTerm(welcome.termLength());
        for (int i = 0; i < sessions.length; i++) {
            sessions[i] = welcome.sessions(i);
        }
        link.peerSessions = sessions;
        link.sealing = keys(true, link.number, context.self(), link.ownNonce, link.peer, nonce);
    }

    /** A responder's peer proves itself with its first sealed message, which must be Ready; else throws LinkException. */
    void prove(final Link link, final DirectBuffer buffer, final int offset) {
        header.wrap(buffer, offset);
        if (link.initiator
                || link.phase != Link.Phase.GREETED
                || header.schemaId() != MessageHeaderDecoder.SCHEMA_ID
                || header.version() != MessageHeaderDecoder.SCHEMA_VERSION
                || header.templateId() != ReadyDecoder.TEMPLATE_ID) {
            throw new LinkException("message " + header.templateId() + " before the handshake");
        }
    }

    private LinkKeys keys(
            final boolean fromInitiator,
            final long number,
            final Peer initiator,
            final long[] initiatorNonce,
            final Peer responder,
            final long[] responderNonce) {
        return LinkKeys.session(
                context.secret(),
                fromInitiator,
                number,
                initiator.incarnation(),
                initiatorNonce,
                responder.incarnation(),
                responderNonce);
    }

    private static Refusal notProven() {
        return new Refusal(Counter.REFUSED_NOT_PROVEN, Outcome.NOT_PROVEN, "the cluster secret is not this node's");
    }

    private static void checkTerm(final int termLength) throws Refusal {
        if (termLength > AeronWire.MAX_DATA_TERM) {
            throw new Refusal(
                    Counter.REFUSED_MESSAGES,
                    Outcome.REFUSED,
                    "its link term length is " + termLength + ", more than " + AeronWire.MAX_DATA_TERM);
        }
    }

    private static int[] sessions(final int count, final int first) throws Refusal {
        if (count < 1 || count > HelloDecoder.sessionsLength()) {
            throw new Refusal(Counter.REFUSED_MESSAGES, Outcome.REFUSED, count + " data streams, the first " + first);
        }
        return new int[count];
    }
}
