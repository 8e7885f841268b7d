package io.kvasir.node;

import io.kvasir.storage.posix.Posix;
import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The JVM's compiler threads run for seconds after a start, and whenever calls take a path that is new. On a machine
 * whose processors are all in use they would take the engine thread's place on one for milliseconds at a time; nobody
 * waits for what they make, so they have a lower priority.
 */
public final class CompilerThreads {
    /** A tenth of a usual thread's share of a processor that both want (sched(7)). */
    private static final int NICE = 10;

    private static final Path TASKS = Path.of("/proc/self/task");
    private static final Logger LOG = LoggerFactory.getLogger(CompilerThreads.class);

    private CompilerThreads() {}

    /**
     * Lowers the priority of those that exist; {@code -XX:-UseDynamicNumberOfCompilerThreads} has all of them exist from
     * the start. Returns how many there are; what cannot be done is logged.
     */
    public static int lowerPriority() {
        int lowered = 0;
        try (DirectoryStream<Path> tasks = Files.newDirectoryStream(TASKS)) {
            for (final Path task : tasks) {
                if (isCompiler(task)) {
                    Posix.nice(Integer.parseInt(task.getFileName().toString()), NICE);
                    lowered++;
                }
            }
        } catch (final IOException e) {
            LOG.warn("The compiler threads keep their priority: {}", e.getMessage());
        }
        return lowered;
    }

    private static boolean isCompiler(final Path task) {
        try {
            final String name = Files.readString(task.resolve("comm"));
            return name.startsWith("C1 Compiler") || name.startsWith("C2 Compiler");
        } catch (final IOException ended) {
            return false;
        }
    }
}
