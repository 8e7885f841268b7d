package io.kvasir.node.config;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** IPv6 addresses as people write them: in flags, variables and files. */
class AddressesTest {
    @TempDir
    private Path directory;

    private static NodeConfig flags(final String... sets) {
        return ConfigLoader.load(null, Map.of(), List.of(sets)).config();
    }

    @Test
    void bracketsInFlagsNeedNoQuotes() {
        final NodeConfig config =
                flags("cluster.seeds=[::1]:7810,[::1]:7820", "cluster.address=[::1]:7810", "http.address=[::1]:9418");
        assertEquals(List.of("[::1]:7810", "[::1]:7820"), config.cluster().seeds());
        assertEquals("::1", config.cluster().host());
        assertEquals(7810, config.cluster().port());
        assertEquals("::1", config.http().host());
        assertEquals(9418, config.http().port());
    }

    @Test
    void quotesInFlagsMeanTheSame() {
        assertEquals(
                "::1",
                flags("cluster.seeds=[::1]:7810", "cluster.address=\"[::1]:7810\"")
                        .cluster()
                        .host());
        assertEquals(
                List.of("[::1]:7810"),
                flags("cluster.seeds=[\"[::1]:7810\"]").cluster().seeds());
    }

    @Test
    void bracketsInTheEnvironmentNeedNoQuotes() {
        final NodeConfig config = ConfigLoader.load(
                        null,
                        Map.of(
                                "KVASIR_CLUSTER_SEEDS", "[::1]:7810",
                                "KVASIR_CLUSTER_ADDRESS", "[::1]:7810",
                                "KVASIR_HTTP_ADDRESS", "[::1]:9418"),
                        List.of())
                .config();
        assertEquals("::1", config.cluster().host());
        assertEquals("::1", config.http().host());
    }

    @Test
    void aFileSaysThatBracketsNeedQuotes() throws IOException {
        final Path file = Files.writeString(directory.resolve("kvasir.yaml"), "cluster:\n  address: [fd00::1]:7800\n");
        final List<String> problems = problems(() -> ConfigLoader.load(file, Map.of(), List.of()));
        assertTrue(problems.getFirst().contains("needs quotes here, such as \"[fd00::1]:7800\""), problems::toString);
    }

    @Test
    void aFileWithQuotesIsUnderstood() throws IOException {
        final Path file = Files.writeString(
                directory.resolve("kvasir.yaml"),
                "cluster:\n  seeds: [\"[::1]:7810\", '[::1]']\n  address: \"[::1]:7810\"\n");
        final NodeConfig config = ConfigLoader.load(file, Map.of(), List.of()).config();
        assertEquals(List.of("[::1]:7810", "[::1]:7800"), config.cluster().seeds());
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "cluster.seeds=fd00::12",
                "cluster.seeds=10.0.0.1:7800,fd00::12:7800",
                "cluster.seeds=::1",
                "cluster.address=fd00::12",
                "cluster.address=::1"
            })
    void anAddressWithoutBracketsIsRefusedWithAdvice(final String flag) {
        final List<String> problems = problems(() -> flags(flag));
        assertEquals(1, problems.size(), problems::toString);
        assertTrue(problems.getFirst().contains("in brackets, such as [fd00::7]:7800"), problems::toString);
    }

    @Test
    void anHttpAddressWithoutBracketsIsRefusedWithAdvice() {
        final List<String> problems = problems(() -> flags("http.address=::1:9417"));
        assertTrue(problems.getFirst().contains("in brackets, [::1]:9417"), problems::toString);
    }

    @Test
    void theAddressTowardsALoopbackSeedIsOfItsFamily() {
        assertEquals("::1", flags("cluster.seeds=[::1]:7810").cluster().host());
        assertEquals(
                "127.0.0.1", flags("cluster.seeds=127.0.0.1:7810").cluster().host());
    }

    private static List<String> problems(final org.junit.jupiter.api.function.Executable load) {
        return assertThrows(ConfigException.class, load).problems();
    }
}
