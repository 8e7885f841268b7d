package io.kvasir.node.config;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Memory limits of cgroups as the kernel shows them, and users that the machine has no entry for. */
class MachineLimitsTest {
    private static final long MIB = 1 << 20;
    private static final String V1 = """
            30 25 0:26 %s /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
            31 25 0:27 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
            """;
    private static final String V2 = "29 24 0:25 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";

    @TempDir
    private Path root;

    private void kernel(final String cgroup, final String mountinfo) throws IOException {
        write("proc/self/cgroup", cgroup);
        write("proc/self/mountinfo", mountinfo);
    }

    private void write(final String file, final String text) throws IOException {
        Files.createDirectories(root.resolve(file).getParent());
        Files.writeString(root.resolve(file), text);
    }

    private long limit() {
        return MemoryLimit.of(root).map(MemoryLimit::bytes).orElse(-1L);
    }

    @Test
    void versionOneIsRead() throws IOException {
        kernel("5:cpu:/\n4:memory:/job\n", V1.formatted("/"));
        write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        write("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "629145600\n");
        assertEquals(600 * MIB, limit());
    }

    @Test
    void versionOneInsideAContainerIsTheMountsRoot() throws IOException {
        kernel("4:memory:/docker/abc\n", V1.formatted("/docker/abc"));
        write("sys/fs/cgroup/memory/memory.limit_in_bytes", "629145600\n");
        assertEquals(600 * MIB, limit());
    }

    @Test
    void versionTwoIsTheLowestOfTheGroupsAbove() throws IOException {
        kernel("0::/pod/container\n", V2);
        write("sys/fs/cgroup/pod/memory.max", "734003200\n");
        write("sys/fs/cgroup/pod/container/memory.max", "max\n");
        assertEquals(700 * MIB, limit());
        write("sys/fs/cgroup/pod/container/memory.max", "629145600\n");
        assertEquals(600 * MIB, limit());
    }

    @Test
    void noLimitIsNone() throws IOException {
        kernel("0::/\n", V2);
        assertEquals(-1, limit());
        kernel("4:memory:/\n", V1.formatted("/"));
        write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        assertEquals(-1, limit());
        Files.delete(root.resolve("proc/self/cgroup"));
        assertEquals(-1, limit());
    }

    private MemoryNeed limitBeside(final long bytes) throws IOException {
        final NodeConfig config = ConfigLoader.load(null, Map.of(), List.of()).config();
        final MemoryNeed need = MemoryNeed.of(config.cluster(), config.ssd());
        kernel("0::/\n", V2);
        write("sys/fs/cgroup/memory.max", need.total() + bytes + "\n");
        return need;
    }

    private NodeConfig load(final String... sets) {
        return ConfigLoader.load(null, Map.of(), List.of(sets), root).config();
    }

    @Test
    void autoFitsTheLimit() throws IOException {
        limitBeside(64 * MIB);
        assertEquals(
                62 * MIB, load("dram.directory=" + root.resolve("dram")).dram().capacityBytes());
    }

    @Test
    void aSizeThatTheLimitDoesNotHoldIsRefusedWithTheNumbers() throws IOException {
        limitBeside(64 * MIB);
        assertEquals(48 * MIB, load("dram.capacity=48MiB").dram().capacityBytes());
        final List<String> problems = assertThrows(ConfigException.class, () -> load("dram.capacity=64MiB"))
                .problems();
        assertEquals(1, problems.size());
        assertTrue(problems.getFirst().contains("it must be at most 62.0 MiB"), problems::toString);
        assertTrue(problems.getFirst().contains("heap"), problems::toString);
    }

    @Test
    void aLimitThatTheProcessItselfFillsIsRefused() throws IOException {
        limitBeside(8 * MIB);
        final List<String> problems =
                assertThrows(ConfigException.class, this::load).problems();
        assertTrue(problems.getFirst().contains("does not leave the 16.0 MiB"), problems::toString);
    }

    @Test
    void whatIsOnSsdNeedsMemoryForItsEntries() {
        final NodeConfig usual = load("ssd.capacity=4GiB");
        assertEquals(262_144, usual.ssd().objects());
        assertEquals(4_096, load("ssd.capacity=16MiB").ssd().objects(), "as many as it has pages");
        assertEquals(1 << 24, load("ssd.capacity=1TiB").ssd().objects(), "one for each 64 KiB");
        assertEquals(0, load("ssd.capacity=0").ssd().objects());
        final NodeConfig many = load("ssd.capacity=4GiB", "ssd.objects=10000000");
        assertEquals(10_000_000, many.ssd().objects());
        final MemoryNeed need = MemoryNeed.of(many.cluster(), many.ssd());
        assertTrue(need.index() > 1_700_000_000L && need.index() <= 1_800_000_000L, () -> need.index() + " bytes");
        assertEquals(
                need.total() - need.index(),
                MemoryNeed.of(many.cluster(), load("ssd.capacity=0").ssd()).total());
        assertTrue(need.describe(new MemoryLimit(600 * MIB, root)).contains("ssd.objects 1.6 GiB"));
    }

    @Test
    void aClusterNeedsItsLinksAndItsDirectoryToo() {
        final NodeConfig usual = ConfigLoader.load(null, Map.of(), List.of()).config();
        final MemoryNeed alone = MemoryNeed.of(usual.cluster(), usual.ssd());
        final MemoryNeed member = MemoryNeed.of(
                ConfigLoader.load(null, Map.of(), List.of("cluster.seeds=127.0.0.1"))
                        .config()
                        .cluster(),
                usual.ssd());
        assertEquals(64 * MIB, member.directory());
        assertTrue(member.links() > 400 * MIB);
        assertEquals(alone.total() + member.directory() + member.links(), member.total());
        final MemoryLimit limit = new MemoryLimit(600 * MIB, root);
        assertTrue(member.describe(limit).contains("link buffers"));
        assertFalse(alone.describe(limit).contains("link buffers"));
    }

    @Test
    void aUserWithoutAnEntryIsCalledByItsNumber() {
        assertEquals("54321", OwnUser.name("?", 54321));
        assertEquals("54321", OwnUser.name(null, 54321));
        assertEquals("kv", OwnUser.name("kv", 54321));
        assertEquals(Path.of("/home/kv"), OwnUser.home("/home/kv", "/elsewhere", "kv"));
        assertEquals(Path.of("/work"), OwnUser.home("?", "/work", "54321"));
        assertEquals(Path.of("/var/tmp/kvasir-54321"), OwnUser.home("?", "/", "54321"));
        assertEquals(Path.of("/var/tmp/kvasir-54321"), OwnUser.home("?", "", "54321"));
        assertEquals(Optional.empty(), MemoryLimit.of(root.resolve("nothing")));
    }
}
