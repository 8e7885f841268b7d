package io.kvasir.node.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class TurnsTest {
    @Test
    void shouldShareADutyCycleAmongManyConnections() {
        assertEquals(Turns.turnNs(0), Turns.turnNs(1));
        assertTrue(Turns.turnNs(1) > Turns.turnNs(20));
        assertEquals(20 * Turns.turnNs(20), 40 * Turns.turnNs(40));
        assertTrue(Turns.turnNs(Integer.MAX_VALUE) > 0);
    }
}
