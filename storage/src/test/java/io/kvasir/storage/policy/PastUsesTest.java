package io.kvasir.storage.policy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

class PastUsesTest {
    private static final int PLACES = 1 << 12;

    private final SplittableRandom random = new SplittableRandom(1);

    @Test
    void shouldTellTheUsesOfWhatLeftOnce() {
        final PastUses past = new PastUses(PLACES);
        final long[] hashes = random.longs(PLACES / 4).toArray();
        for (int i = 0; i < hashes.length; i++) {
            past.put(hashes[i], i % 10, 0);
        }
        int wrong = 0;
        for (int i = 0; i < hashes.length; i++) {
            wrong += past.take(hashes[i]) == i % 10 ? 0 : 1;
        }
        assertTrue(wrong < hashes.length / 50, "wrong for " + wrong);
        int found = 0;
        for (final long hash : hashes) {
            found += past.take(hash) >= 0 ? 1 : 0;
        }
        assertTrue(found < hashes.length / 50, "taken twice: " + found);
    }

    @Test
    void shouldForgetTheOldestOfASet() {
        final PastUses past = new PastUses(8);
        for (int i = 0; i < 9; i++) {
            past.put(hash(i), i, 0);
        }
        assertEquals(-1, past.take(hash(0)));
        for (int i = 1; i < 9; i++) {
            assertEquals(i, past.take(hash(i)));
        }
    }

    @Test
    void shouldChangeNothingWhenItIsToldWhatToExpect() {
        final PastUses past = new PastUses(8);
        past.put(hash(1), 5, 0);
        past.expect(new long[] {hash(1), hash(2)}, 2);
        assertEquals(-1, past.take(hash(2)));
        assertEquals(5, past.take(hash(1)));
    }

    @Test
    void shouldTellHowLongAgoTheLastUseWas() {
        final PastUses past = new PastUses(8);
        past.put(hash(1), 5, (1L << 40) - 7);
        assertEquals(5, past.take(hash(1)));
        assertEquals(12, past.sinceTaken((1L << 40) + 5));
    }

    @Test
    void shouldCutManyUses() {
        final PastUses past = new PastUses(8);
        past.put(hash(0), Byte.MAX_VALUE, 0);
        assertTrue(past.take(hash(0)) > 8, "more than the policies tell apart");
    }

    @Test
    void shouldKeepWhatItRemembersWhenItGrows() {
        final PastUses past = new PastUses(PLACES);
        final long[] hashes = random.longs(PLACES / 8).toArray();
        for (final long hash : hashes) {
            past.put(hash, 3, 0);
        }
        past.grow(PLACES * 4 + 1);
        assertEquals(PLACES * 8, past.places());
        int lost = 0;
        for (final long hash : hashes) {
            lost += past.take(hash) == 3 ? 0 : 1;
        }
        assertTrue(lost < hashes.length / 50, "lost " + lost);
    }

    @Test
    void shouldTakeFewNewObjectsForOldOnes() {
        final PastUses past = new PastUses(PLACES);
        random.longs(PLACES * 4).forEach(hash -> past.put(hash, 1, 0));
        final long mistaken =
                random.longs(100_000).filter(hash -> past.take(hash) >= 0).count();
        assertTrue(mistaken < 10, "mistaken " + mistaken);
    }

    /** Hashes whose tags differ. */
    private static long hash(final int i) {
        return (long) i << 56;
    }
}
