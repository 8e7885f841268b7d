package io.kvasir.transport;

import io.kvasir.transport.LinkCounters.Counter;
import io.kvasir.transport.wire.HelloDecoder;
import io.kvasir.transport.wire.MessageHeaderDecoder;
import io.kvasir.transport.wire.WelcomeDecoder;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.agrona.DirectBuffer;
import org.agrona.collections.Long2LongHashMap;
import org.agrona.collections.Long2ObjectHashMap;

/**
 * Opens, proves, bounds and closes the links of this node, and hands the messages of proven peers on to {@link Receiver}
 * and {@link Sender}.
 */
final class Links implements Wire.ControlHandler {
    /** How long the driver keeps a stream after it was closed here; the other side's end takes the silence more. */
    static final long LINGER_NS = 1_000_000_000;

    private final LinkContext context;
    private final Wire wire;
    private final Messages messages;
    private final LinkKeys helloKeys;
    private final Greetings greetings;
    private final List<Link> all = new ArrayList<>();
    /** When links closed whose buffers the driver still keeps, to send again what gets lost: they count as memory. */
    private final ArrayDeque<Long> lingering = new ArrayDeque<>();

    private final Map<Peer, Link> byPeer = new HashMap<>();
    /** Also of closed links, while their streams last: what was still on its way is not a stranger's. */
    private final Long2ObjectHashMap<Link> bySource = new Long2ObjectHashMap<>();

    private final Long2LongHashMap strangers = new Long2LongHashMap(Long.MIN_VALUE);
    private final MessageHeaderDecoder header = new MessageHeaderDecoder();
    private final HelloDecoder hello = new HelloDecoder();
    private final WelcomeDecoder welcome = new WelcomeDecoder();
    private ControlIn controlIn;
    private Receiver receiver;
    private Sender sender;
    private long nowNs;

    Links(final LinkContext context, final Wire wire, final Messages messages) {
        this.context = context;
        this.wire = wire;
        this.messages = messages;
        helloKeys = LinkKeys.hello(context.secret());
        nowNs = context.nanoClock().nanoTime();
        greetings = new Greetings(nowNs);
    }

    void join(final Receiver newReceiver, final Sender newSender) {
        receiver = newReceiver;
        sender = newSender;
        controlIn = new ControlIn(this, newReceiver, newSender);
    }

    List<Link> all() {
        return all;
    }

    /** The link to this peer; opened if there is none. Null when there are as many as may be, all in use. */
    Link to(final Peer peer) {
        final Link found = byPeer.get(peer);
        if (found != null) {
            return found;
        }
        if (!makeRoom()) {
            return null;
        }
        return add(peer, true, greetings.next(context.nanoClock().nanoTime()));
    }

    private Link add(final Peer peer, final boolean initiator, final long number) {
        final int[] sessions = new int[context.dataStreams()];
        for (int i = 0; i < sessions.length; i++) {
            sessions[i] = (int) context.random().getAsLong();
        }
        final long[] nonce = new long[4];
        for (int i = 0; i < nonce.length; i++) {
            nonce[i] = context.random().getAsLong();
        }
        final Link link = new Link(number, peer, initiator, nonce, sessions, wire.openControl(peer.endpoint()), nowNs);
        all.add(link);
        byPeer.putIfAbsent(peer, link);
        context.counters().add(Counter.LINKS, 1);
        return link;
    }

    private boolean makeRoom() {
        while (!lingering.isEmpty()
                && nowNs - lingering.peek() > LINGER_NS + context.silence().toNanos()) {
            lingering.poll();
        }
        if (all.size() + lingering.size() >= 2 * context.maxLinks()) {
            return false;
        }
        if (all.size() < context.maxLinks()) {
            return true;
        }
        Link oldest = null;
        for (final Link link : all) {
            if (link.phase == Link.Phase.UP && link.idle() && (oldest == null || link.lastUsedNs < oldest.lastUsedNs)) {
                oldest = link;
            }
        }
        if (oldest == null) {
            return false;
        }
        context.counters().add(Counter.LINKS_CLOSED, 1);
        farewell(oldest);
        return true;
    }

    private void farewell(final Link link) {
        link.send(messages.buffer, messages.close(link));
        close(link, Outcome.UNREACHABLE);
    }

    void closedByPeer(final Link link) {
        context.counters().add(Counter.LINKS_CLOSED, 1);
        close(link, Outcome.UNREACHABLE);
    }

    /** It may still be alive, and learns then that the link has ended. */
    void gone(final Peer peer) {
        for (final Link link : List.copyOf(all)) {
            if (link.peer.equals(peer)) {
                context.counters().add(Counter.LINKS_LOST, 1);
                if (link.phase == Link.Phase.UP) {
                    farewell(link);
                } else {
                    close(link, Outcome.UNREACHABLE);
                }
            }
        }
    }

    /** After a failure that an operator should know. */
    void lose(final Link link, final Outcome outcome, final String why) {
        if (link.phase != Link.Phase.CLOSED) {
            context.counters().add(Counter.LINKS_LOST, 1);
            context.errors().onError("link to " + link.peer + " lost: " + why);
            close(link, outcome);
        }
    }

    private void close(final Link link, final Outcome outcome) {
        if (link.phase == Link.Phase.CLOSED) {
            return;
        }
        link.phase = Link.Phase.CLOSED;
        all.remove(link);
        lingering.add(nowNs);
        context.counters().add(Counter.LINKS, -1);
        if (byPeer.remove(link.peer, link)) {
            for (final Link other : all) {
                if (other.peer.equals(link.peer)) {
                    byPeer.put(other.peer, other);
                    break;
                }
            }
        }
        link.out.close();
        link.in.forEach(Wire.DataIn::close);
        sender.onClosed(link, outcome);
        receiver.onClosed(link, outcome);
    }

    void closeAll() {
        for (final Link link : List.copyOf(all)) {
            if (link.phase == Link.Phase.UP) {
                farewell(link);
            } else {
                close(link, Outcome.UNREACHABLE);
            }
        }
    }

    /** Sends what {@link #messages} holds; a peer that is not proven hears nothing. */
    void send(final Link link, final int length) {
        if (link.phase == Link.Phase.UP) {
            pass(link, length);
        }
    }

    private void pass(final Link link, final int length) {
        if (!link.send(messages.buffer, length)) {
            lose(link, Outcome.UNREACHABLE, "it takes no control messages");
        }
    }

    int doWork(final long now) {
        nowNs = now;
        int work = 0;
        for (int i = all.size() - 1; i >= 0; i--) {
            if (i < all.size()) {
                work += advance(all.get(i));
            }
        }
        return work;
    }

    private int advance(final Link link) {
        if (link.out.rejection() != null) {
            rejected(link, link.out.rejection());
            return 1;
        }
        final Wire.State state = link.out.state();
        if (state == Wire.State.GONE) {
            lose(link, Outcome.UNREACHABLE, "it went away");
            return 1;
        }
        if (link.phase != Link.Phase.UP) {
            return greet(link, state);
        }
        for (int i = 0; i < link.in.size(); i++) {
            final Wire.State in = link.in.get(i).state();
            if (in == Wire.State.GONE) {
                lose(link, Outcome.UNREACHABLE, "a data stream ended");
                return 1;
            }
            if (in == Wire.State.OPENING) {
                return link.flush();
            }
        }
        int work = link.flush();
        if (!link.ready) {
            link.ready = true;
            send(link, messages.ready(link));
            receiver.onUp(link);
            sender.onUp(link);
            work++;
        }
        if (!link.idle()) {
            link.lastUsedNs = nowNs;
        } else if (nowNs - link.lastUsedNs > context.idleClose().toNanos()) {
            context.counters().add(Counter.LINKS_CLOSED, 1);
            farewell(link);
        }
        return work;
    }

    private int greet(final Link link, final Wire.State state) {
        if (nowNs - link.startedNs > context.handshakeTimeout().toNanos()) {
            lose(link, Outcome.UNREACHABLE, "no handshake within " + context.handshakeTimeout());
            return 1;
        }
        if (link.phase == Link.Phase.CONNECTING && state == Wire.State.UP) {
            link.phase = Link.Phase.GREETED;
            if (link.initiator) {
                link.sealing = helloKeys;
                pass(link, messages.hello(link, context.self(), context.termLength()));
            } else {
                pass(link, messages.welcome(link, context.self(), context.termLength()));
            }
            return 1;
        }
        return link.flush();
    }

    /** The peer's words are not proven: they end this link and nothing else. */
    private void rejected(final Link link, final String reason) {
        final int colon = reason.indexOf(':');
        Outcome outcome = Outcome.UNREACHABLE;
        for (final Outcome known : Outcome.values()) {
            if (colon > 0 && known.name().equals(reason.substring(0, colon))) {
                outcome = known;
            }
        }
        lose(link, outcome, "it refuses: " + reason);
    }

    void tick() {
        final Long2LongHashMap.EntryIterator iterator = strangers.entrySet().iterator();
        while (iterator.hasNext()) {
            iterator.next();
            if (nowNs - iterator.getLongValue() > context.handshakeTimeout().toNanos()) {
                wire.reject(iterator.getLongKey(), Outcome.UNREACHABLE + ": no handshake in time");
                iterator.remove();
            }
        }
    }

    @Override
    public void onControlOpened(final long source) {
        strangers.put(source, nowNs);
    }

    @Override
    public void onControlGone(final long source) {
        strangers.remove(source);
        final Link link = bySource.remove(source);
        if (link != null) {
            lose(link, Outcome.UNREACHABLE, "it went away");
        }
    }

    @Override
    public void onControl(final long source, final DirectBuffer buffer, final int offset, final int length) {
        try {
            // A frame's length is what its datagram says, and Aeron takes a stranger's word for it.
            if (length > AeronWire.MAX_CONTROL_MTU) {
                throw new IndexOutOfBoundsException("message of " + length + " bytes");
            }
            final Link link = bySource.get(source);
            if (link == null) {
                greeted(source, buffer, offset, length);
                return;
            }
            if (link.phase == Link.Phase.CLOSED) {
                wire.reject(source, Outcome.UNREACHABLE + ": the link has ended");
                return;
            }
            final int inside = link.open(buffer, offset, length);
            if (inside < 0) {
                context.counters().add(Counter.REFUSED_MESSAGES, 1);
                lose(link, Outcome.UNREACHABLE, "a control message is not the peer's next one");
                return;
            }
            link.lastHeardNs = nowNs;
            controlIn.handle(link, buffer, offset, inside, nowNs);
        } catch (final IndexOutOfBoundsException | LinkException malformed) {
            context.counters().add(Counter.REFUSED_MESSAGES, 1);
            final Link link = bySource.get(source);
            if (link == null) {
                wire.reject(source, Outcome.REFUSED + ": malformed message");
            } else {
                lose(link, Outcome.UNREACHABLE, "malformed message: " + malformed.getMessage());
            }
        }
    }

    private void greeted(final long source, final DirectBuffer buffer, final int offset, final int length) {
        if (length < MessageHeaderDecoder.ENCODED_LENGTH) {
            throw new IndexOutOfBoundsException("message of " + length + " bytes");
        }
        header.wrap(buffer, offset);
        if (header.schemaId() != MessageHeaderDecoder.SCHEMA_ID) {
            refuse(source, Counter.REFUSED_MESSAGES, Outcome.REFUSED, "not a message of a Kvasir node");
        } else if (header.version() != MessageHeaderDecoder.SCHEMA_VERSION) {
            refuse(
                    source,
                    Counter.REFUSED_PROTOCOL,
                    Outcome.OTHER_PROTOCOL,
                    "protocol version " + header.version() + "; this node speaks version "
                            + MessageHeaderDecoder.SCHEMA_VERSION);
        } else if (header.templateId() == HelloDecoder.TEMPLATE_ID) {
            onHello(source, buffer, offset, length);
        } else if (header.templateId() == WelcomeDecoder.TEMPLATE_ID) {
            onWelcome(source, buffer, offset, length);
        } else {
            refuse(source, Counter.REFUSED_MESSAGES, Outcome.UNREACHABLE, "no handshake");
        }
    }

    private void refuse(final long source, final Counter counter, final Outcome outcome, final String why) {
        context.counters().add(counter, 1);
        context.errors().onError("a peer's link was refused, " + outcome + ": " + why);
        strangers.remove(source);
        wire.reject(source, outcome + ": " + why);
    }

    private void onHello(final long source, final DirectBuffer buffer, final int offset, final int length) {
        final int inside = helloKeys.open(buffer, offset, length);
        if (inside < 0) {
            refuse(source, Counter.REFUSED_NOT_PROVEN, Outcome.NOT_PROVEN, "the cluster secret is not this node's");
            return;
        }
        hello.wrap(
                buffer,
                offset + MessageHeaderDecoder.ENCODED_LENGTH,
                header.blockLength(),
                MessageHeaderDecoder.SCHEMA_VERSION);
        final Incarnation from = Messages.incarnation(hello.incarnation());
        final Incarnation expected = Messages.incarnation(hello.expected());
        final long[] nonce = Messages.nonce(hello.nonce());
        final int[] sessions = sessions(hello.dataStreams(), hello.sessions(0), source);
        if (sessions == null) {
            return;
        }
        for (int i = 0; i < sessions.length; i++) {
            sessions[i] = hello.sessions(i);
        }
        if (!termAllowed(source, hello.termLength())) {
            return;
        }
        final long number = hello.link();
        final Peer peer = new Peer(hello.host(), hello.port(), from);
        if (!expected.equals(context.self().incarnation())) {
            refuse(
                    source,
                    Counter.REFUSED_MESSAGES,
                    Outcome.UNREACHABLE,
                    "this node is " + context.self().incarnation() + ", not " + expected + " that " + peer + " means");
            return;
        }
        // Before a link's place is taken for it: a recording takes none and pushes no idle link out.
        if (!greetings.isNew(from, number)) {
            refuse(source, Counter.REFUSED_MESSAGES, Outcome.REFUSED, "a Hello of " + peer + " that was sent before");
            return;
        }
        int halfOpen = 0;
        for (final Link link : all) {
            halfOpen += link.initiator || link.phase == Link.Phase.UP ? 0 : 1;
        }
        if (halfOpen > context.maxLinks() / 4 || !makeRoom()) {
            refuse(source, Counter.REFUSED_MESSAGES, Outcome.BUSY, "this node has all the links that it may have");
            return;
        }
        final Link link = add(peer, false, number);
        link.peerSessions = sessions;
        link.sealing = LinkKeys.session(
                context.secret(), false, number, from, nonce, context.self().incarnation(), link.ownNonce);
        link.opening = LinkKeys.session(
                context.secret(), true, number, from, nonce, context.self().incarnation(), link.ownNonce);
        bind(link, source);
    }

    private boolean termAllowed(final long source, final int termLength) {
        if (termLength > AeronWire.MAX_DATA_TERM) {
            refuse(
                    source,
                    Counter.REFUSED_MESSAGES,
                    Outcome.REFUSED,
                    "its link term length is " + termLength + ", more than " + AeronWire.MAX_DATA_TERM);
            return false;
        }
        return true;
    }

    private int[] sessions(final int count, final int first, final long source) {
        if (count < 1 || count > HelloDecoder.sessionsLength()) {
            refuse(source, Counter.REFUSED_MESSAGES, Outcome.REFUSED, count + " data streams, the first " + first);
            return null;
        }
        return new int[count];
    }

    private void bind(final Link link, final long source) {
        link.source = source;
        bySource.put(source, link);
        strangers.remove(source);
    }

    private void onWelcome(final long source, final DirectBuffer buffer, final int offset, final int length) {
        welcome.wrap(
                buffer,
                offset + MessageHeaderDecoder.ENCODED_LENGTH,
                header.blockLength(),
                MessageHeaderDecoder.SCHEMA_VERSION);
        Link link = null;
        for (final Link candidate : all) {
            if (candidate.number == welcome.link()
                    && candidate.initiator
                    && candidate.phase == Link.Phase.GREETED
                    && candidate.source == Link.NO_SOURCE) {
                link = candidate;
            }
        }
        if (link == null || length < MessageHeaderDecoder.ENCODED_LENGTH + WelcomeDecoder.BLOCK_LENGTH) {
            refuse(source, Counter.REFUSED_MESSAGES, Outcome.UNREACHABLE, "no handshake");
            return;
        }
        final long[] nonce = Messages.nonce(welcome.nonce());
        final LinkKeys opening = LinkKeys.session(
                context.secret(),
                false,
                link.number,
                context.self().incarnation(),
                link.ownNonce,
                link.peer.incarnation(),
                nonce);
        link.opening = opening;
        if (link.open(buffer, offset, length) < 0
                || !Messages.incarnation(welcome.incarnation()).equals(link.peer.incarnation())) {
            refuse(source, Counter.REFUSED_NOT_PROVEN, Outcome.NOT_PROVEN, "the cluster secret is not this node's");
            return;
        }
        final int[] sessions = sessions(welcome.dataStreams(), welcome.sessions(0), source);
        if (sessions == null || !termAllowed(source, welcome.termLength())) {
            return;
        }
        for (int i = 0; i < sessions.length; i++) {
            sessions[i] = welcome.sessions(i);
        }
        link.peerSessions = sessions;
        link.sealing = LinkKeys.session(
                context.secret(),
                true,
                link.number,
                context.self().incarnation(),
                link.ownNonce,
                link.peer.incarnation(),
                nonce);
        bind(link, source);
        proven(link);
    }

    /** From here on the peer is a member: its data streams get buffers. */
    void proven(final Link link) {
        link.phase = Link.Phase.UP;
        link.lastUsedNs = nowNs;
        link.lastHeardNs = nowNs;
        context.counters().add(Counter.LINKS_OPENED, 1);
        for (final int session : link.peerSessions) {
            link.in.add(
                    wire.listen(session, (buffer, offset, length) -> receiver.onData(link, buffer, offset, length)));
        }
    }
}
