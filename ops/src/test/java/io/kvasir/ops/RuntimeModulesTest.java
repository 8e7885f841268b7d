package io.kvasir.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class RuntimeModulesTest {
    private static final String HOME = System.getProperty("java.home");

    @TempDir
    private Path directory;

    @Test
    void aWholeJdkHasAll() {
        assertEquals("", RuntimeModules.missing());
    }

    @Test
    void whatIsMissingIsNamed() {
        final String missing = RuntimeModules.missing(name -> !name.equals("jdk.net") && !name.equals("java.sql"));
        assertTrue(missing.contains("has no module java.sql, jdk.net;"), missing);
        assertTrue(missing.contains("jlink --add-modules java.desktop,"), missing);
    }

    @Test
    @Tag("slow")
    void aNodeDoesNotStartInARuntimeWithoutOne() throws IOException, InterruptedException {
        final Path runtime = directory.resolve("runtime");
        final String all = "java.desktop,java.logging,java.management,java.naming,java.sql,java.xml,jdk.httpserver,"
                + "jdk.management,jdk.unsupported,java.net.http,jdk.compiler,jdk.internal.jvmstat";
        final String made = run(HOME + "/bin/jlink", "--add-modules", all, "--output", runtime.toString());
        final String said = run(
                runtime.resolve("bin/java").toString(),
                "-cp",
                System.getProperty("java.class.path"),
                "io.kvasir.ops.Kvasir",
                "node");
        assertTrue(said.contains("has no module jdk.net;"), () -> made + said);
        assertTrue(said.endsWith("status 1"), said);
    }

    private static String run(final String... command) throws IOException, InterruptedException {
        final Process process =
                new ProcessBuilder(command).redirectErrorStream(true).start();
        final String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        if (!process.waitFor(120, TimeUnit.SECONDS)) {
            process.destroyForcibly();
        }
        return output + "status " + process.exitValue();
    }
}
