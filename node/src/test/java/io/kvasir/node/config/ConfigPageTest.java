package io.kvasir.node.config;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;

class ConfigPageTest {
    private static final Path PAGE = Path.of("../docs/configuration.md");

    @Test
    void pageIsWhatTheSchemaSays() throws IOException {
        final String rendered = ConfigPage.render(ConfigSchema.load());
        if (Boolean.getBoolean("kvasir.docs.write")) {
            Files.writeString(PAGE, rendered);
        }
        assertEquals(rendered, Files.readString(PAGE), "stale; the page's head says how to write it");
    }
}
