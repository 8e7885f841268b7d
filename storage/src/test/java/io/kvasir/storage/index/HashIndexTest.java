package io.kvasir.storage.index;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

class HashIndexTest {
    /** Hashes of few tags, and of many with one place where the search begins. */
    private static long hash(final int number) {
        return ((long) (number % 7) << 61) | ((long) (number % 100) << 32) | number;
    }

    @Test
    void shouldFindWhatAMapFinds() {
        final List<Long> hashes = new ArrayList<>();
        for (int number = 0; number < 3000; number++) {
            hashes.add(hash(number));
        }
        final Map<Integer, Integer> model = new HashMap<>();
        final SplittableRandom random = new SplittableRandom(7);
        // More than are expected: it grows.
        final HashIndex index = new HashIndex(10, hashes::get);
        for (int step = 0; step < 100_000; step++) {
            final int number = random.nextInt(hashes.size());
            if (model.remove(number) != null) {
                index.remove(hashes.get(number), number);
            } else if (random.nextInt(10) < 8) {
                index.put(hashes.get(number), number);
                model.put(number, number);
            }
            final int asked = random.nextInt(hashes.size());
            assertEquals(model.getOrDefault(asked, HashIndex.NONE), index.find(hashes.get(asked)));
            assertEquals(model.size(), index.size());
        }
        for (int number = 0; number < hashes.size(); number++) {
            assertEquals(model.getOrDefault(number, HashIndex.NONE), index.find(hashes.get(number)));
        }
    }
}
