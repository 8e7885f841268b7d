package io.kvasir.node.cluster.directory;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.Shard;
import io.kvasir.storage.object.TierKind;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ThreadLocalRandom;
import org.junit.jupiter.api.Test;

/**
 * The directory's promises under faults, with the real announcer, locator and merge: an answer comes within its deadline;
 * it never names a holder that is not alive; and when the faults end, it names exactly who holds what.
 *
 * <p>{@code -Dkvasir.sim.operations=1000000} makes a long run of it, {@code -Dkvasir.sim.seed=N} a certain one.
 */
class DirectorySimulationTest {
    private static final int OPERATIONS = Integer.getInteger("kvasir.sim.operations", 20_000);
    private static final long SEED =
            Long.getLong("kvasir.sim.seed", ThreadLocalRandom.current().nextLong());
    private static final int BETWEEN_CHECKS = 2_000;
    private static final long MS = 1_000_000;
    private static final long DEADLINE_NS = 20 * MS;
    private static final Hash256 NAMESPACE = new Hash256(11, 12, 13, 14);
    private static final Shard[] SHARDS = {new Shard(0, 8, 0, 4, 0, 0, 1, 0, 1), new Shard(0, 8, 4, 8, 0, 0, 1, 0, 1)};

    private final SimulatedCluster cluster = new SimulatedCluster(SEED);
    private final Map<Long, Node> nodes = new HashMap<>();
    private final Hash256[][] chains = new Hash256[12][];
    private long nextHolder = 1;
    private long lookups;
    private long restarts;

    private final class Node {
        final long holder = nextHolder++;
        final DirectoryCounters counters = new DirectoryCounters();
        final Announcer announcer = new Announcer(
                holder,
                16,
                new Announcer.Limits(100_000, 2 * MS, 500 * MS, 20 * MS),
                cluster.clock(),
                Runnable::run,
                counters);
        final Locator locator = new Locator(
                cluster.clock(),
                Runnable::run,
                other -> other != holder && nodes.containsKey(other),
                DEADLINE_NS,
                counters);
        /** "chain/chunk/shard/tier". */
        final Set<String> held = new TreeSet<>();

        Node() {
            announcer.joined(cluster, new long[0]);
        }

        void work() {
            announcer.doWork();
            locator.doWork();
        }
    }

    @Test
    void answersAreTimelyAndLiveAndConverge() {
        System.out.println("seed " + SEED + ", " + OPERATIONS + " operations");
        for (int c = 0; c < chains.length; c++) {
            chains[c] = new Hash256[96];
            for (int i = 0; i < chains[c].length; i++) {
                // Chains branch: the first chunks of some are those of the first chain.
                chains[c][i] = c % 3 != 0 && i < 10 * c
                        ? chains[0][i]
                        : new Hash256(cluster.random.nextLong(), cluster.random.nextLong(), c, i);
            }
        }
        for (int i = 0; i < 5; i++) {
            add();
        }
        for (int operation = 0; operation < OPERATIONS; operation++) {
            cluster.faulty = 200;
            operate();
            if (operation % BETWEEN_CHECKS == BETWEEN_CHECKS - 1) {
                converge();
                check();
            }
        }
        converge();
        check();
        System.out.println(lookups + " lookups, " + restarts + " restarts, " + cluster.faults + " faults");
        assertTrue(cluster.faults > OPERATIONS / 20, "too few faults to mean anything");
    }

    private void add() {
        final Node node = new Node();
        nodes.put(node.holder, node);
    }

    private Node any() {
        final List<Node> all = new ArrayList<>(nodes.values());
        all.sort((a, b) -> Long.compare(a.holder, b.holder));
        return all.get(cluster.random.nextInt(all.size()));
    }

    private void operate() {
        final Node node = any();
        final int chain = cluster.random.nextInt(chains.length);
        switch (cluster.random.nextInt(20)) {
            case 0, 1, 2, 3, 4, 5 -> hold(node, chain, cluster.random.nextInt(96), cluster.random.nextInt(1, 12));
            case 6, 7, 8, 9 -> let(node, chain, cluster.random.nextInt(96), cluster.random.nextInt(1, 12));
            case 10, 11, 12, 13, 14, 15, 16 -> look(node, chain);
            case 17 -> cluster.sweep(nodes::containsKey, announcers());
            case 18 -> {
                if (cluster.random.nextInt(20) == 0) {
                    nodes.remove(node.holder);
                    add();
                    restarts++;
                } else if (cluster.random.nextInt(10) == 0) {
                    node.announcer.joined(cluster, new long[0]);
                }
            }
            default -> {
                if (cluster.random.nextInt(50) == 0) {
                    cluster.loseSome();
                }
            }
        }
        cluster.pass(cluster.random.nextLong(3 * MS));
        nodes.values().forEach(Node::work);
    }

    private Map<Long, Announcer> announcers() {
        final Map<Long, Announcer> all = new HashMap<>();
        nodes.forEach((holder, node) -> all.put(holder, node.announcer));
        return all;
    }

    private void hold(final Node node, final int chain, final int from, final int count) {
        for (int i = from; i < Math.min(96, from + count); i++) {
            final int shard = cluster.random.nextInt(SHARDS.length);
            final TierKind tier = cluster.random.nextInt(4) == 0 ? TierKind.SSD : TierKind.DRAM;
            node.announcer.held(id(chain, i, shard), tier, 4096, i == 0 ? Hash256.ZERO : chains[chain][i - 1], i);
            node.held.add(name(chain, i, shard, tier));
        }
    }

    private void let(final Node node, final int chain, final int from, final int count) {
        for (int i = from; i < Math.min(96, from + count); i++) {
            for (int shard = 0; shard < SHARDS.length; shard++) {
                for (final TierKind tier : new TierKind[] {TierKind.DRAM, TierKind.SSD}) {
                    if (node.held.remove(name(chain, i, shard, tier))) {
                        node.announcer.gone(id(chain, i, shard), tier);
                    }
                }
            }
        }
    }

    private ObjectId id(final int chain, final int chunk, final int shard) {
        return new ObjectId(NAMESPACE, chains[chain][chunk], SHARDS[shard]);
    }

    private String name(final int chain, final int chunk, final int shard, final TierKind tier) {
        return chains[chain][chunk] + "/" + shard + "/" + tier;
    }

    private static final class Heard implements Locator.Answer {
        final Set<String> found = new HashSet<>();
        Boolean complete;

        @Override
        public void found(final int chunk, final long holder, final Entry.Reader record, final int member) {
            assertTrue(complete == null, "more came after the end");
            for (int i = 0; i < record.shards(); i++) {
                if (record.inDram(member, i) || record.onSsd(member, i)) {
                    found.add(chunk + "@" + holder + "#" + record.shardTag(i));
                }
            }
        }

        @Override
        public void done(final boolean all) {
            assertTrue(complete == null, "it ended twice");
            complete = all;
        }
    }

    private void look(final Node node, final int chain) {
        lookups++;
        final Heard heard = new Heard();
        node.locator.locate(cluster, NAMESPACE, keys(chain), 0, false, new Locator.Answer() {
            @Override
            public void found(final int chunk, final long holder, final Entry.Reader record, final int member) {
                assertTrue(nodes.containsKey(holder), "a holder that is gone was named");
                heard.found(chunk, holder, record, member);
            }

            @Override
            public void done(final boolean complete) {
                heard.done(complete);
            }
        });
        cluster.after(DEADLINE_NS + 1, () -> {
            if (nodes.containsKey(node.holder)) {
                node.locator.doWork();
                assertTrue(heard.complete != null, "no answer within the deadline");
            }
        });
    }

    private byte[] keys(final int chain) {
        final ByteBuffer keys =
                ByteBuffer.allocate(chains[chain].length * Hash256.BYTES).order(ByteOrder.LITTLE_ENDIAN);
        for (final Hash256 key : chains[chain]) {
            keys.put(key.toBytes());
        }
        return keys.array();
    }

    /** The faults end; time passes, and the nodes do what they always do. */
    private void converge() {
        cluster.faulty = 0;
        for (int i = 0; i < 60; i++) {
            for (int turn = 0; turn < 50; turn++) {
                cluster.pass(6 * MS);
                nodes.values().forEach(Node::work);
            }
            cluster.sweep(nodes::containsKey, announcers());
        }
        cluster.pass(20_000 * MS);
        for (int turn = 0; turn < 200; turn++) {
            cluster.sweep(nodes::containsKey, announcers());
            cluster.pass(20 * MS);
            nodes.values().forEach(Node::work);
        }
    }

    /** Every entry says what its holders hold, and every lookup finds all of a prefix that somebody has. */
    private void check() {
        final Map<Long, Set<Integer>> announced = new HashMap<>();
        cluster.entries.forEach((key, entry) -> {
            for (final Entry.Reader record = new Entry.Reader(entry); record.next(); ) {
                assertTrue(nodes.containsKey(record.holder()), "seed " + SEED + ": a gone holder stays");
                for (int member = 0; member < record.members(); member++) {
                    assertTrue(
                            announced
                                    .computeIfAbsent(record.holder(), ignored -> new HashSet<>())
                                    .add(record.tag(member)),
                            "seed " + SEED + ": a chunk is announced twice");
                }
            }
        });
        for (final Node node : nodes.values()) {
            final Set<Integer> holds = new HashSet<>();
            node.held.forEach(name -> holds.add(tag(name)));
            assertEquals(holds, announced.getOrDefault(node.holder, Set.of()), "seed " + SEED + ": of " + node.holder);
        }
        for (int chain = 0; chain < chains.length; chain++) {
            checkLookup(chain);
        }
    }

    private int tag(final String name) {
        for (final Hash256[] chain : chains) {
            for (final Hash256 key : chain) {
                if (name.startsWith(key + "/")) {
                    return ChunkName.tag(ChunkName.hash(NAMESPACE, key));
                }
            }
        }
        throw new AssertionError(name);
    }

    private void checkLookup(final int chain) {
        final Node asking = any();
        final Heard heard = new Heard();
        asking.locator.locate(cluster, NAMESPACE, keys(chain), 0, false, heard);
        cluster.pass(DEADLINE_NS / 2);
        cluster.pass(DEADLINE_NS);
        asking.locator.doWork();
        int prefix = 0;
        while (prefix < 96 && isHeldElsewhere(asking, chain, prefix)) {
            prefix++;
        }
        int found = 0;
        while (found < 96 && isFound(heard, found)) {
            found++;
        }
        assertEquals(prefix, found, "seed " + SEED + ": of chain " + chain);
    }

    private static boolean isFound(final Heard heard, final int chunk) {
        return heard.found.stream().anyMatch(each -> each.startsWith(chunk + "@"));
    }

    private boolean isHeldElsewhere(final Node asking, final int chain, final int chunk) {
        return nodes.values().stream()
                .filter(node -> node != asking)
                .anyMatch(node -> node.held.stream().anyMatch(name -> name.startsWith(chains[chain][chunk] + "/")));
    }
}
