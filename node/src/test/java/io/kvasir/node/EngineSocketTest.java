package io.kvasir.node;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class EngineSocketTest {
    @TempDir
    private Path parent;

    @Test
    void shouldRefuseADirectoryThatSomebodyElseMade() throws IOException {
        assumeTrue(Files.getAttribute(Path.of("/proc/self"), "unix:uid").equals(0), "only root gives files away");
        final Path theirs = Files.createDirectory(parent.resolve("theirs"));
        Files.setAttribute(theirs, "unix:uid", 65_534);
        refused(theirs, "of uid 65534");
        final Path link = Files.createSymbolicLink(parent.resolve("link"), Files.createDirectory(parent.resolve("a")));
        assertEquals(0, run("chown", "-h", "65534", link.toString()));
        refused(link, "a symbolic link of uid 65534");
    }

    @Test
    void shouldRefuseADirectoryInWhichOthersMayReplaceTheSocket() throws IOException {
        final Path open = Files.createDirectory(parent.resolve("open"));
        Files.setPosixFilePermissions(open, PosixFilePermissions.fromString("rwxrwxrwx"));
        refused(open, "mode 777");
    }

    @Test
    void shouldBeBoundInATemporaryDirectoryOfAll() throws IOException {
        final Path sticky = Files.createDirectory(parent.resolve("sticky"));
        assertEquals(0, run("chmod", "1777", sticky.toString()));
        EngineSocket.bind(sticky.resolve("engine.sock")).close();
    }

    @Test
    void shouldKeepOthersFromHoldingItsLock() throws IOException {
        try (EngineSocket socket = EngineSocket.bind(parent.resolve("new").resolve("engine.sock"))) {
            assertTrue(socket.channel().isOpen());
            assertEquals(
                    "rw-------",
                    PosixFilePermissions.toString(
                            Files.getPosixFilePermissions(parent.resolve("new").resolve("engine.sock.lock"))));
        }
    }

    private static void refused(final Path directory, final String why) {
        final NodeException refused =
                assertThrows(NodeException.class, () -> EngineSocket.bind(directory.resolve("engine.sock")));
        assertTrue(refused.getMessage().contains(why), refused.getMessage());
        assertTrue(refused.getMessage().contains("engine.socket"), refused.getMessage());
    }

    private static int run(final String... command) throws IOException {
        try {
            return new ProcessBuilder(command).start().waitFor();
        } catch (final InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IOException(e);
        }
    }
}
