package io.kvasir.node.engine;

import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;

class BudgetTest {
    private static final int FRAME = 8 << 20;

    @Test
    void whatRequestsMayTakeFitsTheHeapThatANodeIsShippedWith() throws IOException {
        final long heap = Files.readAllLines(Path.of("..", "ops", "node.jvm.args")).stream()
                .filter(line -> line.startsWith("-Xmx"))
                .mapToLong(line -> Long.parseLong(line.substring(4, line.length() - 1)) << 20)
                .findFirst()
                .orElseThrow();
        assertNull(Budget.shortfall(FRAME, heap));
    }

    @Test
    void aLongerFrameThanTheHeapHasRoomForIsSaid() {
        final String said = Budget.shortfall(64 << 20, 192L << 20);
        assertNotNull(said);
        assertTrue(said.contains("engine.max_frame is 67108864 bytes"), said);
    }
}
