package io.kvasir.storage;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * An engine takes the memory of its region away while the node works on it: by truncating the file, or by punching holes
 * in it on a full tmpfs. Each in a process of its own, since a node that touches such memory is ended by the kernel.
 */
@Tag("integration")
class DamagedRegionTest {
    private Path mount;
    private Path disk;

    @BeforeEach
    void mountTmpfs() throws IOException, InterruptedException {
        disk = Files.createTempDirectory("kvasir-damaged-ssd-");
        mount = Files.createTempDirectory("kvasir-damaged-");
        assumeTrue(
                run("mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", mount.toString()) == 0,
                "mounting a tmpfs needs root");
    }

    @AfterEach
    void unmount() throws IOException, InterruptedException {
        run("umount", "-l", mount.toString());
        Files.deleteIfExists(mount);
        StoreFixture.deleteAll(disk);
    }

    private static int run(final String... command) throws IOException, InterruptedException {
        return new ProcessBuilder(command)
                .redirectErrorStream(true)
                .redirectOutput(ProcessBuilder.Redirect.DISCARD)
                .start()
                .waitFor();
    }

    @ParameterizedTest
    @CsvSource({
        "commit,truncate",
        "commit,punch",
        "demote,truncate",
        "demote,punch",
        "promote,truncate",
        "promote,punch",
        "send,truncate",
        "send,punch",
        "receive,truncate",
        "receive,punch",
        "restart,truncate",
        "restart,punch"
    })
    void shouldLiveAndLoseOnlyTheRegion(final String moment, final String damage)
            throws IOException, InterruptedException {
        final List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.addAll(ManagementFactory.getRuntimeMXBean().getInputArguments());
        command.removeIf(argument -> argument.startsWith("-javaagent") || argument.startsWith("-agentlib"));
        command.add("-XX:ErrorFile=/dev/null");
        command.addAll(List.of("-cp", System.getProperty("java.class.path"), HostileEngine.class.getName()));
        command.addAll(List.of(moment, mount.toString(), disk.toString(), damage));
        final Process process =
                new ProcessBuilder(command).redirectErrorStream(true).start();
        final String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(0, process.waitFor(), output);
        assertTrue(output.contains(HostileEngine.ALIVE), output);
    }
}
