package io.kvasir.node.config;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.tenant.TenantShare;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ConfigLoaderTest {
    private static final Map<String, String> NO_ENVIRONMENT = Map.of("XDG_RUNTIME_DIR", "/run/user/7");

    @TempDir
    private Path directory;

    @Test
    void worksWithNothingAtAll() {
        final NodeConfig config =
                ConfigLoader.load(null, NO_ENVIRONMENT, List.of()).config();
        assertEquals("local", config.node().name());
        assertEquals(Path.of("/run/user/7/kvasir/local.sock"), config.engine().socket());
        assertEquals(8 << 20, config.engine().maxFrameBytes());
        assertEquals(Duration.ofNanos(250_000), config.engine().spin());
        assertEquals(Duration.ofMillis(10), config.engine().busySpin());
        assertTrue(config.dram().capacityBytes() > 0 && config.dram().capacityBytes() <= 1 << 30);
    }

    @Test
    void laterSourcesWin() throws IOException {
        final Path file = write("""
                dram:
                  capacity: 64MiB
                  region: 2MiB
                lease:
                  default: 1s
                """);
        final NodeConfig config = ConfigLoader.load(
                        file,
                        Map.of("KVASIR_DRAM_CAPACITY", "128MiB", "KVASIR_LEASE_DEFAULT", "2s"),
                        List.of("lease.default=3s"))
                .config();
        assertEquals(2 << 20, config.dram().regionBytes());
        assertEquals(128 << 20, config.dram().capacityBytes());
        assertEquals(Duration.ofSeconds(3), config.lease().standard());
    }

    @Test
    void reportsEverythingAtOnceWithItsPlace() throws IOException {
        final Path file = write("""
                engine:
                  max_frame: 8GiB
                  max_conections: 7
                log:
                  level: loud
                """);
        final List<String> problems = problems(
                file, Map.of("KVASIR_DRAM_CAPACTIY", "1GiB", "KVASIR_SSD_EXTENT", "many"), "lease.quota=2", "tier=1");
        assertTrue(problems.contains(file + ":3: no key engine.max_conections; the nearest is engine.max_connections"));
        assertTrue(problems.contains(
                "environment variable KVASIR_DRAM_CAPACTIY: no such key; the nearest is KVASIR_DRAM_CAPACITY"));
        assertTrue(problems.contains("environment variable KVASIR_SSD_EXTENT: ssd.extent is \"many\"; it must be a size"
                + " such as 512MiB, 8GiB or 4096"));
        assertTrue(problems.stream().anyMatch(problem -> problem.startsWith(file + ":5: log.level is \"loud\"")));
        assertTrue(
                problems.stream().anyMatch(problem -> problem.startsWith("flag --set lease.quota: lease.quota is 2")));
        assertTrue(problems.stream().anyMatch(problem -> problem.startsWith("flag --set tier: no such key")));
        assertEquals(6, problems.size(), problems::toString);
    }

    @Test
    void rulesBetweenKeysAreCheckedTogether() {
        final List<String> problems = problems(
                null,
                NO_ENVIRONMENT,
                "lease.default=1h",
                "engine.max_frame=1KiB",
                "http.address=0.0.0.0:80",
                "engine.socket=/" + "x".repeat(120));
        assertEquals(4, problems.size(), problems::toString);
    }

    @Test
    void brokenYamlNamesItsLine() throws IOException {
        final List<String> problems = problems(write("node:\n  name: [a\n"), NO_ENVIRONMENT);
        assertEquals(1, problems.size());
        assertTrue(problems.getFirst().matches(".*kvasir\\.yaml:\\d+: not YAML: (?s).*"), problems::toString);
    }

    @Test
    void duplicateKeysAreRefused() throws IOException {
        final List<String> problems = problems(write("node:\n  name: a\nnode:\n  name: b\n"), NO_ENVIRONMENT);
        assertEquals(1, problems.size());
        assertTrue(problems.getFirst().contains("node"), problems::toString);
    }

    @Test
    void namesThatLookLikeNumbersStayNames() {
        assertEquals(
                "7",
                ConfigLoader.load(null, Map.of("KVASIR_NODE_NAME", "7"), List.of())
                        .config()
                        .node()
                        .name());
    }

    @Test
    void variablesOfOthersAreLeftAlone() {
        ConfigLoader.load(
                null,
                Map.of(
                        "KVASIR_NODE_SERVICE_HOST", "10.0.0.1",
                        "KVASIR_NODE_PORT_80_TCP_ADDR", "10.0.0.1",
                        "KVASIR_HOME", "/opt",
                        "KVASIR_BUILD", "/opt/build"),
                List.of());
    }

    @Test
    void twoTenantsOnOneUserNeedTokens() {
        final List<String> problems =
                problems(null, NO_ENVIRONMENT, "tenants=[{name: a, user: root}, {name: b, user: root}]");
        assertEquals(1, problems.size());
        assertTrue(problems.getFirst().contains("token"), problems::toString);
        assertEquals(
                2,
                ConfigLoader.load(
                                null,
                                NO_ENVIRONMENT,
                                List.of("tenants=[{name: a, user: root, token: 0123456789abcdef},"
                                        + " {name: b, user: root, token: fedcba9876543210}]"))
                        .config()
                        .tenants()
                        .size());
    }

    @Test
    void sharesOfTenantsAreSizesAndPercentages() throws IOException {
        final List<NodeConfig.Tenant> tenants = ConfigLoader.load(
                        write("""
                                dram:
                                  capacity: 64MiB
                                ssd:
                                  capacity: 1GiB
                                tenants:
                                  - name: a
                                    user: root
                                    dram: {min: 25%, max: 32MiB}
                                    ssd: {max: 12.5%}
                                    max_connections: 7
                                  - name: b
                                    token: 0123456789abcdef
                                """), NO_ENVIRONMENT, List.of("engine.max_connections=99"))
                .config()
                .tenants();
        assertEquals(
                new TenantShare(16 << 20, 32 << 20, 0, 128 << 20, 7),
                tenants.get(0).share());
        assertEquals(
                new TenantShare(0, 64 << 20, 0, 1 << 30, 99), tenants.get(1).share());
    }

    @Test
    void sharesThatCannotBeKeptAreRefusedWithTheNumbers() throws IOException {
        final Path file = write("""
                dram:
                  capacity: 64MiB
                  region: 4MiB
                tenants:
                  - name: a
                    user: root
                    dram: {min: 40MiB}
                  - name: b
                    token: 0123456789abcdef
                    dram: {min: 40%, max: 30%}
                  - name: c
                    token: fedcba9876543210
                    dram: {max: 1MiB}
                """);
        final List<String> problems = problems(file, NO_ENVIRONMENT);
        assertEquals(
                List.of(
                        file + ":5: tenants; tenant b has dram.min 26843545 bytes above its dram.max 20132659",
                        file
                                + ":5: tenants; tenant b has dram.max 20132659 bytes; DRAM is given in whole regions of 4194304"
                                + " bytes, and that has to hold at least one and those of dram.min 26843545: raise it, or"
                                + " lower dram.region",
                        file
                                + ":5: tenants; tenant c has dram.max 1048576 bytes; DRAM is given in whole regions of 4194304"
                                + " bytes, and that has to hold at least one and those of dram.min 0: raise it, or lower"
                                + " dram.region",
                        file + ":5: tenants; the dram.min of all tenants are 71303168 bytes in whole regions of 4194304"
                                + " (a 41943040, b 26843545), and dram.capacity is 67108864: lower them, or raise"
                                + " dram.capacity"),
                problems);
    }

    @Test
    void sharesThatAreNoneNameTheKeyAndTheRule() throws IOException {
        final Path file = write("""
                tenants:
                  - name: a
                    user: root
                    dram: {min: much, maximum: 3}
                """);
        final List<String> problems = problems(file, NO_ENVIRONMENT);
        assertEquals(2, problems.size(), problems::toString);
        assertTrue(
                problems.stream()
                        .anyMatch(
                                problem -> problem.contains("tenants.0.dram.min is \"much\"; it must be a size such as"
                                        + " 512MiB or 8GiB, or a percentage such as 25%")),
                problems::toString);
        assertTrue(
                problems.stream()
                        .anyMatch(problem ->
                                problem.contains("no key tenants.0.dram.maximum; the nearest is tenants.0.dram.max")),
                problems::toString);
    }

    @Test
    void secretsAreNeitherPrintedNorQuoted() {
        final String token = "s3cret-s3cret-s3cret";
        final ConfigLoader.Loaded loaded =
                ConfigLoader.load(null, NO_ENVIRONMENT, List.of("tenants=[{name: a, token: " + token + "}]"));
        assertFalse(loaded.yaml().contains(token));
        assertFalse(loaded.config().toString().contains(token));
        assertFalse(problems(null, NO_ENVIRONMENT, "tenants=[{name: a, token: s3cret}]")
                .toString()
                .contains("s3cret"));
    }

    @Test
    void whatIsPrintedReadsBackTheSame() throws IOException {
        final ConfigLoader.Loaded first =
                ConfigLoader.load(null, NO_ENVIRONMENT, List.of("dram.capacity=32MiB", "log.format=json"));
        final ConfigLoader.Loaded second = ConfigLoader.load(write(first.yaml()), NO_ENVIRONMENT, List.of());
        assertEquals(first, second);
    }

    private static List<String> problems(final Path file, final Map<String, String> environment, final String... sets) {
        return assertThrows(ConfigException.class, () -> ConfigLoader.load(file, environment, List.of(sets)))
                .problems();
    }

    private Path write(final String yaml) throws IOException {
        return Files.writeString(directory.resolve("kvasir.yaml"), yaml);
    }
}
