package io.kvasir.transport;

import io.kvasir.transport.LinkCounters.Counter;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.agrona.DirectBuffer;
import org.agrona.collections.Long2LongHashMap;
import org.agrona.collections.Long2ObjectHashMap;

/**
 * Opens, bounds and closes the links of this node, and hands the messages of peers that passed the {@link Handshake} on to
 * its {@link Handler}.
 */
final class Links implements Wire.ControlHandler {
    /** What runs over the links. All on the link's thread. */
    interface Handler {
        /** The data streams of both directions are open: transfers may begin. */
        void onUp(Link link);

        /** The link has ended, and with it all that was on its way there. */
        void onClosed(Link link, Outcome outcome);

        /**
         * The peer's next control message; its seal was checked.
         *
         * @throws LinkException or IndexOutOfBoundsException when it is malformed; the link ends then
         */
        void onControl(Link link, DirectBuffer buffer, int offset, int length, long nowNs);

        void onData(Link link, DirectBuffer buffer, int offset, int length);
    }

    /** How long the driver keeps a stream after it was closed here; the other side's end takes the silence more. */
    static final long LINGER_NS = 1_000_000_000;

    private final LinkContext context;
    private final Wire wire;
    private final Messages messages;
    private final Handshake handshake;
    private final List<Link> all = new ArrayList<>();
    /** When links closed whose buffers the driver still keeps, to send again what gets lost: they count as memory. */
    private final ArrayDeque<Long> lingering = new ArrayDeque<>();

    private final Map<Peer, Link> byPeer = new HashMap<>();
    /** Also of closed links, while their streams last: what was still on its way is not a stranger's. */
    private final Long2ObjectHashMap<Link> bySource = new Long2ObjectHashMap<>();

    private final Long2LongHashMap strangers = new Long2LongHashMap(Long.MIN_VALUE);
    private Handler handler;
    private long nowNs;

    Links(final LinkContext context, final Wire wire, final Messages messages) {
        this.context = context;
        this.wire = wire;
        this.messages = messages;
        handshake = new Handshake(context, messages);
        nowNs = context.nanoClock().nanoTime();
    }

    /** Once, before the first {@link #doWork}: what handles messages also sends over these links. */
    void handler(final Handler value) {
        handler = value;
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
        return add(peer, true, handshake.nextNumber());
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
        handler.onClosed(link, outcome);
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
            handler.onUp(link);
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
            pass(link, handshake.begin(link));
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
            if (link.phase != Link.Phase.UP) {
                handshake.prove(link, buffer, offset);
                proven(link);
            }
            handler.onControl(link, buffer, offset, inside, nowNs);
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
        try {
            if (handshake.isWelcome(buffer, offset, length)) {
                onWelcome(source, buffer, offset, length);
            } else {
                onHello(source, handshake.hello(buffer, offset, length));
            }
        } catch (final Handshake.Refusal refusal) {
            context.counters().add(refusal.counter, 1);
            context.errors().onError("a peer's link was refused, " + refusal.outcome + ": " + refusal.getMessage());
            strangers.remove(source);
            wire.reject(source, refusal.outcome + ": " + refusal.getMessage());
        }
    }

    private void onHello(final long source, final Handshake.Hello hello) throws Handshake.Refusal {
        int halfOpen = 0;
        for (final Link link : all) {
            halfOpen += link.initiator || link.phase == Link.Phase.UP ? 0 : 1;
        }
        if (halfOpen > context.maxLinks() / 4 || !makeRoom()) {
            throw new Handshake.Refusal(
                    Counter.REFUSED_MESSAGES, Outcome.BUSY, "this node has all the links that it may have");
        }
        final Link link = add(hello.peer(), false, hello.number());
        handshake.accept(link, hello);
        bind(link, source);
    }

    private void onWelcome(final long source, final DirectBuffer buffer, final int offset, final int length)
            throws Handshake.Refusal {
        final long number = handshake.welcomed(buffer, offset);
        Link link = null;
        for (final Link candidate : all) {
            if (candidate.number == number
                    && candidate.initiator
                    && candidate.phase == Link.Phase.GREETED
                    && candidate.source == Link.NO_SOURCE) {
                link = candidate;
            }
        }
        handshake.complete(link, buffer, offset, length);
        bind(link, source);
        proven(link);
    }

    private void bind(final Link link, final long source) {
        link.source = source;
        bySource.put(source, link);
        strangers.remove(source);
    }

    /** From here on the peer is a member: its data streams get buffers. */
    private void proven(final Link link) {
        link.phase = Link.Phase.UP;
        link.lastUsedNs = nowNs;
        link.lastHeardNs = nowNs;
        context.counters().add(Counter.LINKS_OPENED, 1);
        for (final int session : link.peerSessions) {
            link.in.add(wire.listen(session, (buffer, offset, length) -> handler.onData(link, buffer, offset, length)));
        }
    }
}
