package io.kvasir.transport;

import io.aeron.logbuffer.BufferClaim;
import io.aeron.protocol.DataHeaderFlyweight;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.PriorityQueue;
import java.util.SplittableRandom;
import org.agrona.BitUtil;
import org.agrona.BufferUtil;
import org.agrona.DirectBuffer;
import org.agrona.concurrent.UnsafeBuffer;

/**
 * A network for links in one process, with a clock and faults of its own, the same for the same seed. Worse than Aeron:
 * it also loses, doubles, reorders and damages single messages of data streams, which Aeron mends or ends. Control
 * streams keep their order, as Aeron's do, and end now and then.
 */
final class SimulatedNetwork {
    private static final int FRAME_HEADER = DataHeaderFlyweight.HEADER_LENGTH;
    private static final int WINDOW = 16;

    private record Event(long atNs, long order, Runnable run) {}

    /** Chances in 1,000 for each message. */
    int lose;

    int twice;
    int late;
    int damage;
    int replay;
    int endStream;

    final SplittableRandom random;
    private final Map<String, SimulatedWire> wires = new HashMap<>();
    private final List<byte[]> heard = new ArrayList<>();
    private long nowNs = 1_000_000_000_000L;
    private long order;
    private long nextSource = 1;

    SimulatedNetwork(final long seed) {
        random = new SplittableRandom(seed);
    }

    long nanoTime() {
        return nowNs;
    }

    void pass(final long ns) {
        nowNs += ns;
    }

    boolean chance(final int inThousand) {
        return inThousand > 0 && random.nextInt(1000) < inThousand;
    }

    /** Control messages that were on the network, in their order. */
    List<byte[]> heard() {
        return heard;
    }

    /** Somebody who recorded a message sends it to a node, over a stream of its own. */
    void play(final Peer to, final byte[] message) {
        new SimulatedControl(wires.get(to.endpoint()), nextSource++).strange(message);
    }

    Wire wire(final Peer self) {
        final SimulatedWire wire = new SimulatedWire(self.endpoint());
        wires.put(self.endpoint(), wire);
        return wire;
    }

    private long delay() {
        return random.nextLong(20_000, 120_000);
    }

    private final class SimulatedWire implements Wire {
        private final String endpoint;
        private final PriorityQueue<Event> events =
                new PriorityQueue<>(Comparator.comparingLong(Event::atNs).thenComparingLong(Event::order));
        private final Map<Integer, SimulatedIn> listening = new HashMap<>();
        private final Map<Long, SimulatedControl> sources = new HashMap<>();
        private final List<SimulatedOut> outs = new ArrayList<>();
        private ControlHandler handler;
        private boolean closed;

        SimulatedWire(final String endpoint) {
            this.endpoint = endpoint;
        }

        private void at(final long ns, final Runnable run) {
            events.add(new Event(ns, order++, run));
        }

        @Override
        public int maxControl() {
            return 1024;
        }

        @Override
        public int maxData() {
            return 1024;
        }

        @Override
        public ControlOut openControl(final String to) {
            final SimulatedControl control = new SimulatedControl(wires.get(to), nextSource++);
            if (control.to != null) {
                control.deliver(() -> {
                    control.to.sources.put(control.source, control);
                    control.to.handler.onControlOpened(control.source);
                    control.state = State.UP;
                });
            }
            return control;
        }

        @Override
        public DataOut openData(final String to, final int session) {
            final SimulatedOut out = new SimulatedOut(wires.get(to), session);
            outs.add(out);
            return out;
        }

        @Override
        public DataIn listen(final int session, final DataHandler data) {
            final SimulatedIn in = new SimulatedIn(this, session, data);
            listening.put(session, in);
            return in;
        }

        @Override
        public void reject(final long source, final String reason) {
            final SimulatedControl control = sources.remove(source);
            if (control != null) {
                control.rejection = reason;
            }
        }

        @Override
        public int doWork(final ControlHandler controlHandler) {
            handler = controlHandler;
            int work = 0;
            for (final SimulatedOut out : List.copyOf(outs)) {
                work += out.send();
            }
            while (!events.isEmpty() && events.peek().atNs <= nowNs) {
                events.poll().run.run();
                work++;
            }
            return work;
        }

        @Override
        public void close() {
            closed = true;
            wires.remove(endpoint, this);
        }
    }

    private final class SimulatedControl implements Wire.ControlOut {
        private final SimulatedWire to;
        private final long source;
        private Wire.State state = Wire.State.OPENING;
        private String rejection;
        private long lastNs;

        SimulatedControl(final SimulatedWire to, final long source) {
            this.to = to;
            this.source = source;
        }

        private void deliver(final Runnable run) {
            lastNs = Math.max(lastNs + 1, nowNs + delay());
            to.at(lastNs, run);
        }

        @Override
        public Wire.State state() {
            return to != null && to.closed ? Wire.State.GONE : state;
        }

        @Override
        public String rejection() {
            return rejection;
        }

        @Override
        public boolean offer(final DirectBuffer message, final int offset, final int length) {
            if (state != Wire.State.UP) {
                return false;
            }
            if (chance(endStream)) {
                end();
                return true;
            }
            final byte[] copy = new byte[length];
            message.getBytes(offset, copy);
            heard.add(copy);
            if (chance(damage)) {
                copy[random.nextInt(length)] ^= (byte) (1 << random.nextInt(8));
            }
            deliver(() -> hear(copy));
            if (chance(replay)) {
                strange(heard.get(random.nextInt(heard.size())));
            }
            return true;
        }

        private void hear(final byte[] message) {
            if (to.sources.containsKey(source)) {
                to.handler.onControl(source, new UnsafeBuffer(message), 0, message.length);
            }
        }

        /** Somebody plays what was heard before, over a stream of its own. */
        private void strange(final byte[] message) {
            final SimulatedControl stranger = new SimulatedControl(to, nextSource++);
            stranger.deliver(() -> {
                to.sources.put(stranger.source, stranger);
                to.handler.onControlOpened(stranger.source);
                stranger.hear(message);
            });
        }

        private void end() {
            if (state == Wire.State.UP) {
                state = Wire.State.GONE;
                deliver(() -> {
                    if (to.sources.remove(source) != null) {
                        to.handler.onControlGone(source);
                    }
                });
            }
        }

        @Override
        public void close() {
            end();
            state = Wire.State.GONE;
        }
    }

    private final class SimulatedOut implements Wire.DataOut {
        private final SimulatedWire to;
        private final int session;
        private final List<UnsafeBuffer> claimed = new ArrayList<>();
        private final List<UnsafeBuffer> past = new ArrayList<>();
        private long lastNs;
        private int underWay;
        private boolean gone;

        SimulatedOut(final SimulatedWire to, final int session) {
            this.to = to;
            this.session = session;
        }

        @Override
        public Wire.State state() {
            if (gone || to == null || to.closed) {
                return Wire.State.GONE;
            }
            return to.listening.containsKey(session) ? Wire.State.UP : Wire.State.OPENING;
        }

        @Override
        public boolean claim(final int length, final BufferClaim claim) {
            if (underWay + claimed.size() >= WINDOW) {
                return false;
            }
            final UnsafeBuffer frame = new UnsafeBuffer(
                    BufferUtil.allocateDirectAligned(BitUtil.align(length + FRAME_HEADER, 8), 8),
                    0,
                    length + FRAME_HEADER);
            frame.putShort(DataHeaderFlyweight.TYPE_FIELD_OFFSET, (short) DataHeaderFlyweight.HDR_TYPE_DATA);
            claim.wrap(frame, 0, length + FRAME_HEADER);
            claimed.add(frame);
            return true;
        }

        int send() {
            final int count = claimed.size();
            for (final UnsafeBuffer frame : claimed) {
                if (frame.getShort(DataHeaderFlyweight.TYPE_FIELD_OFFSET) == DataHeaderFlyweight.HDR_TYPE_DATA) {
                    send(frame);
                }
            }
            claimed.clear();
            return count;
        }

        private void send(final UnsafeBuffer frame) {
            past.add(frame);
            if (chance(lose)) {
                return;
            }
            if (chance(damage)) {
                final int at = FRAME_HEADER + random.nextInt(frame.capacity() - FRAME_HEADER);
                frame.putByte(at, (byte) (frame.getByte(at) ^ 1 << random.nextInt(8)));
            }
            lastNs = Math.max(lastNs + 1, nowNs + delay());
            deliver(frame, chance(late) ? lastNs + delay() * 20 : lastNs);
            if (chance(twice)) {
                deliver(frame, lastNs + delay());
            }
            if (chance(replay)) {
                deliver(past.get(random.nextInt(past.size())), lastNs + delay());
            }
        }

        private void deliver(final UnsafeBuffer frame, final long ns) {
            underWay++;
            to.at(ns, () -> {
                underWay--;
                final SimulatedIn in = to.listening.get(session);
                if (in != null) {
                    in.data.onData(frame, FRAME_HEADER, frame.capacity() - FRAME_HEADER);
                }
            });
        }

        @Override
        public void close() {
            gone = true;
        }
    }

    private record SimulatedIn(SimulatedWire wire, int session, Wire.DataHandler data) implements Wire.DataIn {
        @Override
        public Wire.State state() {
            return Wire.State.UP;
        }

        @Override
        public void close() {
            wire.listening.remove(session, this);
        }
    }
}
