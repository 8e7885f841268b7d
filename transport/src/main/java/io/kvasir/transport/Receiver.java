package io.kvasir.transport;

import io.kvasir.transport.LinkCounters.Counter;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * The receiving side of all links: own pulls and peers' pushes, from which holder each object is pulled, and how each one
 * ends. It alone looks up which object a slice belongs to, and it alone ends a reservation. So a slice that comes late,
 * twice, or from somebody else finds nothing to write into.
 */
final class Receiver {
    /** The first retry is at once, others wait this long for each try so far. */
    private static final long RETRY_NS = 10_000_000;

    private final LinkContext context;
    private final Links links;
    private final Messages messages;
    private final InboundSlots slots;
    private final List<Pull> pulls = new ArrayList<>();
    private final List<InboundTransfer> pushes = new ArrayList<>();
    private long nowNs;

    Receiver(final LinkContext context, final Links links, final Messages messages, final Answers answers) {
        this.context = context;
        this.links = links;
        this.messages = messages;
        slots = new InboundSlots(context, links, messages, answers, new InboundSlots.Listener() {
            @Override
            public void progressed(final InboundTransfer transfer) {
                transfer.lastProgressNs = nowNs;
            }

            @Override
            public void refused(final InboundObject object, final Outcome reason) {
                endHere(object, reason);
            }
        });
        nowNs = context.nanoClock().nanoTime();
    }

    int pulls() {
        return pulls.size();
    }

    // Own pulls.

    void start(final Pull pull) {
        pulls.add(pull);
        if (pulls.size() > context.maxTransfers()) {
            endAll(pull, Outcome.BUSY);
        } else if (pull.live > 0) {
            pull.toRetry.addAll(Arrays.asList(pull.objects));
            attempt(pull);
        }
    }

    /** Asks the next holder of each object that waits for one. */
    private void attempt(final Pull pull) {
        final List<InboundObject> waiting = List.copyOf(pull.toRetry);
        pull.toRetry.clear();
        for (int holder = 0; holder < pull.request.holders().size(); holder++) {
            final List<InboundObject> objects = new ArrayList<>();
            for (final InboundObject object : waiting) {
                if (object.holder == holder && !object.ended) {
                    objects.add(object);
                }
            }
            if (objects.isEmpty()) {
                continue;
            }
            final Link link = links.to(pull.request.holders().get(holder));
            if (link == null) {
                objects.forEach(object -> object.lastFailure = Outcome.BUSY);
                pull.toRetry.addAll(objects);
                pull.retryNs = nowNs + RETRY_NS;
                continue;
            }
            final InboundTransfer transfer = new InboundTransfer(
                    freshNumber(link),
                    link,
                    pull.request.priority(),
                    pull.request.deadlineNs(),
                    pull,
                    objects.toArray(InboundObject[]::new),
                    nowNs);
            for (int i = 0; i < transfer.objects.length; i++) {
                transfer.objects[i].transfer = transfer;
                transfer.objects[i].wireIndex = i;
            }
            link.inbound.put(transfer.number, transfer);
            if (link.ready) {
                ask(transfer);
            }
        }
    }

    private long freshNumber(final Link link) {
        long number;
        do {
            number = context.random().getAsLong();
        } while (link.inbound.containsKey(number));
        return number;
    }

    private void ask(final InboundTransfer transfer) {
        transfer.asked = true;
        transfer.lastProgressNs = nowNs;
        final int most = messages.namesOfOne();
        for (int first = 0; first < transfer.objects.length; first += most) {
            final List<ObjectName> names = new ArrayList<>();
            for (int i = first; i < Math.min(transfer.objects.length, first + most); i++) {
                names.add(transfer.objects[i].name);
            }
            links.send(
                    transfer.link,
                    messages.pull(
                            transfer.link,
                            transfer.number,
                            transfer.deadlineNs - nowNs,
                            transfer.priority,
                            transfer.objects.length,
                            first,
                            names));
        }
    }

    void onUp(final Link link) {
        for (final InboundTransfer transfer : List.copyOf(link.inbound.values())) {
            if (!transfer.asked && transfer.pull != null) {
                ask(transfer);
            }
        }
    }

    void cancel(final Pull pull, final int index) {
        for (final InboundObject object : pull.objects) {
            if (index < 0 || object.index == index) {
                endHere(object, Outcome.CANCELLED);
            }
        }
    }

    private void endAll(final Pull pull, final Outcome outcome) {
        for (final InboundObject object : pull.objects) {
            endHere(object, outcome);
        }
    }

    /** Ends an object for a reason of this side; the holder is told. */
    void endHere(final InboundObject object, final Outcome outcome) {
        if (object.ended) {
            return;
        }
        if (object.transfer != null && object.transfer.asked) {
            tell(object, outcome);
        }
        end(object, outcome);
    }

    private void tell(final InboundObject object, final Outcome outcome) {
        final InboundTransfer transfer = object.transfer;
        links.send(transfer.link, messages.result(transfer.link, transfer.number, object.wireIndex, outcome));
    }

    // Messages of peers.

    void onPush(final Link link, final Announced announced, final List<ObjectName> names) {
        announced.check("push", names.size());
        InboundTransfer transfer = link.inbound.get(announced.transfer());
        if (transfer == null) {
            if (announced.first() != 0) {
                return; // It ended before its list was complete.
            }
            int pushed = 0;
            for (final InboundTransfer other : link.inbound.values()) {
                pushed += other.pull == null ? 1 : 0;
            }
            transfer = new InboundTransfer(
                    announced.transfer(),
                    link,
                    announced.priority(),
                    announced.deadlineNs(),
                    null,
                    new InboundObject[announced.total()],
                    nowNs);
            transfer.asked = true;
            link.inbound.put(transfer.number, transfer);
            pushes.add(transfer);
            if (pushed >= context.maxTransfers()) {
                transfer.live = 0;
                for (int i = 0; i < announced.total(); i++) {
                    links.send(link, messages.result(link, transfer.number, i, Outcome.BUSY));
                }
                forget(transfer);
                return;
            }
        }
        if (transfer.pull != null
                || transfer.objects.length != announced.total()
                || transfer.announced != announced.first()) {
            throw new LinkException("push " + announced + " does not go on with what it began");
        }
        for (final ObjectName name : names) {
            final InboundObject object = new InboundObject(transfer.announced, name, null, context.sink());
            object.transfer = transfer;
            object.wireIndex = transfer.announced;
            transfer.objects[transfer.announced++] = object;
        }
    }

    void onOffer(
            final Link link, final long number, final int index, final ObjectVersion version, final Outcome refusal) {
        final InboundObject object = find(link, number, index);
        if (object == null) {
            return;
        }
        object.transfer.lastProgressNs = nowNs;
        if (version == null) {
            failed(object, refusal, true);
        } else if (object.offered != null) {
            throw new LinkException("object " + index + " was offered twice");
        } else if (version.length() < 1 || version.length() > context.maxObjectBytes()) {
            context.errors().onError(link.peer + " offers an object of " + version.length() + " bytes");
            endHere(object, Outcome.REFUSED);
        } else {
            object.offered = version;
            slots.proceed(object);
        }
    }

    void onRefuse(final Link link, final long number, final Outcome outcome) {
        final InboundTransfer transfer = link.inbound.get(number);
        if (transfer != null) {
            for (final InboundObject object : transfer.objects.clone()) {
                if (object != null && object.transfer == transfer) {
                    failed(object, outcome, true);
                }
            }
            forget(transfer);
        }
    }

    /** Null when the link has no such object under way, or not any more. */
    static InboundObject find(final Link link, final long number, final int index) {
        final InboundTransfer transfer = link.inbound.get(number);
        if (transfer == null || index < 0 || index >= transfer.objects.length) {
            return null;
        }
        final InboundObject object = transfer.objects[index];
        return object == null || object.ended || object.transfer != transfer ? null : object;
    }

    // Bytes.

    /** Slices of the object were written into its slot. */
    void onSlice(final InboundObject object) {
        object.transfer.lastProgressNs = nowNs;
        object.transfer.link.lastHeardNs = nowNs;
    }

    /** The holder has sent the last slice of an accepted object; {@code unchanged}: all were of the version it offered. */
    void onDone(final InboundObject object, final boolean unchanged) {
        object.transfer.link.lastHeardNs = nowNs;
        if (!unchanged) {
            context.counters().add(Counter.OBJECTS_CHANGED, 1);
            object.restart();
            failed(object, Outcome.MISSING, true);
        } else if (object.received < object.reservedVersion.length()) {
            // Slices are missing: the rest is asked for again.
            failed(object, Outcome.UNREACHABLE, false);
        } else if (!object.intact()) {
            corrupt(object);
        } else {
            context.counters().add(Counter.OBJECTS_RECEIVED, 1);
            if (object.pull == null) {
                tell(object, Outcome.STORED);
            }
            end(object, Outcome.STORED);
        }
    }

    private void corrupt(final InboundObject object) {
        context.counters().add(Counter.OBJECTS_CORRUPT, 1);
        final Peer holder = object.transfer.link.peer;
        final ObjectVersion version = object.reservedVersion;
        context.errors().onError(holder + " sent bytes with another checksum than their version");
        if (object.pull != null) {
            final Link link = object.transfer.link;
            links.send(link, messages.corrupt(link, object.name, version));
            try {
                object.pull.request.listener().onCorrupt(object.index, holder, version);
            } catch (final RuntimeException e) {
                context.errors().onError("a transfer's listener failed: " + e);
            }
        }
        object.restart();
        failed(object, Outcome.CORRUPT, true);
    }

    // Ends.

    /** This attempt is over for the object: the next holder is asked, if there is one. */
    private void failed(final InboundObject object, final Outcome why, final boolean exclude) {
        if (object.ended || object.transfer == null) {
            return;
        }
        final Pull pull = object.pull;
        if (pull == null) {
            endHere(object, why);
            return;
        }
        leave(object);
        object.lastFailure = why;
        object.tries++;
        if (exclude) {
            object.excludedHolders |= 1L << object.holder;
        }
        final int next = pull.nextHolder(object.holder, object.excludedHolders);
        if (next < 0 || object.tries >= pull.maxTries()) {
            end(object, why);
            return;
        }
        context.counters().add(Counter.OBJECTS_RETRIED, 1);
        object.holder = next;
        pull.toRetry.add(object);
        pull.retryNs = nowNs + (object.tries > 1 ? RETRY_NS * object.tries : 0);
    }

    /** Off the transfer: what still comes under its number finds nothing. */
    private void leave(final InboundObject object) {
        final InboundTransfer transfer = object.transfer;
        object.transfer = null;
        object.offered = null;
        object.accepted = false;
        if (transfer != null && --transfer.live == 0) {
            forget(transfer);
        }
        slots.releaseCredit(object);
    }

    private void forget(final InboundTransfer transfer) {
        transfer.link.inbound.remove(transfer.number, transfer);
        if (transfer.pull == null) {
            pushes.remove(transfer);
        }
    }

    private void end(final InboundObject object, final Outcome outcome) {
        object.ended = true;
        if (object.reservation != null) {
            slots.giveBack(object, outcome);
        }
        leave(object);
        final Pull pull = object.pull;
        if (pull == null) {
            return;
        }
        pull.live--;
        try {
            pull.request.listener().onObject(object.index, outcome);
            if (pull.live == 0) {
                pull.request.listener().onEnd();
            }
        } catch (final RuntimeException e) {
            context.errors().onError("a transfer's listener failed: " + e);
        }
        if (pull.live == 0) {
            pulls.remove(pull);
        }
    }

    /** Nothing more comes from this holder, and none of the pulls under way asks it again. */
    void gone(final Peer peer) {
        for (final Pull pull : List.copyOf(pulls)) {
            final int holder = pull.request.holders().indexOf(peer);
            for (final InboundObject object : pull.objects) {
                if (holder < 0 || object.ended) {
                    continue;
                }
                object.excludedHolders |= 1L << holder;
                if (object.holder == holder && object.transfer != null) {
                    failed(object, Outcome.UNREACHABLE, true);
                } else if (object.holder == holder) {
                    final int next = pull.nextHolder(holder, object.excludedHolders);
                    if (next < 0) {
                        pull.toRetry.remove(object);
                        end(object, Outcome.UNREACHABLE);
                    } else {
                        object.holder = next;
                    }
                }
            }
        }
    }

    void onClosed(final Link link, final Outcome outcome) {
        // Another start of the peer, or one without the secret, will not become better.
        final boolean hopeless = outcome == Outcome.NOT_PROVEN || outcome == Outcome.OTHER_PROTOCOL;
        for (final InboundTransfer transfer : List.copyOf(link.inbound.values())) {
            for (final InboundObject object : transfer.objects) {
                if (object != null && object.transfer == transfer) {
                    failed(object, outcome, hopeless);
                }
            }
            forget(transfer);
        }
    }

    void endAll(final Outcome outcome) {
        for (final Pull pull : List.copyOf(pulls)) {
            endAll(pull, outcome);
        }
        for (final InboundTransfer push : List.copyOf(pushes)) {
            for (final InboundObject object : push.objects) {
                if (object != null) {
                    endHere(object, outcome);
                }
            }
            forget(push);
        }
    }

    // Time.

    int doWork(final long now) {
        nowNs = now;
        return slots.flush();
    }

    void tick() {
        for (int i = pulls.size() - 1; i >= 0; i--) {
            if (i >= pulls.size()) {
                continue;
            }
            final Pull pull = pulls.get(i);
            if (nowNs - pull.request.deadlineNs() >= 0) {
                endAll(pull, Outcome.DEADLINE);
            } else if (!pull.toRetry.isEmpty() && nowNs - pull.retryNs >= 0) {
                attempt(pull);
            }
        }
        for (final InboundTransfer push : List.copyOf(pushes)) {
            if (nowNs - push.deadlineNs >= 0) {
                for (final InboundObject object : push.objects) {
                    if (object != null) {
                        endHere(object, Outcome.DEADLINE);
                    }
                }
                forget(push);
            }
        }
        slots.tick();
        for (final Link link : List.copyOf(links.all())) {
            stalled(link);
        }
    }

    /** Holders that answered and then stopped: what waits for them goes on with others, where there are others. */
    private void stalled(final Link link) {
        final long stall = context.stall().toNanos();
        for (final InboundTransfer transfer : List.copyOf(link.inbound.values())) {
            if (transfer.pull == null || transfer.pull.request.holders().size() < 2) {
                continue;
            }
            final long quiet = nowNs - transfer.lastProgressNs;
            if (quiet < stall || (nowNs - link.lastHeardNs < stall && quiet < 4 * stall)) {
                continue;
            }
            for (final InboundObject object : transfer.objects) {
                // What waits for this side's own sink or credit is not the holder's fault.
                final boolean holdersTurn = object.offered == null || object.accepted;
                if (object.transfer == transfer
                        && holdersTurn
                        && object.pull.nextHolder(object.holder, object.excludedHolders) != object.holder) {
                    if (transfer.asked) {
                        tell(object, Outcome.CANCELLED);
                    }
                    failed(object, Outcome.UNREACHABLE, false);
                }
            }
        }
    }
}
