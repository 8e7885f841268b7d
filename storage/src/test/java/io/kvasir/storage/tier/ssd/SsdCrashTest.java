package io.kvasir.storage.tier.ssd;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.TestObjects;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Kills a process with SIGKILL while it writes, evicts and removes, and looks at what is left. */
class SsdCrashTest {
    static final long CAPACITY = 48L << 20;
    private static final int KILLS = Integer.getInteger("kvasir.crash.kills", 6);

    @TempDir
    Path directory;

    @Test
    void shouldHoldEverythingAcknowledgedAfterEachKill() throws Exception {
        final Path ssd = directory.resolve("ssd");
        final Path journal = directory.resolve("journal");
        Files.createFile(journal);
        final SplittableRandom random = new SplittableRandom(42);
        final Set<Long> durable = new HashSet<>();
        final Set<Long> removed = new HashSet<>();
        int read = 0;
        int kept = 0;
        for (int kill = 0; kill < KILLS; kill++) {
            final int before = read;
            final Process child = start(ssd, journal, 1 + kill * 1_000_000L);
            try {
                // At a random instant counted in acknowledgements, so that every kill has work before it.
                await(child, journal, before + 2 + random.nextInt(150));
                LockSupport.parkNanos(random.nextInt(20_000_000));
            } finally {
                child.destroyForcibly();
                assertTrue(child.waitFor(30, TimeUnit.SECONDS));
            }
            final List<String> lines = lines(journal);
            final Set<Long> going = new HashSet<>();
            for (final String line : lines.subList(before, lines.size())) {
                switch (line.charAt(0)) {
                    case '+' -> durable.add(Long.parseLong(line.substring(1)));
                    case '-' -> removed.add(Long.parseLong(line.substring(1)));
                    case '?' -> going.add(Long.parseLong(line.substring(1)));
                    default -> assertEquals("warm", line);
                }
            }
            assertTrue(durable.size() > 0);
            durable.removeAll(going);
            read = lines.size();
            kept += verify(ssd, durable, removed);
        }
        assertTrue(kept > KILLS, "only " + kept + " acknowledged objects were there to be verified");
        assertTrue(removed.size() > KILLS, "only " + removed.size() + " removals were there to be verified");
    }

    /** What was durable and not taken back is there; what was removed is not; whatever is there is right. */
    private static int verify(final Path directory, final Set<Long> durable, final Set<Long> removed) {
        final SsdUnderTest ssd = new SsdUnderTest(directory, CAPACITY, context -> context);
        try {
            for (final long number : durable) {
                assertArrayEquals(
                        TestObjects.bytes(number, CrashChild.length(number)),
                        ssd.get(TestObjects.id(number))
                                .orElseThrow(() -> new AssertionError(number + " was durable and is gone")));
            }
            for (final long number : removed) {
                assertTrue(ssd.get(TestObjects.id(number)).isEmpty(), number + " was removed and is back");
            }
            assertEquals(0, ssd.tier.metrics().corrupt.sum(), "a half-written object was taken for a whole one");
            return durable.size();
        } finally {
            ssd.close();
        }
    }

    private static Process start(final Path ssd, final Path journal, final long first) throws IOException {
        final List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.addAll(ManagementFactory.getRuntimeMXBean().getInputArguments());
        command.removeIf(argument -> argument.startsWith("-javaagent") || argument.startsWith("-agentlib"));
        command.addAll(List.of("-cp", System.getProperty("java.class.path"), CrashChild.class.getName()));
        command.addAll(List.of(ssd.toString(), journal.toString(), Long.toString(first)));
        return new ProcessBuilder(command)
                .redirectErrorStream(true)
                .redirectOutput(journal.resolveSibling("child.log").toFile())
                .start();
    }

    private static void await(final Process child, final Path journal, final int lines) throws IOException {
        final long deadline = System.nanoTime() + 60_000_000_000L;
        while (lines(journal).size() < lines) {
            if (!child.isAlive() || System.nanoTime() > deadline) {
                throw new AssertionError(
                        "the child did not work: " + Files.readString(journal.resolveSibling("child.log")));
            }
            LockSupport.parkNanos(2_000_000);
        }
    }

    private static List<String> lines(final Path journal) throws IOException {
        final String text = Files.readString(journal);
        return text.substring(0, text.lastIndexOf('\n') + 1).lines().toList();
    }
}
