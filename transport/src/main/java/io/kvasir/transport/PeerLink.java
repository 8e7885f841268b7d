package io.kvasir.transport;

import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import org.agrona.DirectBuffer;
import org.agrona.concurrent.Agent;
import org.agrona.concurrent.ManyToOneConcurrentArrayQueue;

/**
 * One node's links to its peers. An agent: one thread calls {@link #doWork()} and then {@link #onClose()}; the other
 * methods may be called from any thread.
 */
public final class PeerLink implements Agent {
    private static final int COMMANDS = 4096;

    /** Deadlines, retries and stalls are looked at this often. */
    private static final long TICK_NS = 1_000_000;

    private final LinkContext context;
    private final Wire wire;
    private final Links links;
    private final Receiver receiver;
    private final Sender sender;
    private final Dispatch dispatch;
    private final Answers answers;
    private final ManyToOneConcurrentArrayQueue<Runnable> commands = new ManyToOneConcurrentArrayQueue<>(COMMANDS);
    private final AtomicBoolean closed = new AtomicBoolean();
    private long nextTickNs;

    private PeerLink(final LinkContext context, final Wire wire) {
        this.context = context;
        this.wire = wire;
        answers = new Answers(
                context.maxReservations() + context.maxLinks() * context.maxOpenObjects(), context.wakeup());
        final Messages messages = new Messages(wire.maxControl());
        links = new Links(context, wire, messages);
        receiver = new Receiver(context, links, messages, answers);
        sender = new Sender(context, links, messages, answers, wire);
        dispatch =
                new Dispatch(receiver, sender, new ControlIn(links, receiver, sender), new SliceIn(context, receiver));
        links.handler(dispatch);
        nextTickNs = context.nanoClock().nanoTime();
    }

    /** Tells both sides what happens on the links. */
    private record Dispatch(Receiver receiver, Sender sender, ControlIn control, SliceIn slices)
            implements Links.Handler {
        @Override
        public void onUp(final Link link) {
            receiver.onUp(link);
            sender.onUp(link);
        }

        @Override
        public void onClosed(final Link link, final Outcome outcome) {
            sender.onClosed(link, outcome);
            receiver.onClosed(link, outcome);
        }

        @Override
        public void onControl(
                final Link link, final DirectBuffer buffer, final int offset, final int length, final long nowNs) {
            control.handle(link, buffer, offset, length, nowNs);
        }

        @Override
        public void onData(final Link link, final DirectBuffer buffer, final int offset, final int length) {
            slices.handle(link, buffer, offset, length);
        }
    }

    /** Starts the media driver and listens. The context must not be changed after. */
    public static PeerLink open(final LinkContext context) {
        final LinkContext concluded = context.conclude();
        return over(concluded, new AeronWire(concluded));
    }

    /** Over another network. */
    static PeerLink over(final LinkContext concluded, final Wire wire) {
        return new PeerLink(concluded, wire);
    }

    /** Starts to pull; null when the command queue is full. The listener hears each object's end. */
    public Transfer pull(final PullRequest request) {
        final Pull pull = new Pull(request, request.sink() == null ? context.sink() : request.sink());
        return command(() -> receiver.start(pull)) ? new PullHandle(pull) : null;
    }

    /** Starts to push; null when the command queue is full. The listener hears each object's end. */
    public Transfer push(final PushRequest request) {
        final Push push = new Push(request);
        return command(() -> sender.start(push)) ? new PushHandle(push) : null;
    }

    /**
     * This peer has left the cluster, or its process has ended: its link closes, and what was on its way from it goes on with
     * the next holder at once. False when the command queue is full; the link finds out by itself then.
     */
    public boolean gone(final Peer peer) {
        return command(() -> {
            receiver.gone(peer);
            links.gone(peer);
        });
    }

    /** For tests. */
    List<Link> links() {
        return links.all();
    }

    /** For tests. */
    Wire.ControlHandler control() {
        return links;
    }

    /** For tests. */
    Links.Handler handler() {
        return dispatch;
    }

    /** For tests. */
    Receiver receiver() {
        return receiver;
    }

    private boolean command(final Runnable command) {
        final boolean taken = !closed.get() && commands.offer(command);
        context.wakeup().run();
        return taken;
    }

    private final class PullHandle implements Transfer {
        private final Pull pull;

        PullHandle(final Pull pull) {
            this.pull = pull;
        }

        @Override
        public boolean cancel() {
            return cancel(-1);
        }

        @Override
        public boolean cancel(final int index) {
            return command(() -> receiver.cancel(pull, index));
        }
    }

    private final class PushHandle implements Transfer {
        private final Push push;

        PushHandle(final Push push) {
            this.push = push;
        }

        @Override
        public boolean cancel() {
            return cancel(-1);
        }

        @Override
        public boolean cancel(final int index) {
            return command(() -> sender.cancel(push, index));
        }
    }

    @Override
    public int doWork() {
        final long now = context.nanoClock().nanoTime();
        int work = receiver.doWork(now);
        work += commands.drain(Runnable::run);
        work += answers.drain();
        work += wire.doWork(links);
        work += links.doWork(now);
        work += sender.doWork(now);
        if (now - nextTickNs >= 0) {
            nextTickNs = now + TICK_NS;
            links.tick();
            receiver.tick();
            sender.tick();
        }
        return work;
    }

    /** Ends all transfers, gives back what is reserved and held, and stops the media driver. */
    @Override
    public void onClose() {
        if (closed.compareAndSet(false, true)) {
            commands.drain(Runnable::run);
            receiver.endAll(Outcome.CANCELLED);
            sender.endAll(Outcome.CANCELLED);
            links.closeAll();
            wire.doWork(links);
            answers.drain();
            receiver.doWork(context.nanoClock().nanoTime());
            wire.close();
        }
    }

    @Override
    public String roleName() {
        return "kvasir-link";
    }
}
