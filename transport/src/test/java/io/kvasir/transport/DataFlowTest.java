package io.kvasir.transport;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class DataFlowTest {
    private final DataFlow flow = new DataFlow();
    private final DataFlow.Looks looks = new DataFlow.Looks();

    /** Looks in this many turns at a socket that has nothing, or always something. */
    private int looks(final int turns, final boolean seldom, final boolean found) {
        int count = 0;
        for (int turn = 0; turn < turns; turn++) {
            if (looks.due(seldom)) {
                looks.looked(found);
                count++;
            }
        }
        return count;
    }

    @Test
    void flowIsOneWayOnlyWhileTheOtherWayIsStill() {
        flow.next();
        assertFalse(flow.onlySending() || flow.onlyReceiving(), "nothing went");
        flow.sent();
        flow.next();
        assertTrue(flow.onlySending());
        assertFalse(flow.onlyReceiving());
        flow.received();
        flow.next();
        assertTrue(flow.onlyReceiving());
        assertFalse(flow.onlySending());
        flow.sent();
        flow.received();
        flow.next();
        assertFalse(flow.onlySending() || flow.onlyReceiving(), "both ways");
        flow.next();
        assertFalse(flow.onlySending() || flow.onlyReceiving(), "nothing went any more");
    }

    @Test
    void socketWithoutMessagesIsLookedAtSeldomWhileBytesGoTheOtherWay() {
        assertEquals(10, looks(10 * DataFlow.SELDOM, true, false));
    }

    @Test
    void socketWithMessagesIsLookedAtInEveryTurn() {
        assertEquals(100, looks(100, true, true));
    }

    @Test
    void socketIsLookedAtInEveryTurnOnceTheFlowEnds() {
        looks(3, true, false);
        assertEquals(100, looks(100, false, false));
    }
}
