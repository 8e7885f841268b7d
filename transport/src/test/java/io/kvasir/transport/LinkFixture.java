package io.kvasir.transport;

import java.io.IOException;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import java.util.stream.IntStream;

/** Real links with real media drivers in this process, driven by the test's thread. */
final class LinkFixture implements AutoCloseable {
    static final String SECRET = "a secret of the test's own cluster";
    private static final long PATIENCE_NS = 20_000_000_000L;

    /** One node: its link and its objects. */
    static final class Node {
        final Shelf shelf = new Shelf();
        final List<String> errors = new ArrayList<>();
        final LinkCounters counters = new LinkCounters();
        LinkContext context;
        PeerLink link;
        boolean paused;

        Peer peer() {
            return context.self();
        }

        long count(final LinkCounters.Counter counter) {
            return counters.get(counter);
        }
    }

    private final Path directory;
    final List<Node> nodes = new ArrayList<>();
    final List<UdpRelay> relays = new ArrayList<>();

    LinkFixture() {
        try {
            directory = Files.createTempDirectory(Path.of("/dev/shm"), "kvasir-link-test-");
        } catch (final IOException e) {
            throw new IllegalStateException(e);
        }
    }

    Node node() {
        return node(context -> {});
    }

    Node node(final Consumer<LinkContext> settings) {
        final Node node = new Node();
        final int number = nodes.size();
        node.context = new LinkContext()
                .self(new Peer("127.0.0.1", freePort(), new Incarnation(number, ~number)))
                .aeronDirectory(directory.resolve("aeron-" + number))
                .secret(SECRET)
                .silence(Duration.ofSeconds(2))
                .mtu(8192)
                .termLength(1 << 18)
                .window(1 << 17)
                .source(node.shelf)
                .sink(node.shelf)
                .counters(node.counters)
                .errors(node.errors::add);
        settings.accept(node.context);
        node.link = PeerLink.open(node.context);
        nodes.add(node);
        return node;
    }

    static int freePort() {
        try (DatagramSocket socket = new DatagramSocket(0, InetAddress.getLoopbackAddress())) {
            return socket.getLocalPort();
        } catch (final IOException e) {
            throw new IllegalStateException(e);
        }
    }

    Ends pull(final Node to, final Duration within, final List<Peer> holders, final int... numbers) {
        final Ends ends = new Ends();
        to.link.pull(new PullRequest(holders, names(numbers), deadline(within), Priority.LOAD, null, ends));
        return ends;
    }

    Ends push(final Node from, final Duration within, final Peer to, final int... numbers) {
        final Ends ends = new Ends();
        from.link.push(new PushRequest(to, names(numbers), deadline(within), Priority.STORE, ends));
        return ends;
    }

    static List<ObjectName> names(final int... numbers) {
        return IntStream.of(numbers).mapToObj(Shelf::name).toList();
    }

    static long deadline(final Duration within) {
        return System.nanoTime() + within.toNanos();
    }

    /** One duty cycle of every node that is not paused. */
    void turn() {
        relays.forEach(UdpRelay::turn);
        for (final Node node : nodes) {
            if (!node.paused) {
                node.link.doWork();
            }
        }
    }

    void until(final BooleanSupplier condition) {
        final long end = System.nanoTime() + PATIENCE_NS;
        while (!condition.getAsBoolean()) {
            if (System.nanoTime() > end) {
                throw new AssertionError("not reached; errors: "
                        + nodes.stream()
                                .map(node -> node.errors.toString() + node.counters)
                                .toList());
            }
            turn();
        }
    }

    void turnFor(final Duration time) {
        final long end = System.nanoTime() + time.toNanos();
        while (System.nanoTime() < end) {
            turn();
        }
    }

    @Override
    public void close() {
        for (final Node node : nodes) {
            node.link.onClose();
            node.shelf.arena.close();
        }
        try (var files = Files.walk(directory)) {
            files.sorted(java.util.Comparator.reverseOrder())
                    .forEach(file -> file.toFile().delete());
        } catch (final IOException e) {
            throw new IllegalStateException(e);
        }
    }
}
