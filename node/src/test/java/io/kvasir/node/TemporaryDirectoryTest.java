package io.kvasir.node;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.kvasir.node.config.ConfigLoader;
import io.kvasir.node.config.NodeConfig;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TemporaryDirectoryTest {
    private static final int STARTS = 2_000;

    private final Properties before = (Properties) System.getProperties().clone();

    @TempDir
    Path parent;

    @AfterEach
    void giveBackProperties() {
        System.setProperties(before);
    }

    /** Four campaigns of kills in one {@code /tmp}: a node did not start because another one's directory went away meanwhile. */
    @Test
    void shouldBeMadeWhileOthersComeAndGo() throws IOException {
        final NodeConfig config = ConfigLoader.load(
                        null,
                        Map.of(),
                        List.of("node.temporary_directory=" + parent, "ssd.directory=" + parent.resolve("ssd")))
                .config();
        final AtomicBoolean done = new AtomicBoolean();
        final CompletableFuture<Void> others = CompletableFuture.runAsync(() -> {
            while (!done.get()) {
                comeAndGo();
            }
        });
        for (int i = 0; i < STARTS; i++) {
            TemporaryDirectory.open(config).close();
        }
        done.set(true);
        others.join();
        try (Stream<Path> left = Files.list(parent)) {
            assertEquals(0, left.count());
        }
    }

    private void comeAndGo() {
        try {
            final Path other = parent.resolve("kvasir-node-other-0-1");
            Files.createDirectory(other);
            Files.delete(other);
        } catch (final IOException e) {
            throw new AssertionError(e);
        }
    }
}
