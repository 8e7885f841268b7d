package io.kvasir.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** What ArchUnit cannot see in class files: the length of a source, and constants, which the compiler copies. */
class SourcesTest {
    private static final Path REPOSITORY = Path.of("").toAbsolutePath().getParent();
    private static final List<String> MODULES = List.of("storage", "transport", "node", "ops", "bench");
    private static final int MOST_LINES = 500;
    private static final String STORAGE = "storage/src/main/java/io/kvasir/storage/";
    private static final Pattern OF_STORAGE = Pattern.compile("import (static )?io\\.kvasir\\.storage\\.[A-Z].*");

    private static List<Path> sources() throws IOException {
        try (Stream<Path> all = MODULES.stream()
                .map(module -> REPOSITORY.resolve(module).resolve("src/main/java"))
                .flatMap(SourcesTest::files)) {
            return all.toList();
        }
    }

    private static Stream<Path> files(final Path folder) {
        try (Stream<Path> all = Files.walk(folder)) {
            return all.filter(path -> path.toString().endsWith(".java")).toList().stream();
        } catch (final IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Test
    void noClassIsLongerThanAReaderKeepsInMind() throws IOException {
        final Set<String> found = new TreeSet<>();
        for (final Path source : sources()) {
            if (Files.readAllLines(source).size() > MOST_LINES) {
                found.add(source.getFileName().toString().replace(".java", ""));
            }
        }
        assertEquals(Set.of(), found, "give a part of what is new here an owner of its own");
    }

    @Test
    void packagesBelowStorageTakeNoConstantsFromIt() throws IOException {
        final Set<String> found = new TreeSet<>();
        for (final Path source : sources()) {
            final String name = REPOSITORY.relativize(source).toString();
            if (name.startsWith(STORAGE) && name.indexOf('/', STORAGE.length()) > 0) {
                Files.readAllLines(source).stream()
                        .filter(line -> OF_STORAGE.matcher(line).matches())
                        .forEach(line -> found.add(name + ": " + line));
            }
        }
        assertEquals(Set.of(), found);
    }

    @Test
    void benchmarksAreInTheModuleThatIsNotShipped() throws IOException {
        final Set<String> found = new TreeSet<>();
        for (final Path source : sources()) {
            final String name = REPOSITORY.relativize(source).toString();
            if (name.contains("Bench") && !name.startsWith("bench/")) {
                found.add(name);
            }
        }
        assertEquals(Set.of(), found);
    }

    @Test
    void thereAreSources() throws IOException {
        assertFalse(sources().isEmpty(), "the tests above looked at nothing in " + REPOSITORY);
    }
}
