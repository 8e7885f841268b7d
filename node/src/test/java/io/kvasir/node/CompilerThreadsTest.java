package io.kvasir.node;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

class CompilerThreadsTest {
    private static final int NICE = 16;

    @Test
    void shouldLowerThePriorityOfCompilersAlone() throws IOException {
        final int lowered = CompilerThreads.lowerPriority();

        assertTrue(lowered > 0);
        try (Stream<Path> tasks = Files.list(Path.of("/proc/self/task"))) {
            final List<String> changed = tasks.map(CompilerThreadsTest::stat)
                    .filter(stat -> nice(stat) == 10)
                    .map(stat -> stat.substring(stat.indexOf('(') + 1, stat.lastIndexOf(')')))
                    .toList();
            assertEquals(lowered, changed.size(), changed::toString);
            assertTrue(changed.stream().allMatch(name -> name.matches("C[12] CompilerThre")), changed::toString);
        }
    }

    /** Fields count from behind the name, which may have spaces (proc_pid_stat(5)). */
    private static int nice(final String stat) {
        return stat.isEmpty()
                ? 0
                : Integer.parseInt(stat.substring(stat.lastIndexOf(')') + 2).split(" ", -1)[NICE]);
    }

    private static String stat(final Path task) {
        try {
            return Files.readString(task.resolve("stat"));
        } catch (final IOException ended) {
            return "";
        }
    }
}
