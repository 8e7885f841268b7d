package io.kvasir.node.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class CrowdTest {
    @ParameterizedTest
    @CsvSource(
            delimiter = ';',
            value = {"0.20 0.18 0.12 3/80 11206; 3", "127.01 99.00 0.12 141/8000 11206; 141", "'';0", "0.20 0.18; 0"})
    void readsHowManyThreadsRun(final String loadavg, final int running) {
        assertEquals(running, Crowd.running(ByteBuffer.wrap(loadavg.getBytes(StandardCharsets.US_ASCII))));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = ';',
            value = {"0; 1", "0-3; 4", "0-3,8-9; 6", "2,5-6; 3"})
    void countsTheProcessorsOfTheMachine(final String online, final int processors) {
        assertEquals(processors, Crowd.count(online));
    }

    /** Threads that spin, one more than there are processors, are a crowd. */
    @Test
    @Timeout(30)
    void seesThreadsThatWaitForAProcessor() throws Exception {
        final Crowd crowd = Crowd.ofThisMachine();
        final Thread[] spinning = new Thread[Runtime.getRuntime().availableProcessors() + 1];
        for (int i = 0; i < spinning.length; i++) {
            spinning[i] = Thread.ofPlatform().daemon().start(() -> {
                while (!Thread.currentThread().isInterrupted()) {
                    Thread.onSpinWait();
                }
            });
        }
        try {
            while (!crowd.isThere()) {
                Thread.onSpinWait();
            }
        } finally {
            for (final Thread each : spinning) {
                each.interrupt();
                each.join();
            }
        }
    }
}
