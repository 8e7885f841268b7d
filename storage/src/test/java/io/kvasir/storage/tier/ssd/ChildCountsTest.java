package io.kvasir.storage.tier.ssd;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashMap;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;

class ChildCountsTest {
    private static final int OBJECTS = 10_000;

    @Test
    void shouldFindEveryParentAndFewOthers() {
        final ChildCounts counts = new ChildCounts(OBJECTS);
        final Random random = new Random(2);
        final Map<Integer, Integer> model = new HashMap<>();
        for (int step = 0; step < 200_000; step++) {
            final int parent = random.nextInt();
            model.merge(parent, 1, Integer::sum);
            counts.add(parent);
            if (random.nextInt(4) == 0) {
                model.merge(parent, 1, Integer::sum);
                counts.add(parent);
            }
            while (model.size() > OBJECTS) {
                final int gone = model.keySet().iterator().next();
                counts.remove(gone);
                model.computeIfPresent(gone, (hash, count) -> count == 1 ? null : count - 1);
            }
        }
        for (final int parent : model.keySet()) {
            assertTrue(counts.has(parent));
        }
        int wrong = 0;
        for (int i = 0; i < OBJECTS; i++) {
            final int other = random.nextInt();
            wrong += counts.has(other) && !model.containsKey(other) ? 1 : 0;
        }
        assertTrue(wrong < OBJECTS / 12, wrong + " are taken for parents");
        model.forEach((parent, count) -> {
            for (int i = 0; i < count; i++) {
                counts.remove(parent);
            }
        });
        int left = 0;
        for (int i = 0; i < OBJECTS; i++) {
            left += counts.has(random.nextInt()) ? 1 : 0;
        }
        assertEquals(0, left, "all children have left");
    }
}
