package io.kvasir.storage;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.lang.foreign.Arena;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What every tier promises; run against each implementation. */
public abstract class TierContract {
    protected static final long CAPACITY = 64L << 20;
    private static final int MIB = 1 << 20;

    protected TierUnderTest tier;

    protected abstract TierUnderTest open(long capacityBytes);

    @BeforeEach
    void openTier() {
        tier = open(CAPACITY);
    }

    @AfterEach
    void closeTier() {
        tier.close();
    }

    protected boolean put(final long number, final int length) {
        try (Arena arena = Arena.ofShared()) {
            return tier.put(
                    TestObjects.id(number),
                    TestObjects.payload(arena, number, length).asSlice(0, length));
        }
    }

    protected void assertHolds(final long number, final int length) {
        assertArrayEquals(
                TestObjects.bytes(number, length),
                tier.get(TestObjects.id(number))
                        .orElseThrow(() -> new AssertionError("object " + number + " is gone")));
    }

    protected void assertMiss(final long number) {
        assertTrue(tier.get(TestObjects.id(number)).isEmpty(), "object " + number + " is there");
        assertFalse(tier.contains(TestObjects.id(number)));
    }

    @Test
    void shouldGiveBackTheBytesThatWerePut() {
        assertTrue(put(1, 100_000));
        assertHolds(1, 100_000);
    }

    @Test
    void shouldMissWhatWasNeverPut() {
        assertTrue(put(1, 4096));
        assertMiss(2);
    }

    @Test
    void shouldKeepOneCopy() {
        assertTrue(put(1, MIB));
        assertTrue(put(1, MIB));
        assertEquals(1, tier.objects());
        assertHolds(1, MIB);
    }

    @Test
    void shouldMissAfterRemoval() {
        assertTrue(put(1, MIB));
        assertTrue(tier.remove(TestObjects.id(1)));
        assertMiss(1);
        assertFalse(tier.remove(TestObjects.id(1)));
        assertEquals(0, tier.objects());
    }

    @Test
    void shouldNeverExceedItsCapacity() {
        assumeTrue(tier.isBounded());
        for (int i = 0; i < 200; i++) {
            assertTrue(put(i, MIB), "put " + i);
            assertTrue(tier.allocatedBytes() <= tier.capacityBytes());
        }
        assertTrue(tier.objects() * MIB <= CAPACITY);
        assertTrue(tier.objects() * MIB >= CAPACITY * 3 / 4, "only " + tier.objects() + " objects are kept");
        assertHolds(199, MIB);
        assertMiss(0);
    }

    @Test
    void shouldReuseTheSpaceOfRemovedObjects() {
        for (int round = 0; round < 5; round++) {
            for (int i = 0; i < 40; i++) {
                assertTrue(put(round * 100 + i, MIB));
            }
            for (int i = 0; i < 40; i++) {
                assertHolds(round * 100 + i, MIB);
                assertTrue(tier.remove(TestObjects.id(round * 100 + i)));
            }
        }
        assertEquals(0, tier.objects());
    }

    @Test
    void shouldMoveSpaceToAnotherSize() {
        for (int i = 0; i < 100; i++) {
            assertTrue(put(i, MIB));
        }
        for (int i = 1000; i < 2000; i++) {
            assertTrue(put(i, 64 << 10), "put " + i);
        }
        assertHolds(1999, 64 << 10);
        assertTrue(put(3000, 16 * MIB));
        assertHolds(3000, 16 * MIB);
        assertTrue(tier.allocatedBytes() <= CAPACITY);
    }

    @Test
    void shouldHaveAfterReopeningWhatSurvives() {
        for (int i = 0; i < 20; i++) {
            assertTrue(put(i, 100_000 + i));
        }
        assertTrue(tier.remove(TestObjects.id(7)));
        tier.reopen();
        for (int i = 0; i < 20; i++) {
            if (i == 7 || !tier.survives()) {
                assertMiss(i);
            } else {
                assertHolds(i, 100_000 + i);
            }
        }
        assertEquals(tier.survives() ? 19 : 0, tier.objects());
        assertTrue(put(100, MIB));
        assertHolds(100, MIB);
    }

    @Test
    void shouldDropWhatWasDamaged() {
        assumeTrue(tier.findsDamage());
        assertTrue(put(1, MIB));
        assertTrue(put(2, MIB));
        tier.damage(TestObjects.id(1));
        assertMiss(1);
        assertEquals(1, tier.objects());
        assertHolds(2, MIB);
        assertTrue(put(1, MIB));
        assertHolds(1, MIB);
    }

    @Test
    void shouldHoldManySizesAtOnce() {
        int number = 0;
        for (final int length : new int[] {1, 4095, 4096, 4097, 65_536, 65_537, 1_000_003, MIB, 3 * MIB + 5}) {
            assertTrue(put(++number, length), length + " bytes");
        }
        number = 0;
        for (final int length : new int[] {1, 4095, 4096, 4097, 65_536, 65_537, 1_000_003, MIB, 3 * MIB + 5}) {
            assertHolds(++number, length);
        }
    }

    @Test
    void shouldRefuseWhatCanNeverFit() {
        assumeTrue(tier.isBounded());
        assertFalse(put(1, (int) CAPACITY + MIB));
        assertTrue(put(2, MIB));
        assertHolds(2, MIB);
    }
}
