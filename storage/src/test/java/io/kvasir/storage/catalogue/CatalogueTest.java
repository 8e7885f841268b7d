package io.kvasir.storage.catalogue;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.StorageException;
import io.kvasir.storage.TestObjects;
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

class CatalogueTest {
    private static final int HISTORY = 1000;

    @TempDir
    Path directory;

    static Catalogue open(final Path directory) {
        return Catalogue.open(new Catalogue.Context()
                .directory(directory)
                .namespaces(64)
                .pins(256)
                .history(HISTORY));
    }

    static void fill(final Catalogue catalogue) {
        catalogue.rememberNamespace(TestObjects.key(1), new NamespaceInfo("anna", new byte[] {1, 2, 3}));
        catalogue.pin(TestObjects.id(2), new Pin(5000, 7));
        catalogue.gone(3, new GoneObject(11, 12));
    }

    private static void assertFilled(final Catalogue catalogue) {
        final NamespaceInfo info = catalogue.namespace(TestObjects.key(1)).orElseThrow();
        assertEquals("anna", info.tenant());
        assertArrayEquals(new byte[] {1, 2, 3}, info.fields());
        assertEquals(Optional.of(new Pin(5000, 7)), catalogue.pinOf(TestObjects.id(2)));
        assertEquals(Optional.of(new GoneObject(11, 12)), catalogue.past(3));
    }

    @Test
    void shouldRememberOverRestarts() {
        try (Catalogue catalogue = open(directory)) {
            fill(catalogue);
            assertFilled(catalogue);
        }
        try (Catalogue catalogue = open(directory)) {
            assertFilled(catalogue);
            assertFalse(catalogue.wasDamaged());
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
        try (Catalogue catalogue = open(directory)) {
            fill(catalogue);
        }
        final List<String> before = files();
        final Process child = child(EndingCatalogue.class);
        assertTrue(child.waitFor(50, TimeUnit.SECONDS));
        assertEquals(before, files());
        try (Catalogue catalogue = open(directory)) {
            assertFilled(catalogue);
        }
    }

    @Test
    void shouldTakeNoUnfinishedFileForADamagedOne() throws IOException {
        Files.createFile(log());
        Files.write(directory.resolve("catalog.log.new"), new byte[] {1, 2, 3});
        try (Catalogue catalogue = open(directory)) {
            assertFalse(catalogue.wasDamaged());
            fill(catalogue);
        }
        assertEquals(List.of("LOCK", "catalog.log"), files());
    }

    @Test
    void shouldKeepTheNewestOfItsDamagedFiles() throws IOException {
        for (byte round = 1; round <= 5; round++) {
            Files.write(log(), new byte[] {round});
            try (Catalogue catalogue = open(directory)) {
                assertTrue(catalogue.wasDamaged());
            }
        }
        assertEquals(
                List.of("catalog.log.damaged-4", "catalog.log.damaged-5"),
                files().stream().filter(name -> name.contains("damaged")).toList());
        assertArrayEquals(new byte[] {5}, Files.readAllBytes(directory.resolve("catalog.log.damaged-5")));
    }

    @Test
    void shouldRememberAfterAKill() throws Exception {
        final Process child = child(KilledCatalogue.class);
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
        try (Catalogue catalogue = open(directory)) {
            assertFilled(catalogue);
            assertFalse(catalogue.wasDamaged());
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
        try (Catalogue catalogue = open(directory)) {
            assertTrue(catalogue.wasDamaged());
            fill(catalogue);
            assertFilled(catalogue);
        }
        assertArrayEquals(garbage, Files.readAllBytes(directory.resolve("catalog.log.damaged-1")));
        try (Catalogue catalogue = open(directory)) {
            assertFalse(catalogue.wasDamaged());
            assertFilled(catalogue);
        }
    }

    @Test
    @Timeout(60)
    void shouldKeepWhatIsBeforeItsEndWhereverThatIs() throws IOException {
        try (Catalogue catalogue = open(directory)) {
            fill(catalogue);
        }
        final byte[] whole = Files.readAllBytes(log());
        for (int length = whole.length - 1; length >= 0; length--) {
            Files.write(log(), java.util.Arrays.copyOf(whole, length));
            try (Catalogue catalogue = open(directory)) {
                assertEquals(length > 0 && length < 16, catalogue.wasDamaged(), "cut to " + length);
                assertTrue(catalogue.past(3).isEmpty());
                fill(catalogue);
                assertFilled(catalogue);
            }
        }
    }

    @Test
    void shouldKeepWhatIsBeforeAWrongByte() throws IOException {
        try (Catalogue catalogue = open(directory)) {
            fill(catalogue);
        }
        final byte[] bytes = Files.readAllBytes(log());
        bytes[bytes.length - 10] ^= 1;
        Files.write(log(), bytes);
        for (int start = 0; start < 2; start++) {
            try (Catalogue catalogue = open(directory)) {
                assertEquals(start == 0, catalogue.wasDamaged());
                assertEquals(Optional.of(new Pin(5000, 7)), catalogue.pinOf(TestObjects.id(2)));
                assertTrue(catalogue.past(3).isEmpty());
            }
        }
    }

    @Test
    void shouldForgetInItsFileTooWhatIsTakenBack() {
        try (Catalogue catalogue = open(directory)) {
            fill(catalogue);
            catalogue.unpin(TestObjects.id(2));
            catalogue.forgetNamespace(TestObjects.key(1));
        }
        try (Catalogue catalogue = open(directory)) {
            assertTrue(catalogue.pinOf(TestObjects.id(2)).isEmpty());
            assertTrue(catalogue.namespace(TestObjects.key(1)).isEmpty());
        }
    }

    @Test
    void shouldNotGrowItsFileForEver() throws IOException {
        try (Catalogue catalogue = open(directory)) {
            fill(catalogue);
            for (int i = 0; i < 2_500_000; i++) {
                catalogue.gone(i % 100, new GoneObject(i, i));
                if (i % 100_000 == 0) {
                    assertTrue(catalogue.flush());
                }
            }
        }
        assertTrue(Files.size(log()) < 64 << 20, "has " + Files.size(log()));
        try (Catalogue catalogue = open(directory)) {
            assertEquals(Optional.of(new GoneObject(2_499_999, 2_499_999)), catalogue.past(99));
            assertEquals(Optional.of(new Pin(5000, 7)), catalogue.pinOf(TestObjects.id(2)));
        }
    }

    @Test
    void shouldForgetTheOldestOfThoseThatAreGone() {
        try (Catalogue catalogue = open(directory)) {
            for (int i = 0; i < 10 * HISTORY; i++) {
                catalogue.gone(i, new GoneObject(i, 1));
                assertTrue(catalogue.remembered() <= HISTORY);
            }
            assertTrue(catalogue.remembered() > HISTORY / 2);
            assertTrue(catalogue.past(0).isEmpty());
            assertEquals(Optional.of(new GoneObject(10 * HISTORY - 1, 1)), catalogue.past(10 * HISTORY - 1));
        }
    }

    @Test
    void shouldRefusePinsBeyondItsRoomAndForgetThoseThatEnded() {
        try (Catalogue catalogue = open(directory)) {
            for (int i = 0; i < 256; i++) {
                assertTrue(catalogue.pin(TestObjects.id(i), new Pin(i, 0)));
            }
            assertFalse(catalogue.pin(TestObjects.id(999), new Pin(1, 0)));
            assertTrue(catalogue.pin(TestObjects.id(1), new Pin(1, 5)));
            assertEquals(101, catalogue.expirePins(100));
            assertTrue(catalogue.pin(TestObjects.id(999), new Pin(1, 0)));
            assertTrue(catalogue.unpin(TestObjects.id(999)));
            assertFalse(catalogue.unpin(TestObjects.id(999)));
        }
    }

    @Test
    void shouldRefuseASecondOpener() {
        try (Catalogue first = open(directory)) {
            assertThrows(StorageException.class, () -> open(directory));
            fill(first);
            assertFilled(first);
        }
    }
}
