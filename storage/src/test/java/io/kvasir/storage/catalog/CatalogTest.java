package io.kvasir.storage.catalog;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.TestObjects;
import io.kvasir.storage.object.StorageException;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

class CatalogTest {
    private static final int HISTORY = 1000;

    @TempDir
    Path directory;

    static Catalog open(final Path directory) {
        return Catalog.open(new Catalog.Context()
                .directory(directory)
                .namespaces(64)
                .pins(256)
                .history(HISTORY));
    }

    static void fill(final Catalog catalog) {
        catalog.rememberNamespace(TestObjects.key(1), new NamespaceInfo("anna", new byte[] {1, 2, 3}));
        catalog.pin(TestObjects.id(2), new Pin(5000, 7));
        catalog.gone(3, new GoneObject(11, 12));
    }

    private static void assertFilled(final Catalog catalog) {
        final NamespaceInfo info = catalog.namespace(TestObjects.key(1)).orElseThrow();
        assertEquals("anna", info.tenant());
        assertArrayEquals(new byte[] {1, 2, 3}, info.fields());
        assertEquals(Optional.of(new Pin(5000, 7)), catalog.pinOf(TestObjects.id(2)));
        assertEquals(Optional.of(new GoneObject(11, 12)), catalog.past(3));
    }

    @Test
    void shouldRememberOverRestarts() {
        try (Catalog catalog = open(directory)) {
            fill(catalog);
            assertFilled(catalog);
        }
        try (Catalog catalog = open(directory)) {
            assertFilled(catalog);
            assertFalse(catalog.wasDamaged());
        }
    }

    private Process child(final Class<?> program) throws IOException {
        final List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.addAll(ManagementFactory.getRuntimeMXBean().getInputArguments());
        command.addAll(List.of("-cp", System.getProperty("java.class.path"), program.getName()));
        command.add(directory.toString());
        return new ProcessBuilder(command)
                .redirectError(ProcessBuilder.Redirect.DISCARD)
                .start();
    }

    private List<String> files() throws IOException {
        try (Stream<Path> files = Files.list(directory)) {
            return files.map(file -> file.getFileName().toString()).sorted().toList();
        }
    }

    @Test
    @Timeout(60)
    void shouldLeaveASoundFileAloneThatIsOpenedWhileTheProcessEnds() throws Exception {
        try (Catalog catalog = open(directory)) {
            fill(catalog);
        }
        final List<String> before = files();
        final Process child = child(EndingCatalog.class);
        assertTrue(child.waitFor(50, TimeUnit.SECONDS));
        assertEquals(before, files());
        try (Catalog catalog = open(directory)) {
            assertFilled(catalog);
        }
    }

    @Test
    void shouldTakeNoUnfinishedFileForADamagedOne() throws IOException {
        Files.createFile(log());
        Files.write(directory.resolve("catalog.log.new"), new byte[] {1, 2, 3});
        try (Catalog catalog = open(directory)) {
            assertFalse(catalog.wasDamaged());
            fill(catalog);
        }
        assertEquals(List.of("LOCK", "catalog.log"), files());
    }

    @Test
    void shouldKeepTheNewestOfItsDamagedFiles() throws IOException {
        for (byte round = 1; round <= 5; round++) {
            Files.write(log(), new byte[] {round});
            try (Catalog catalog = open(directory)) {
                assertTrue(catalog.wasDamaged());
            }
        }
        assertEquals(
                List.of("catalog.log.damaged-4", "catalog.log.damaged-5"),
                files().stream().filter(name -> name.contains("damaged")).toList());
        assertArrayEquals(new byte[] {5}, Files.readAllBytes(directory.resolve("catalog.log.damaged-5")));
    }

    @Test
    void shouldRememberAfterAKill() throws Exception {
        final Process child = child(KilledCatalog.class);
        try (var lines = child.inputReader()) {
            String line = lines.readLine();
            while (line != null && !line.equals("filled")) {
                line = lines.readLine();
            }
            assertEquals("filled", line);
        } finally {
            child.destroyForcibly();
            assertTrue(child.waitFor(30, TimeUnit.SECONDS));
        }
        try (Catalog catalog = open(directory)) {
            assertFilled(catalog);
            assertFalse(catalog.wasDamaged());
        }
    }

    private Path log() {
        return directory.resolve("catalog.log");
    }

    @Test
    @Timeout(30)
    void shouldBeginAnewWhereItsFileIsGarbage() throws IOException {
        final byte[] garbage = new byte[100_000];
        new Random(1).nextBytes(garbage);
        Files.write(log(), garbage);
        try (Catalog catalog = open(directory)) {
            assertTrue(catalog.wasDamaged());
            fill(catalog);
            assertFilled(catalog);
        }
        assertArrayEquals(garbage, Files.readAllBytes(directory.resolve("catalog.log.damaged-1")));
        try (Catalog catalog = open(directory)) {
            assertFalse(catalog.wasDamaged());
            assertFilled(catalog);
        }
    }

    @Test
    @Timeout(60)
    void shouldKeepWhatIsBeforeItsEndWhereverThatIs() throws IOException {
        try (Catalog catalog = open(directory)) {
            fill(catalog);
        }
        final byte[] whole = Files.readAllBytes(log());
        for (int length = whole.length - 1; length >= 0; length--) {
            Files.write(log(), java.util.Arrays.copyOf(whole, length));
            try (Catalog catalog = open(directory)) {
                assertEquals(length > 0 && length < 16, catalog.wasDamaged(), "cut to " + length);
                assertTrue(catalog.past(3).isEmpty());
                fill(catalog);
                assertFilled(catalog);
            }
        }
    }

    @Test
    void shouldKeepWhatIsBeforeAWrongByte() throws IOException {
        try (Catalog catalog = open(directory)) {
            fill(catalog);
        }
        final byte[] bytes = Files.readAllBytes(log());
        bytes[bytes.length - 10] ^= 1;
        Files.write(log(), bytes);
        for (int start = 0; start < 2; start++) {
            try (Catalog catalog = open(directory)) {
                assertEquals(start == 0, catalog.wasDamaged());
                assertEquals(Optional.of(new Pin(5000, 7)), catalog.pinOf(TestObjects.id(2)));
                assertTrue(catalog.past(3).isEmpty());
            }
        }
    }

    @Test
    void shouldForgetInItsFileTooWhatIsTakenBack() {
        try (Catalog catalog = open(directory)) {
            fill(catalog);
            catalog.unpin(TestObjects.id(2));
            catalog.forgetNamespace(TestObjects.key(1));
        }
        try (Catalog catalog = open(directory)) {
            assertTrue(catalog.pinOf(TestObjects.id(2)).isEmpty());
            assertTrue(catalog.namespace(TestObjects.key(1)).isEmpty());
        }
    }

    @Test
    void shouldNotGrowItsFileForEver() throws IOException {
        try (Catalog catalog = open(directory)) {
            fill(catalog);
            for (int i = 0; i < 2_500_000; i++) {
                catalog.gone(i % 100, new GoneObject(i, i));
                if (i % 100_000 == 0) {
                    assertTrue(catalog.flush());
                }
            }
        }
        assertTrue(Files.size(log()) < 64 << 20, "has " + Files.size(log()));
        try (Catalog catalog = open(directory)) {
            assertEquals(Optional.of(new GoneObject(2_499_999, 2_499_999)), catalog.past(99));
            assertEquals(Optional.of(new Pin(5000, 7)), catalog.pinOf(TestObjects.id(2)));
        }
    }

    @Test
    void shouldForgetTheOldestOfThoseThatAreGone() {
        try (Catalog catalog = open(directory)) {
            for (int i = 0; i < 10 * HISTORY; i++) {
                catalog.gone(i, new GoneObject(i, 1));
                assertTrue(catalog.remembered() <= HISTORY);
            }
            assertTrue(catalog.remembered() > HISTORY / 2);
            assertTrue(catalog.past(0).isEmpty());
            assertEquals(Optional.of(new GoneObject(10 * HISTORY - 1, 1)), catalog.past(10 * HISTORY - 1));
        }
    }

    @Test
    void shouldRefusePinsBeyondItsRoomAndForgetThoseThatEnded() {
        try (Catalog catalog = open(directory)) {
            for (int i = 0; i < 256; i++) {
                assertTrue(catalog.pin(TestObjects.id(i), new Pin(i, 0)));
            }
            assertFalse(catalog.pin(TestObjects.id(999), new Pin(1, 0)));
            assertTrue(catalog.pin(TestObjects.id(1), new Pin(1, 5)));
            assertEquals(101, catalog.expirePins(100));
            assertTrue(catalog.pin(TestObjects.id(999), new Pin(1, 0)));
            assertTrue(catalog.unpin(TestObjects.id(999)));
            assertFalse(catalog.unpin(TestObjects.id(999)));
        }
    }

    @Test
    void shouldRefuseASecondOpener() {
        try (Catalog first = open(directory)) {
            assertThrows(StorageException.class, () -> open(directory));
            fill(first);
            assertFilled(first);
        }
    }
}
