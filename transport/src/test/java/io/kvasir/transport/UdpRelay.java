package io.kvasir.transport;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.net.StandardSocketOptions;
import java.nio.ByteBuffer;
import java.nio.channels.DatagramChannel;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;

/**
 * Stands before a node's port and loses, doubles, reorders and replays datagrams in both directions. The test's thread
 * turns it; nothing happens in between.
 */
final class UdpRelay implements AutoCloseable {
    private static final int MOST_REMEMBERED = 400;

    private record Held(DatagramChannel through, SocketAddress to, byte[] bytes) {}

    private final SplittableRandom random;
    private final InetSocketAddress target;
    private final DatagramChannel front;
    private final Map<SocketAddress, DatagramChannel> behind = new HashMap<>();
    private final Map<DatagramChannel, SocketAddress> clients = new HashMap<>();
    private final List<Held> held = new ArrayList<>();
    private final List<byte[]> past = new ArrayList<>();
    private final ByteBuffer buffer = ByteBuffer.allocateDirect(1 << 16);
    int lose;
    int twice;
    int late;
    int replay;
    long replayed;

    UdpRelay(final int port, final int target, final long seed) {
        random = new SplittableRandom(seed);
        this.target = new InetSocketAddress(InetAddress.getLoopbackAddress(), target);
        front = open(new InetSocketAddress(InetAddress.getLoopbackAddress(), port));
    }

    private static DatagramChannel open(final SocketAddress at) {
        try {
            final DatagramChannel channel = DatagramChannel.open();
            channel.setOption(StandardSocketOptions.SO_RCVBUF, 1 << 20);
            channel.bind(at);
            channel.configureBlocking(false);
            return channel;
        } catch (final IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    void turn() {
        try {
            for (SocketAddress from = receive(front); from != null; from = receive(front)) {
                final SocketAddress client = from;
                final DatagramChannel through = behind.computeIfAbsent(client, unknown -> {
                    final DatagramChannel made = open(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0));
                    clients.put(made, client);
                    return made;
                });
                pass(through, target);
            }
            for (final Map.Entry<DatagramChannel, SocketAddress> each : clients.entrySet()) {
                while (receive(each.getKey()) != null) {
                    pass(front, each.getValue());
                }
            }
            // What was kept back goes out in any order.
            while (held.size() > 8 || (!held.isEmpty() && random.nextInt(16) == 0)) {
                final Held one = held.remove(random.nextInt(held.size()));
                one.through.send(ByteBuffer.wrap(one.bytes), one.to);
            }
        } catch (final IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private SocketAddress receive(final DatagramChannel channel) throws IOException {
        buffer.clear();
        final SocketAddress from = channel.receive(buffer);
        buffer.flip();
        return from;
    }

    private void pass(final DatagramChannel through, final SocketAddress to) throws IOException {
        final byte[] bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        if (past.size() < MOST_REMEMBERED) {
            past.add(bytes);
        } else {
            past.set(random.nextInt(MOST_REMEMBERED), bytes);
        }
        if (chance(lose)) {
            return;
        }
        if (chance(late)) {
            held.add(new Held(through, to, bytes));
            return;
        }
        through.send(ByteBuffer.wrap(bytes), to);
        if (chance(twice)) {
            through.send(ByteBuffer.wrap(bytes), to);
        }
        if (chance(replay)) {
            through.send(ByteBuffer.wrap(past.get(random.nextInt(past.size()))), to);
            replayed++;
        }
    }

    private boolean chance(final int inThousand) {
        return inThousand > 0 && random.nextInt(1000) < inThousand;
    }

    /** What went through, for one who plays it again from elsewhere. */
    List<byte[]> past() {
        return List.copyOf(past);
    }

    @Override
    public void close() throws IOException {
        front.close();
        for (final DatagramChannel channel : clients.keySet()) {
            channel.close();
        }
    }
}
