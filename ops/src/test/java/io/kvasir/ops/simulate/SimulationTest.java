package io.kvasir.ops.simulate;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.node.placement.Placement;
import io.kvasir.ops.simulate.Scenario.Routing;
import io.kvasir.ops.simulate.Scenario.Sharing;
import io.kvasir.storage.policy.PolicyKind;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The simulation on the start of the conversation trace: 1,000 requests of 22,840 chunks. */
class SimulationTest {
    private static final Path SHIPPED = Path.of("python/kvasir_ops/data/conversation_trace.jsonl.gz");
    private static Trace trace;

    @TempDir
    private Path directory;

    @BeforeAll
    static void read() throws IOException {
        trace = Trace.read(SHIPPED, 1_000);
    }

    private static Outcome run(final int nodes, final int capacity, final PolicyKind policy, final Sharing sharing) {
        return run(nodes, capacity, policy, sharing, trace);
    }

    private static Outcome run(
            final int nodes, final int capacity, final PolicyKind policy, final Sharing sharing, final Trace replayed) {
        final Scenario scenario =
                new Scenario(nodes, capacity, policy, Routing.RANDOM, sharing, Placement.STANDARD, 25, 64 << 20, 7);
        final SimulatedCluster cluster = new SimulatedCluster(scenario, replayed.chunks());
        replayed.requests().forEach(cluster::serve);
        return cluster.outcome(replayed, 0);
    }

    @Test
    void shouldHitWhatAnEndlessCacheHits() {
        for (final PolicyKind policy : PolicyKind.values()) {
            final Outcome outcome = run(1, 0, policy, Sharing.POOLED);
            assertEquals(5_791, outcome.local());
            assertEquals(0, outcome.evicted());
        }
    }

    @Test
    void shouldHitMoreWithTheCostAwarePolicyThanWithLru() {
        final double lru = run(1, 1_000, PolicyKind.LRU, Sharing.POOLED).hitRate();
        final double costAware =
                run(1, 1_000, PolicyKind.COST_AWARE, Sharing.POOLED).hitRate();
        assertTrue(costAware > 1.2 * lru, costAware + " against " + lru);
    }

    @Test
    void shouldHitAsOneNodeWhenTenShare() {
        final double one = run(1, 5_000, PolicyKind.LRU, Sharing.POOLED).hitRate();
        final double pooled = run(10, 500, PolicyKind.LRU, Sharing.POOLED).hitRate();
        final double ideal = run(10, 500, PolicyKind.LRU, Sharing.IDEAL).hitRate();
        final double alone = run(10, 500, PolicyKind.LRU, Sharing.LOCAL).hitRate();
        assertTrue(pooled > 0.9 * one && ideal > 0.9 * one, pooled + " and " + ideal + " against " + one);
        assertTrue(alone < 0.7 * pooled, alone + " against " + pooled);
    }

    @Test
    void shouldAskTheDirectoryForFewEntriesHoweverManyNodesThereAre() {
        final Outcome ten = run(10, 500, PolicyKind.LRU, Sharing.POOLED);
        final Outcome fifty = run(50, 500, PolicyKind.LRU, Sharing.POOLED, trace.copies(5));
        assertTrue(ten.entriesPerLookup() < ten.chunksPerLookup(), ten.toString());
        assertTrue(fifty.entriesPerLookup() < 1.1 * ten.entriesPerLookup(), fifty.toString());
        assertTrue(fifty.directoryPerNode() < 1.1 * ten.directoryPerNode(), fifty.toString());
    }

    @Test
    void shouldFindTheSameWithTheSameSeed() {
        assertEquals(
                run(4, 300, PolicyKind.COST_AWARE, Sharing.POOLED), run(4, 300, PolicyKind.COST_AWARE, Sharing.POOLED));
    }

    @Test
    void shouldSpreadRequestsOfOneTimeAndNumberChunks() throws IOException {
        final Trace read = read("""
                {"timestamp": 0, "input_length": 9, "hash_ids": [70, 71]}
                {"timestamp": 0, "input_length": 9, "hash_ids": [70, 90]}
                {"timestamp": 3000, "input_length": 9, "hash_ids": [71]}
                """);
        assertEquals(3, read.chunks());
        assertEquals(1_500, read.requests().get(1).timeMs());
        assertArrayEquals(new int[] {0, 2}, read.requests().get(1).chunks());
        assertArrayEquals(new int[] {1}, read.requests().get(2).chunks());
    }

    @Test
    void shouldNameTheRequestThatIsNone() {
        for (final String wrong :
                new String[] {"{", "[]", "{\"timestamp\": 1}", "{\"timestamp\": 1, \"hash_ids\": [\"x\"]}"}) {
            final IllegalArgumentException refused = assertThrows(
                    IllegalArgumentException.class,
                    () -> read("{\"timestamp\": 0, \"hash_ids\": [1]}\n" + wrong + "\n"));
            assertTrue(refused.getMessage().contains("request 2"), refused.getMessage());
        }
    }

    private Trace read(final String lines) throws IOException {
        final Path file = directory.resolve("trace.jsonl");
        Files.writeString(file, lines);
        return Trace.read(file, Integer.MAX_VALUE);
    }
}
