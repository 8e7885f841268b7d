package io.kvasir.node.placement;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashSet;
import java.util.Set;
import org.junit.jupiter.api.Test;

class PlacementTest {
    private static final PeerRoom FULL = new PeerRoom(0, 0);
    private static final PeerRoom SOME_ROOM = new PeerRoom(8_192, 0);
    private static final PeerRoom MUCH_ROOM = new PeerRoom(1 << 20, 0);
    private final Placement placement = new Placement(3);

    private int taker(final long random, final PeerRoom... peers) {
        return Placement.taker(4_096, peers.length, Placement.NOBODY, peer -> peers[peer], random);
    }

    @Test
    void shouldLetPulledCopiesGiveWayFirstUntilTheyAreUsedOften() {
        assertTrue(placement.givesWayFirst(true, true, 0));
        assertTrue(placement.givesWayFirst(true, true, 2));
        assertFalse(placement.givesWayFirst(true, true, 3));
    }

    @Test
    void shouldKeepTheLastCopyAndWhatWasStoredHere() {
        assertFalse(placement.givesWayFirst(true, false, 0));
        assertFalse(placement.givesWayFirst(false, true, 0));
    }

    @Test
    void shouldMoveOnlyTheLastCopyThatIsNotOnSsdAndMakesNoRoomForAMove() {
        assertTrue(Placement.isWorthMoving(false, false, false));
        assertFalse(Placement.isWorthMoving(true, false, false));
        assertFalse(Placement.isWorthMoving(false, true, false));
        assertFalse(Placement.isWorthMoving(false, false, true));
    }

    @Test
    void shouldPreferThePeerWithMostRoom() {
        for (int random = 0; random < 4; random++) {
            assertEquals(2, taker(random, FULL, SOME_ROOM, MUCH_ROOM, FULL));
        }
    }

    @Test
    void shouldDropWhenNobodyCanTakeIt() {
        assertEquals(Placement.NOBODY, taker(0));
        assertEquals(Placement.NOBODY, taker(0, FULL, FULL));
        assertEquals(Placement.NOBODY, taker(0, new PeerRoom(4_095, 0)));
    }

    @Test
    void shouldNeverTakeItselfOrAPeerThatIsNotThere() {
        final PeerRoom[] peers = {MUCH_ROOM, null, SOME_ROOM};
        for (int random = 0; random < 6; random++) {
            assertEquals(2, Placement.taker(4_096, 3, 0, peer -> peers[peer], random));
        }
    }

    @Test
    void shouldSpreadDecisionsOverPeersOfALargeCluster() {
        final Set<Integer> taken = new HashSet<>();
        for (int random = 0; random < 1_000; random++) {
            final int peer = Placement.taker(4_096, 1_000, 7, any -> SOME_ROOM, random);
            assertTrue(peer >= 0 && peer < 1_000 && peer != 7);
            taken.add(peer);
        }
        assertTrue(taken.size() > 900, "peers taken: " + taken.size());
    }

    private static int source(final long random, final long... expectedNs) {
        return Placement.source(expectedNs.length, i -> expectedNs[i], random);
    }

    @Test
    void shouldFetchFromTheHolderFromWhichItIsExpectedFirst() {
        for (int random = 0; random < 4; random++) {
            assertEquals(1, source(random, 900, 100, -1, 500));
            assertEquals(2, source(random, 500, 900, 0, -1));
        }
        assertEquals(Placement.NOBODY, source(5, -1));
        assertEquals(Placement.NOBODY, source(0));
    }

    @Test
    void shouldSpreadReadersOverHoldersThatAreAboutEqual() {
        final Set<Integer> chosen = new HashSet<>();
        for (int random = 0; random < 3; random++) {
            chosen.add(source(random, 1_000, 950, 1_050));
        }
        assertEquals(Set.of(0, 1, 2), chosen);
    }

    @Test
    void shouldRefuseSettingsThatMakeNoSense() {
        assertThrows(IllegalArgumentException.class, () -> new Placement(0));
    }
}
