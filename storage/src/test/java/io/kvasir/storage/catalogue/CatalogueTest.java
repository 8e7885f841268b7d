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
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

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
            assertEquals(0, catalogue.damagedFiles());
        }
    }

    @Test
    void shouldRememberAfterAKill() throws Exception {
        final List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.addAll(ManagementFactory.getRuntimeMXBean().getInputArguments());
        command.addAll(List.of("-cp", System.getProperty("java.class.path"), KilledCatalogue.class.getName()));
        command.add(directory.toString());
        final Process child = new ProcessBuilder(command)
                .redirectError(ProcessBuilder.Redirect.DISCARD)
                .start();
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
            assertEquals(0, catalogue.damagedFiles());
        }
    }

    @ParameterizedTest
    @Timeout(30)
    @ValueSource(strings = {"namespaces.map", "pins.map", "history-0.map", "history-1.map"})
    void shouldBeginAnewWhereAFileIsGarbage(final String name) throws IOException {
        try (Catalogue catalogue = open(directory)) {
            fill(catalogue);
        }
        final byte[] garbage = new byte[100_000];
        new Random(1).nextBytes(garbage);
        Files.write(directory.resolve(name), garbage);
        try (Catalogue catalogue = open(directory)) {
            assertEquals(1, catalogue.damagedFiles());
            fill(catalogue);
            assertFilled(catalogue);
        }
        assertArrayEquals(garbage, Files.readAllBytes(directory.resolve(name + ".damaged-1")));
    }

    @Test
    @Timeout(30)
    void shouldBeginAnewWhereAFileWasCutShort() throws IOException {
        try (Catalogue catalogue = open(directory)) {
            fill(catalogue);
        }
        final Path file = directory.resolve("pins.map");
        Files.write(file, java.util.Arrays.copyOf(Files.readAllBytes(file), 20));
        try (Catalogue catalogue = open(directory)) {
            assertEquals(1, catalogue.damagedFiles());
            fill(catalogue);
            assertFilled(catalogue);
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
