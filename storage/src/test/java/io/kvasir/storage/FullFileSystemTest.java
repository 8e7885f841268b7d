package io.kvasir.storage;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvasir.storage.lookup.LookupAnswer;
import io.kvasir.storage.object.SlotStatus;
import io.kvasir.storage.object.StorageException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** An arena on a tmpfs that somebody else fills, or takes away. Mounts one of 16 MiB, so it needs root. */
class FullFileSystemTest {
    private static final int MIB = 1 << 20;
    private Path mount;

    @BeforeEach
    void mountTmpfs() throws IOException, InterruptedException {
        mount = Files.createTempDirectory("kvasir-full-");
        assumeTrue(
                run("mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", mount.toString()) == 0,
                "mounting a tmpfs needs root");
    }

    @AfterEach
    void unmount() throws IOException, InterruptedException {
        run("umount", "-l", mount.toString());
        Files.deleteIfExists(mount);
    }

    private static int run(final String... command) throws IOException, InterruptedException {
        return new ProcessBuilder(command)
                .redirectErrorStream(true)
                .redirectOutput(ProcessBuilder.Redirect.DISCARD)
                .start()
                .waitFor();
    }

    private StoreContext context() {
        return new StoreContext()
                .dramDirectory(mount.resolve("arena"))
                .dramCapacity(12 * MIB)
                .regionBytes(MIB);
    }

    @Test
    void shouldRefuseToStartWithoutTheSpaceAndSayTheNumbers() throws IOException {
        Files.write(mount.resolve("other"), new byte[8 * MIB]);
        final StorageException refused = assertThrows(StorageException.class, () -> new StoreAgent(context()));
        assertTrue(refused.getMessage().contains("dram.capacity is " + 12 * MIB), refused.getMessage());
        assertTrue(refused.getMessage().contains("bytes free"), refused.getMessage());
    }

    @Test
    void shouldServeWhatItHasWhenTheFileSystemFillsUp() throws IOException {
        final int length = 256 * 1024;
        try (StoreFixture fixture = new StoreFixture(context())) {
            assertEquals(SlotStatus.COMMITTED, fixture.store(1, length));
            fill(mount.resolve("other"));
            for (long number = 2; number < 40; number++) {
                assertEquals(SlotStatus.COMMITTED, fixture.store(number, length), "object " + number);
            }
            assertArrayEquals(StoreFixture.content(39, length), fixture.load(39));
            assertTrue(fixture.store.admin().counters().faults.sum() > 0, "the failed allocation is counted");
        }
    }

    private static void fill(final Path file) throws IOException {
        try (var out = Files.newOutputStream(file)) {
            final byte[] page = new byte[4096];
            for (int i = 0; i < 16 * MIB / page.length; i++) {
                out.write(page);
            }
        } catch (final IOException full) {
            assertTrue(Files.size(file) > 0, full.toString());
        }
    }

    @Test
    void shouldOutliveTheLossOfItsDirectory() throws IOException, InterruptedException {
        final int length = 256 * 1024;
        try (StoreFixture fixture = new StoreFixture(context())) {
            assertEquals(SlotStatus.COMMITTED, fixture.store(1, length));
            final LookupAnswer lease = fixture.lookup(1);
            assertEquals(0, run("rm", "-rf", mount.resolve("arena").toString()));
            assertThrows(StorageException.class, () -> fixture.store.engines().openAttachment(fixture.tenant));
            assertEquals(1, fixture.lookup(1).hitChunks());
            assertTrue(fixture.store.engines().release(fixture.holder, lease.lease(), new int[0]));
        }
    }
}
