package io.kvasir.transport;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.transport.LinkCounters.Counter;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

/**
 * Three links under random faults with a simulated clock and network: whatever happens, no object is stored with wrong
 * bytes, each transfer ends in time, and nothing stays reserved or leased. {@code -Dkvasir.link.operations=1000000} for
 * a long run, {@code -Dkvasir.link.seed=N} for one seed again.
 */
class LinkSimulationTest {
    private static final int OPERATIONS = Integer.getInteger("kvasir.link.operations", 10_000);
    private static final Long SEED = Long.getLong("kvasir.link.seed");
    private static final int OPERATIONS_OF_A_WORLD = 250;
    private static final int NODES = 3;

    @Test
    void keepsItsPromisesUnderRandomFaults() {
        final SplittableRandom seeds = new SplittableRandom();
        final Map<Outcome, Integer> seen = new HashMap<>();
        int operations = 0;
        while (operations < OPERATIONS) {
            final long seed = SEED == null ? seeds.nextLong() : SEED;
            try (World world = new World(seed)) {
                world.run();
                world.outcomes.forEach((outcome, count) -> seen.merge(outcome, count, Integer::sum));
            } catch (final RuntimeException | AssertionError e) {
                throw new AssertionError("seed " + seed + ": -Dkvasir.link.seed=" + seed, e);
            }
            operations += OPERATIONS_OF_A_WORLD;
            if (SEED != null) {
                break;
            }
        }
        System.out.println(operations + " operations, objects ended: " + seen);
        assertTrue(seen.getOrDefault(Outcome.STORED, 0) > operations / 10, () -> "too few objects arrive: " + seen);
    }

    @Test
    void theSameSeedGivesTheSameRun() {
        final List<String> runs = new ArrayList<>();
        for (int i = 0; i < 2; i++) {
            try (World world = new World(42)) {
                world.run();
                runs.add(world.outcomes + " "
                        + world.nodes.stream()
                                .map(node -> node.counters.toString())
                                .toList());
            }
        }
        assertEquals(runs.get(0), runs.get(1));
    }

    private static final class SimulatedNode {
        final Shelf shelf = new Shelf();
        final LinkCounters counters = new LinkCounters();
        Peer peer;
        PeerLink link;
        long pausedUntilNs;
    }

    private record Running(Ends ends, Transfer handle, long deadlineNs, int objects) {}

    private static final class World implements AutoCloseable {
        final SplittableRandom random;
        final SimulatedNetwork network;
        final List<SimulatedNode> nodes = new ArrayList<>();
        final List<Running> running = new ArrayList<>();
        final Map<Outcome, Integer> outcomes = new HashMap<>();

        World(final long seed) {
            random = new SplittableRandom(seed);
            network = new SimulatedNetwork(random.nextLong());
            network.lose = random.nextInt(20);
            network.twice = random.nextInt(20);
            network.late = random.nextInt(20);
            network.damage = random.nextInt(3);
            network.replay = random.nextInt(20);
            network.endStream = random.nextInt(4);
            for (int i = 0; i < NODES; i++) {
                final SimulatedNode node = new SimulatedNode();
                node.peer = new Peer("node" + i, 7000 + i, new Incarnation(i, seed));
                final LinkContext context = new LinkContext()
                        .self(node.peer)
                        .secret(LinkFixture.SECRET)
                        .dataStreams(1 + random.nextInt(3))
                        .credits(20_000 + random.nextInt(100_000))
                        .maxLinks(random.nextInt(8) == 0 ? 1 : 4)
                        .maxOpenObjects(1 + random.nextInt(8))
                        .maxReservations(1 + random.nextInt(8))
                        .handshakeTimeout(Duration.ofMillis(20))
                        .stall(Duration.ofMillis(5))
                        .idleClose(Duration.ofMillis(50))
                        .source(node.shelf)
                        .sink(node.shelf)
                        .counters(node.counters)
                        .nanoClock(network::nanoTime)
                        .random(random.split()::nextLong);
                node.link = PeerLink.over(context, network.wire(node.peer));
                nodes.add(node);
            }
        }

        void run() {
            for (int i = 0; i < OPERATIONS_OF_A_WORLD; i++) {
                operate();
                for (int turns = random.nextInt(40); turns > 0; turns--) {
                    turn();
                }
            }
            network.lose = 0;
            network.damage = 0;
            network.endStream = 0;
            settle();
        }

        private void operate() {
            final SimulatedNode node = nodes.get(random.nextInt(NODES));
            final SimulatedNode other = nodes.get(random.nextInt(NODES));
            switch (random.nextInt(20)) {
                case 0, 1, 2, 3, 11 -> pull(node);
                case 4, 5 -> {
                    if (other != node) {
                        push(node, other);
                    }
                }
                case 6 -> {
                    if (!running.isEmpty()) {
                        final Running one = running.get(random.nextInt(running.size()));
                        if (random.nextBoolean()) {
                            one.handle.cancel();
                        } else {
                            one.handle.cancel(random.nextInt(one.objects));
                        }
                    }
                }
                case 7, 12 -> node.pausedUntilNs = network.nanoTime() + random.nextInt(30_000_000);
                case 8 -> node.shelf.answersLater = random.nextBoolean();
                case 9 -> node.shelf.room = random.nextBoolean() ? random.nextInt(50_000) : 10_000_000;
                case 10 -> forget(node);
                default -> {
                    for (int i = random.nextInt(16); i > 0; i--) {
                        store(node);
                    }
                }
            }
        }

        /** One name has the same bytes everywhere, except that one in eight is of another version. */
        private void store(final SimulatedNode node) {
            final int number = random.nextInt(60);
            if (!node.shelf.held.containsKey(Shelf.name(number))
                    && !node.shelf.reserved.containsKey(Shelf.name(number))) {
                final int version = random.nextInt(8) == 0 ? 1 : 0;
                final int length = 1 + (number * 977 + version) % 30_000;
                node.shelf.put(Shelf.name(number), length, number * 2L + version);
                if (random.nextInt(20) == 0) {
                    node.shelf.held.get(Shelf.name(number)).changed = true;
                }
            }
        }

        private void forget(final SimulatedNode node) {
            node.shelf.held.values().removeIf(object -> object.leases == 0 && random.nextInt(3) == 0);
        }

        private int[] numbers() {
            final List<Integer> numbers = new ArrayList<>();
            for (int i = 1 + random.nextInt(20); i > 0; i--) {
                final int number = random.nextInt(60);
                if (!numbers.contains(number)) {
                    numbers.add(number);
                }
            }
            return numbers.stream().mapToInt(Integer::intValue).toArray();
        }

        private void pull(final SimulatedNode node) {
            final List<Peer> holders = new ArrayList<>();
            for (final SimulatedNode holder : nodes) {
                if (holder != node && (holders.isEmpty() || random.nextBoolean())) {
                    holders.add(holder.peer);
                }
            }
            final long deadline = network.nanoTime() + random.nextInt(200_000_000);
            final Ends ends = new Ends();
            final int[] numbers = numbers();
            final Transfer handle = node.link.pull(
                    new PullRequest(holders, LinkFixture.names(numbers), deadline, priority(), null, ends));
            running.add(new Running(ends, handle, deadline, numbers.length));
        }

        private void push(final SimulatedNode node, final SimulatedNode other) {
            final long deadline = network.nanoTime() + random.nextInt(200_000_000);
            final Ends ends = new Ends();
            final int[] numbers = numbers();
            final Transfer handle =
                    node.link.push(new PushRequest(other.peer, LinkFixture.names(numbers), deadline, priority(), ends));
            running.add(new Running(ends, handle, deadline, numbers.length));
        }

        private Priority priority() {
            return random.nextBoolean() ? Priority.LOAD : Priority.STORE;
        }

        private void turn() {
            network.pass(1 + random.nextInt(100_000));
            for (final SimulatedNode node : nodes) {
                if (node.pausedUntilNs < network.nanoTime()) {
                    node.link.doWork();
                    if (!node.shelf.answersLater || random.nextInt(50) == 0) {
                        node.shelf.answerNow();
                    }
                }
            }
            running.removeIf(one -> {
                if (one.ends.ended) {
                    assertEquals(one.objects, one.ends.outcomes.size());
                    one.ends.outcomes.values().forEach(outcome -> outcomes.merge(outcome, 1, Integer::sum));
                }
                return one.ends.ended;
            });
        }

        private void settle() {
            for (final SimulatedNode node : nodes) {
                node.pausedUntilNs = 0;
                node.shelf.answersLater = false;
            }
            final long end = network.nanoTime() + TimeUnit.MILLISECONDS.toNanos(600);
            while (network.nanoTime() < end) {
                turn();
            }
            assertTrue(running.isEmpty(), () -> running.size() + " transfers did not end");
            for (final SimulatedNode node : nodes) {
                assertEquals(0, node.shelf.leases(), "leases");
                assertEquals(0, node.shelf.reserved.size(), "reserved slots");
                assertEquals(0, node.counters.get(Counter.RESERVATIONS), "reservations");
                assertEquals(0, node.counters.get(Counter.OPEN_OBJECTS), "open objects");
                node.shelf.checkEveryByte();
            }
        }

        @Override
        public void close() {
            for (final SimulatedNode node : nodes) {
                node.link.onClose();
                node.shelf.arena.close();
            }
        }
    }
}
