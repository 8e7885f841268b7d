package io.kvasir.transport;

import io.kvasir.transport.LinkCounters.Counter;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * The sending side of all links: peers' pulls and own pushes. Opens objects at the source a few at a time, offers them,
 * has their slices sent in turns, and ends each one.
 */
final class Sender {
    /** Slices of one stream in one duty cycle. */
    private static final int SLICES = 32;

    private final LinkContext context;
    private final Links links;
    private final Messages messages;
    private final Answers answers;
    private final Wire wire;
    private final SliceOut slices;
    private final List<OutboundTransfer> transfers = new ArrayList<>();
    private final List<Push> pushesToStart = new ArrayList<>();
    private boolean flushSource;
    private long nowNs;

    Sender(
            final LinkContext context,
            final Links links,
            final Messages messages,
            final Answers answers,
            final Wire wire) {
        this.context = context;
        this.links = links;
        this.messages = messages;
        this.answers = answers;
        this.wire = wire;
        slices = new SliceOut(context, wire.maxData());
        nowNs = context.nanoClock().nanoTime();
    }

    // Own pushes.

    void start(final Push push) {
        int pushes = pushesToStart.size();
        for (final OutboundTransfer transfer : transfers) {
            pushes += transfer.push == null ? 0 : 1;
        }
        if (pushes >= context.maxTransfers()) {
            endAll(push, Outcome.BUSY);
            return;
        }
        pushesToStart.add(push);
        begin();
    }

    private void begin() {
        for (final Push push : List.copyOf(pushesToStart)) {
            if (nowNs - push.request.deadlineNs() >= 0) {
                pushesToStart.remove(push);
                endAll(push, Outcome.DEADLINE);
                continue;
            }
            final Link link = links.to(push.request.peer());
            if (link == null) {
                continue;
            }
            pushesToStart.remove(push);
            final OutboundTransfer transfer = new OutboundTransfer(
                    freshNumber(link),
                    link,
                    push.request.priority(),
                    push.request.deadlineNs(),
                    push.request.objects().size(),
                    push);
            add(transfer);
            if (link.ready) {
                announce(transfer);
            }
        }
    }

    private long freshNumber(final Link link) {
        long number;
        do {
            number = context.random().getAsLong();
        } while (link.outbound.containsKey(number));
        return number;
    }

    private void add(final OutboundTransfer transfer) {
        transfers.add(transfer);
        transfer.link.outbound.put(transfer.number, transfer);
    }

    private void announce(final OutboundTransfer transfer) {
        final int most = messages.namesOfOne();
        final int total = transfer.names.size();
        for (int first = 0; first < total; first += most) {
            links.send(
                    transfer.link,
                    messages.push(
                            transfer.link,
                            transfer.number,
                            transfer.deadlineNs - nowNs,
                            transfer.priority,
                            total,
                            first,
                            transfer.names.subList(first, Math.min(total, first + most))));
        }
        for (int i = 0; i < total; i++) {
            if (transfer.skipped[i]) {
                links.send(transfer.link, messages.offer(transfer.link, transfer.number, i, Outcome.CANCELLED));
            }
        }
        transfer.link.toOpen.add(transfer);
    }

    void onUp(final Link link) {
        for (final OutboundTransfer transfer : List.copyOf(link.outbound.values())) {
            if (transfer.push != null) {
                announce(transfer);
            }
        }
    }

    void cancel(final Push push, final int index) {
        if (pushesToStart.remove(push)) {
            // Not begun: a part of it can't be.
            endAll(push, Outcome.CANCELLED);
            return;
        }
        for (final OutboundTransfer transfer : List.copyOf(transfers)) {
            if (transfer.push == push) {
                for (int i = 0; i < transfer.objects.length; i++) {
                    if (index < 0 || i == index) {
                        withdraw(transfer, i, Outcome.CANCELLED);
                    }
                }
            }
        }
    }

    /** Ends one object of an own push, and tells the peer. */
    private void withdraw(final OutboundTransfer transfer, final int index, final Outcome outcome) {
        final OutboundObject object = transfer.objects[index];
        if (transfer.skipped[index] || (object != null && object.phase == OutboundObject.Phase.ENDED)) {
            return;
        }
        links.send(transfer.link, messages.offer(transfer.link, transfer.number, index, outcome));
        end(transfer, index, outcome);
    }

    // Messages of peers.

    void onPull(final Link link, final Announced announced, final List<ObjectName> names) {
        announced.check("pull", names.size());
        OutboundTransfer transfer = link.outbound.get(announced.transfer());
        if (transfer == null) {
            if (announced.first() != 0) {
                return; // It ended before its list was complete.
            }
            int pulls = 0;
            for (final OutboundTransfer other : link.outbound.values()) {
                pulls += other.push == null ? 1 : 0;
            }
            if (pulls >= context.maxTransfers()) {
                links.send(link, messages.refuse(link, announced.transfer(), Outcome.BUSY));
                return;
            }
            transfer = new OutboundTransfer(
                    announced.transfer(), link, announced.priority(), announced.deadlineNs(), announced.total(), null);
            add(transfer);
            link.toOpen.add(transfer);
        }
        if (transfer.push != null
                || transfer.objects.length != announced.total()
                || transfer.names.size() != announced.first()) {
            throw new LinkException("pull " + announced + " does not go on with what it began");
        }
        transfer.names.addAll(names);
    }

    void onAccept(final Link link, final long number, final int index, final long from) {
        final OutboundObject object = find(link, number, index);
        if (object == null || object.phase != OutboundObject.Phase.OFFERED) {
            return;
        }
        if (from < 0 || from > object.version.length()) {
            throw new LinkException("accepts from " + from + " of " + object.version.length() + " bytes");
        }
        object.sent = from;
        object.phase = OutboundObject.Phase.SENDING;
        stream(link, index).add(object);
    }

    private OutStream stream(final Link link, final int index) {
        if (link.streams.isEmpty()) {
            for (int i = 0; i < link.ownSessions.length; i++) {
                link.streams.add(new OutStream(i, wire.openData(link.peer.endpoint(), link.ownSessions[i])));
            }
        }
        return link.streams.get(index % link.streams.size());
    }

    void onResult(final Link link, final long number, final int index, final Outcome outcome) {
        final OutboundTransfer transfer = link.outbound.get(number);
        if (transfer == null || index < 0 || index >= transfer.objects.length) {
            return;
        }
        end(transfer, index, outcome);
    }

    void onCorrupt(final ObjectName name, final ObjectVersion version) {
        try {
            context.source().reportedCorrupt(name, version);
        } catch (final RuntimeException e) {
            context.errors().onError("the source failed at a report: " + e);
        }
    }

    private static OutboundObject find(final Link link, final long number, final int index) {
        final OutboundTransfer transfer = link.outbound.get(number);
        return transfer == null || index < 0 || index >= transfer.objects.length ? null : transfer.objects[index];
    }

    // From a name to bytes.

    private int open(final Link link) {
        int work = 0;
        while (link.openObjects < context.maxOpenObjects()) {
            final OutboundTransfer transfer = nextToOpen(link);
            if (transfer == null || !answers.take()) {
                break;
            }
            open(transfer, transfer.nextToOpen++);
            work++;
        }
        return work;
    }

    /** Of those that have names left: loads first, in turns. */
    private static OutboundTransfer nextToOpen(final Link link) {
        OutboundTransfer store = null;
        for (int i = link.toOpen.size(); i > 0; i--) {
            final OutboundTransfer transfer = link.toOpen.poll();
            while (transfer.nextToOpen < transfer.names.size() && transfer.skipped[transfer.nextToOpen]) {
                transfer.nextToOpen++;
            }
            if (transfer.live == 0 || transfer.nextToOpen == transfer.objects.length) {
                continue;
            }
            link.toOpen.add(transfer);
            if (transfer.nextToOpen < transfer.names.size()) {
                if (transfer.priority == Priority.LOAD) {
                    return transfer;
                }
                store = store == null ? transfer : store;
            }
        }
        return store;
    }

    private void open(final OutboundTransfer transfer, final int index) {
        final OutboundObject object = new OutboundObject(transfer, index);
        transfer.objects[index] = object;
        transfer.link.openObjects++;
        context.counters().add(Counter.OPEN_OBJECTS, 1);
        flushSource = true;
        final AtomicBoolean answered = new AtomicBoolean();
        try {
            context.source()
                    .open(transfer.names.get(index), transfer.deadlineNs, transfer.priority, new SourceAnswer() {
                        @Override
                        public void ready(final SourceObject source) {
                            Answers.once(answered);
                            answers.answer(() -> onReady(object, source));
                        }

                        @Override
                        public void refuse(final Outcome reason) {
                            Answers.once(answered);
                            answers.answer(() -> onMissing(object, reason));
                        }
                    });
        } catch (final RuntimeException e) {
            context.errors().onError("the source failed at an object: " + e);
            if (answered.compareAndSet(false, true)) {
                answers.answer(() -> onMissing(object, Outcome.MISSING));
            }
        }
    }

    private void onReady(final OutboundObject object, final SourceObject source) {
        final OutboundTransfer transfer = object.transfer;
        object.source = source;
        final ObjectVersion version = source.version();
        if (object.phase == OutboundObject.Phase.ENDED) {
            release(object);
        } else if (version.length() < 1) {
            context.errors().onError("the source gave an object of " + version.length() + " bytes");
            missing(object, Outcome.MISSING);
        } else {
            object.version = version;
            object.tag = version.tag();
            object.phase = OutboundObject.Phase.OFFERED;
            links.send(transfer.link, messages.offer(transfer.link, transfer.number, object.index, version));
        }
    }

    private void onMissing(final OutboundObject object, final Outcome reason) {
        if (object.phase == OutboundObject.Phase.ENDED) {
            closed(object);
        } else {
            missing(object, reason);
        }
    }

    private void missing(final OutboundObject object, final Outcome reason) {
        final OutboundTransfer transfer = object.transfer;
        links.send(transfer.link, messages.offer(transfer.link, transfer.number, object.index, reason));
        if (object.source == null) {
            closed(object);
        }
        end(transfer, object.index, reason);
    }

    /** The link does not touch the bytes any more. */
    private void release(final OutboundObject object) {
        final SourceObject source = object.source;
        object.source = null;
        closed(object);
        try {
            source.release();
        } catch (final RuntimeException e) {
            context.errors().onError("the source failed at a release: " + e);
        }
        flushSource = true;
    }

    private void closed(final OutboundObject object) {
        object.transfer.link.openObjects--;
        context.counters().add(Counter.OPEN_OBJECTS, -1);
    }

    // Bytes.

    private int send(final Link link) {
        int work = 0;
        for (int i = 0; i < link.streams.size(); i++) {
            final OutStream stream = link.streams.get(i);
            if (stream.next() == null) {
                continue;
            }
            final Wire.State state = stream.out.state();
            if (state == Wire.State.GONE) {
                links.lose(link, Outcome.UNREACHABLE, "it does not take a data stream any more");
                return 1;
            }
            if (state == Wire.State.OPENING) {
                continue;
            }
            for (int turn = 0; turn < SLICES; turn++) {
                final OutboundObject object = stream.next();
                if (object == null || !send(stream, object)) {
                    break;
                }
                work++;
            }
        }
        return work;
    }

    /** False: the stream takes nothing more now. */
    private boolean send(final OutStream stream, final OutboundObject object) {
        final SliceOut.Result result = slices.send(stream, object);
        if (result == SliceOut.Result.UNREADABLE) {
            missing(object, Outcome.MISSING);
        } else if (result == SliceOut.Result.CONFIRMED) {
            release(object);
            if (object.transfer.push == null) {
                end(object.transfer, object.index, Outcome.STORED);
            } else {
                object.phase = OutboundObject.Phase.SENT;
            }
        }
        return result != SliceOut.Result.NO_SPACE;
    }

    // Ends.

    private void end(final OutboundTransfer transfer, final int index, final Outcome outcome) {
        final OutboundObject object = transfer.objects[index];
        if (object == null ? transfer.skipped[index] : object.phase == OutboundObject.Phase.ENDED) {
            return;
        }
        if (object == null) {
            transfer.skipped[index] = true;
        } else {
            object.phase = OutboundObject.Phase.ENDED;
            if (object.source != null) {
                release(object);
            }
        }
        transfer.live--;
        if (transfer.push != null) {
            report(transfer.push, index, outcome, transfer.live == 0);
        }
        if (transfer.live == 0) {
            transfers.remove(transfer);
            transfer.link.outbound.remove(transfer.number, transfer);
        }
    }

    private void report(final Push push, final int index, final Outcome outcome, final boolean last) {
        try {
            push.request.listener().onObject(index, outcome);
            if (last) {
                push.request.listener().onEnd();
            }
        } catch (final RuntimeException e) {
            context.errors().onError("a transfer's listener failed: " + e);
        }
    }

    private void endAll(final Push push, final Outcome outcome) {
        for (int i = 0; i < push.request.objects().size(); i++) {
            report(push, i, outcome, i == push.request.objects().size() - 1);
        }
    }

    private void endAll(final OutboundTransfer transfer, final Outcome outcome) {
        for (int i = 0; i < transfer.objects.length; i++) {
            end(transfer, i, outcome);
        }
    }

    void onClosed(final Link link, final Outcome outcome) {
        link.streams.forEach(stream -> stream.out.close());
        link.streams.clear();
        for (final OutboundTransfer transfer : List.copyOf(link.outbound.values())) {
            endAll(transfer, outcome);
        }
    }

    void endAll(final Outcome outcome) {
        for (final Push push : List.copyOf(pushesToStart)) {
            endAll(push, outcome);
        }
        pushesToStart.clear();
        for (final OutboundTransfer transfer : List.copyOf(transfers)) {
            endAll(transfer, outcome);
        }
    }

    // Time.

    int doWork(final long now) {
        nowNs = now;
        int work = 0;
        for (int i = links.all().size() - 1; i >= 0; i--) {
            if (i < links.all().size()) {
                final Link link = links.all().get(i);
                work += open(link);
                work += send(link);
            }
        }
        if (flushSource) {
            flushSource = false;
            try {
                context.source().flush();
            } catch (final RuntimeException e) {
                context.errors().onError("the source failed at flush: " + e);
            }
        }
        return work;
    }

    void tick() {
        if (!pushesToStart.isEmpty()) {
            begin();
        }
        for (final OutboundTransfer transfer : List.copyOf(transfers)) {
            if (nowNs - transfer.deadlineNs >= 0) {
                links.send(transfer.link, messages.refuse(transfer.link, transfer.number, Outcome.DEADLINE));
                endAll(transfer, Outcome.DEADLINE);
            }
        }
    }
}
