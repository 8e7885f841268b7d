package io.kvasir.storage;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.StoreSimulation.Step;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.SplittableRandom;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import org.junit.jupiter.api.Test;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * {@link StoreSimulation} with steps that jqwik draws, and shrinks when a promise is broken; and with many more that come
 * from a seed. A seed that failed is run again by {@code -Dkvasir.simulation.seed=N}, and a longer run is made by
 * {@code -Dkvasir.simulation.operations=1000000}; CONTRIBUTING.md has the whole command.
 */
class StoreModelTest {
    private static final Logger LOG = LoggerFactory.getLogger(StoreModelTest.class);
    private static final int IN_EVERY_RUN = 12_000;
    /** Steps of one seed: an own arena, and an end at which nothing may be left. */
    private static final int STEPS = 1_000;

    record Action(Step step, int object) {}

    @Provide
    Arbitrary<List<Action>> actions() {
        return Combinators.combine(
                        Arbitraries.of(Step.class), Arbitraries.integers().between(0, 59))
                .as(Action::new)
                .list()
                .ofMinSize(100)
                .ofMaxSize(300);
    }

    @Property(tries = 12)
    void shouldKeepItsPromisesWhateverHappens(@ForAll("actions") final List<Action> actions, @ForAll final long seed)
            throws IOException {
        final Path directory = StoreFixture.arenaDirectory();
        try (StoreSimulation simulation = new StoreSimulation(seed, directory)) {
            for (final Action action : actions) {
                simulation.step(action.step, action.object);
            }
            simulation.finish();
        } finally {
            StoreFixture.deleteAll(directory);
        }
    }

    @Test
    void shouldKeepItsPromisesForKeptSeeds() throws IOException {
        try (InputStream file = StoreModelTest.class.getResourceAsStream("model-seeds.txt")) {
            final List<Long> seeds = new String(file.readAllBytes(), StandardCharsets.UTF_8)
                    .lines()
                    .filter(line -> !line.startsWith("#"))
                    .map(Long::valueOf)
                    .toList();
            assertFalse(seeds.isEmpty());
            for (final long seed : seeds) {
                simulate(seed);
            }
        }
    }

    @Test
    void shouldKeepItsPromisesUnderFaults() throws IOException {
        final int operations = Integer.getInteger("kvasir.simulation.operations", IN_EVERY_RUN);
        final Long given = Long.getLong("kvasir.simulation.seed");
        final SplittableRandom seeds = new SplittableRandom();
        int faults = 0;
        int deviceHits = 0;
        for (int done = 0; done < operations; done += STEPS) {
            final int[] counts = simulate(given != null ? given : seeds.nextLong());
            faults += counts[0];
            deviceHits += counts[1];
        }
        LOG.info("{} operations, {} of them faults, {} copies from the device", operations, faults, deviceHits);
        assertTrue(given != null || deviceHits > operations / 10_000, "copies from the device: " + deviceHits);
        assertTrue(faults > operations / 50, "faults: " + faults);
    }

    /** Faults, and copies from the device tier. */
    private static int[] simulate(final long seed) throws IOException {
        final Path directory = StoreFixture.arenaDirectory();
        try (StoreSimulation simulation = new StoreSimulation(seed, directory)) {
            int step = 0;
            try {
                while (step < STEPS) {
                    simulation.step();
                    step++;
                }
                simulation.finish();
            } catch (final AssertionError | RuntimeException broken) {
                throw new AssertionError(
                        "seed " + seed + ", step " + step + ": run again with -Dkvasir.simulation.seed=" + seed,
                        broken);
            }
            return new int[] {simulation.faults(), simulation.deviceHits()};
        } finally {
            StoreFixture.deleteAll(directory);
        }
    }
}
