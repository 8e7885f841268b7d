package io.kvasir.transport;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayDeque;
import org.agrona.DirectBuffer;
import org.agrona.concurrent.UnsafeBuffer;
import org.junit.jupiter.api.Test;

/** Both ends of a handshake, without a network between them. */
class HandshakeTest {
    private static final int MAX_CONTROL = 1408;
    private static final Peer INITIATOR = new Peer("initiator", 1, new Incarnation(1, 1));
    private static final Peer RESPONDER = new Peer("responder", 2, new Incarnation(2, 2));

    /** One node with at most one link; keeps what it sends. */
    private static final class End implements Wire.ControlOut {
        final Messages messages = new Messages(MAX_CONTROL);
        final Handshake handshake;
        final ArrayDeque<UnsafeBuffer> sent = new ArrayDeque<>();
        Link link;

        End(final Peer self, final String secret) {
            handshake =
                    new Handshake(new LinkContext().self(self).secret(secret).nanoClock(() -> 1), messages);
        }

        Link link(final long number, final Peer peer, final boolean initiator) {
            final long[] nonce = initiator ? new long[] {1, 2, 3, 4} : new long[] {5, 6, 7, 8};
            link = new Link(number, peer, initiator, nonce, new int[] {initiator ? 11 : 22}, this, 0);
            return link;
        }

        UnsafeBuffer begins() {
            link.phase = Link.Phase.GREETED;
            return sends(handshake.begin(link));
        }

        UnsafeBuffer sends(final int length) {
            assertTrue(link.send(messages.buffer, length));
            return sent.remove();
        }

        boolean isWelcome(final UnsafeBuffer message) throws Handshake.Refusal {
            return handshake.isWelcome(message, 0, message.capacity());
        }

        Handshake.Hello reads(final UnsafeBuffer message) throws Handshake.Refusal {
            assertFalse(isWelcome(message));
            return handshake.hello(message, 0, message.capacity());
        }

        Outcome refuses(final UnsafeBuffer message) {
            return assertThrows(Handshake.Refusal.class, () -> reads(message)).outcome;
        }

        @Override
        public Wire.State state() {
            return Wire.State.UP;
        }

        @Override
        public String rejection() {
            return null;
        }

        @Override
        public boolean offer(final DirectBuffer message, final int offset, final int length) {
            final UnsafeBuffer copy = new UnsafeBuffer(new byte[length]);
            copy.putBytes(0, message, offset, length);
            return sent.add(copy);
        }

        @Override
        public void close() {}
    }

    private final End initiator = new End(INITIATOR, LinkFixture.SECRET);
    private final End responder = new End(RESPONDER, LinkFixture.SECRET);

    private UnsafeBuffer hello() {
        initiator.link(initiator.handshake.nextNumber(), RESPONDER, true);
        return initiator.begins();
    }

    /** The responder's Welcome to a new Hello. */
    private UnsafeBuffer welcome() throws Handshake.Refusal {
        final Handshake.Hello hello = responder.reads(hello());
        assertEquals(INITIATOR, hello.peer());
        responder.handshake.accept(responder.link(hello.number(), hello.peer(), false), hello);
        return responder.begins();
    }

    private void complete(final UnsafeBuffer welcome) throws Handshake.Refusal {
        assertTrue(initiator.isWelcome(welcome));
        assertEquals(initiator.link.number, initiator.handshake.welcomed(welcome, 0));
        initiator.handshake.complete(initiator.link, welcome, 0, welcome.capacity());
    }

    @Test
    void bothEndsHaveTheSameKeysAndKnowTheDataStreams() throws Handshake.Refusal {
        complete(welcome());
        assertEquals(22, initiator.link.peerSessions[0]);
        assertEquals(11, responder.link.peerSessions[0]);
        final UnsafeBuffer ready = initiator.sends(initiator.messages.ready(initiator.link));
        assertTrue(responder.link.open(ready, 0, ready.capacity()) > 0);
        responder.handshake.prove(responder.link, ready, 0);
        final UnsafeBuffer answer = responder.sends(responder.messages.ready(responder.link));
        assertTrue(initiator.link.open(answer, 0, answer.capacity()) > 0);
    }

    @Test
    void aHelloOfAnotherSecretIsNotProven() {
        final End stranger = new End(INITIATOR, "the secret of another cluster");
        stranger.link(1, RESPONDER, true);
        assertEquals(Outcome.NOT_PROVEN, responder.refuses(stranger.begins()));
    }

    @Test
    void aHelloToAnotherStartOfTheNodeIsUnreachable() {
        final End later = new End(new Peer("responder", 2, new Incarnation(3, 3)), LinkFixture.SECRET);
        assertEquals(Outcome.UNREACHABLE, later.refuses(hello()));
    }

    @Test
    void aHelloIsTakenOnce() throws Handshake.Refusal {
        final UnsafeBuffer hello = hello();
        assertNotNull(responder.reads(hello));
        assertEquals(Outcome.REFUSED, responder.refuses(hello));
        assertNotNull(responder.reads(hello()), "the peer's next one is another one");
    }

    @Test
    void aChangedWelcomeIsNotProven() throws Handshake.Refusal {
        final UnsafeBuffer welcome = welcome();
        final int last = welcome.capacity() - 1;
        welcome.putByte(last, (byte) (welcome.getByte(last) ^ 1));
        final Handshake.Refusal refusal = assertThrows(Handshake.Refusal.class, () -> complete(welcome));
        assertEquals(Outcome.NOT_PROVEN, refusal.outcome);
    }

    @Test
    void aWelcomeThatNoLinkWaitsForIsNoHandshake() throws Handshake.Refusal {
        final UnsafeBuffer welcome = welcome();
        assertTrue(initiator.isWelcome(welcome));
        final Handshake.Refusal refusal = assertThrows(
                Handshake.Refusal.class, () -> initiator.handshake.complete(null, welcome, 0, welcome.capacity()));
        assertEquals(Outcome.UNREACHABLE, refusal.outcome);
    }

    @Test
    void onlyReadyProvesTheInitiator() throws Handshake.Refusal {
        complete(welcome());
        final UnsafeBuffer close = initiator.sends(initiator.messages.close(initiator.link));
        assertTrue(responder.link.open(close, 0, close.capacity()) > 0, "the seal is right");
        assertThrows(LinkException.class, () -> responder.handshake.prove(responder.link, close, 0));
    }

    @Test
    void aSealedMessageThatOpensNothingIsNoHandshake() throws Handshake.Refusal {
        complete(welcome());
        final UnsafeBuffer ready = initiator.sends(initiator.messages.ready(initiator.link));
        assertEquals(Outcome.UNREACHABLE, responder.refuses(ready));
    }
}
