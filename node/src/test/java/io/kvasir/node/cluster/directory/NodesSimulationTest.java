package io.kvasir.node.cluster.directory;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/**
 * {@link NodesSimulation} from seeds. A seed that failed is run again by {@code -Dkvasir.simulation.seed=N}, and a longer
 * run is made by {@code -Dkvasir.simulation.operations=1000000}; CONTRIBUTING.md has the whole command.
 */
class NodesSimulationTest {
    private static final int IN_EVERY_RUN = 20_000;
    /** Steps of one seed: directories of its own, and an end at which nothing may be left. */
    private static final int STEPS = 5_000;

    private static final int BETWEEN_CHECKS = 1_000;
    private static final int STEPS_TWICE = 1_000;
    private static final int PAIRS = 4;

    @Test
    void shouldKeepThePromisesOfStoresAndDirectoryUnderFaults() throws IOException {
        final int operations = Integer.getInteger("kvasir.simulation.operations", IN_EVERY_RUN);
        final Long given = Long.getLong("kvasir.simulation.seed");
        final SplittableRandom seeds = new SplittableRandom();
        final Map<String, Long> seen = new TreeMap<>();
        for (int done = 0; done < operations; done += STEPS) {
            final long seed = given != null ? given : seeds.nextLong();
            simulate(seed, STEPS, seed % 2 == 0, seen);
        }
        System.out.println(operations + " operations: " + seen);
        assertTrue(operations < IN_EVERY_RUN || given != null || !seen.containsValue(0L), "it never happened: " + seen);
    }

    @Test
    void shouldRunAlikeForOneSeed() throws IOException {
        final SplittableRandom seeds = new SplittableRandom();
        for (int pair = 0; pair < PAIRS; pair++) {
            final long seed = seeds.nextLong();
            final Map<String, Long> once = new TreeMap<>();
            final Map<String, Long> again = new TreeMap<>();
            assertEquals(
                    simulate(seed, STEPS_TWICE, true, once), simulate(seed, STEPS_TWICE, true, again), "seed " + seed);
            assertEquals(once, again, "seed " + seed);
        }
    }

    /** Returns the run's trace, and adds to {@code seen}. */
    private static long simulate(final long seed, final int steps, final boolean inTurn, final Map<String, Long> seen)
            throws IOException {
        final Path directory = Files.createTempDirectory(Path.of("/dev/shm"), "kvasir-nodes-");
        try (NodesSimulation simulation = new NodesSimulation(seed, directory, inTurn)) {
            int step = 0;
            try {
                while (step < steps) {
                    simulation.step();
                    step++;
                    if (step % BETWEEN_CHECKS == 0) {
                        simulation.converge();
                    }
                }
                simulation.finish();
            } catch (final AssertionError | RuntimeException broken) {
                throw new AssertionError(
                        "seed " + seed + ", step " + step + ": run again with -Dkvasir.simulation.seed=" + seed,
                        broken);
            }
            simulation.seen().forEach((name, times) -> seen.merge(name, times, Long::sum));
            return simulation.trace();
        } finally {
            try (Stream<Path> paths = Files.walk(directory)) {
                for (final Path path : paths.sorted(Comparator.reverseOrder()).toList()) {
                    Files.delete(path);
                }
            }
        }
    }
}
