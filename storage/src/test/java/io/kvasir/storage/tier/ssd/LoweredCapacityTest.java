package io.kvasir.storage.tier.ssd;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.TestObjects;
import io.kvasir.storage.object.Hash256;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A tier that opens with less capacity than its files occupy. */
class LoweredCapacityTest {
    private static final long BEFORE = 64L << 20;
    private static final long AFTER = 24L << 20;
    private static final long EXTENT = 4L << 20;
    private static final int LENGTH = 500_000;
    private static final int COUNT = 100;

    @TempDir
    private Path directory;

    private long capacity = BEFORE;
    private int most;
    private SsdUnderTest ssd;

    @AfterEach
    void close() {
        ssd.close();
    }

    private void open() {
        ssd = new SsdUnderTest(
                directory,
                BEFORE,
                context -> context.capacityBytes(capacity).extentBytes(EXTENT).maxObjects(most));
    }

    private void fill() {
        open();
        for (int i = 0; i < COUNT; i++) {
            final MemorySegment bytes = MemorySegment.ofArray(TestObjects.bytes(i, LENGTH));
            assertEquals(
                    WriteOutcome.Status.DURABLE,
                    ssd.write(TestObjects.id(i), bytes, Hash256.ZERO).status());
        }
        assertTrue(ssd.allocatedBytes() > 2 * AFTER);
    }

    private int there() {
        int there = 0;
        for (int i = 0; i < COUNT; i++) {
            if (ssd.contains(TestObjects.id(i))) {
                assertArrayEquals(
                        TestObjects.bytes(i, LENGTH), ssd.get(TestObjects.id(i)).orElseThrow());
                there++;
            }
        }
        return there;
    }

    @Test
    void filesAreDeletedUntilTheyFit() {
        fill();
        capacity = AFTER;
        ssd.reopen();
        assertTrue(ssd.allocatedBytes() <= AFTER, () -> ssd.allocatedBytes() + " bytes");
        final int there = there();
        assertTrue(there >= (AFTER - EXTENT) / LENGTH / 2, () -> there + " objects");
        assertEquals(there, ssd.objects());
        assertEquals(COUNT - there, ssd.tier.metrics().evicted.sum());
    }

    @Test
    void fewerObjectsAreKeptWhereFewerAreAllowed() {
        fill();
        most = 5;
        ssd.reopen();
        assertEquals(5, there());
        assertEquals(5, ssd.objects());
        assertTrue(ssd.contains(TestObjects.id(COUNT - 1)));
        ssd.reopen();
        assertEquals(5, there());
        assertEquals(0, ssd.tier.metrics().dropped.sum());
        for (int i = 0; i < 20; i++) {
            final MemorySegment bytes = MemorySegment.ofArray(TestObjects.bytes(COUNT + i, LENGTH));
            assertTrue(ssd.write(TestObjects.id(COUNT + i), bytes, Hash256.ZERO).isStored());
            assertTrue(ssd.objects() <= 5, () -> ssd.objects() + " objects");
            assertTrue(ssd.contains(TestObjects.id(COUNT + i)), "the newest is there");
        }
    }

    @Test
    void whatWasWrittenLastStays() {
        fill();
        capacity = AFTER;
        ssd.reopen();
        assertTrue(ssd.contains(TestObjects.id(COUNT - 1)));
        assertTrue(!ssd.contains(TestObjects.id(0)));
    }

    @Test
    void theNextOpeningFindsThatAndWritesGoOn() {
        fill();
        capacity = AFTER;
        ssd.reopen();
        final int there = there();
        ssd.reopen();
        assertEquals(0, ssd.tier.metrics().dropped.sum());
        assertEquals(0, ssd.tier.metrics().rebuilt.sum());
        assertEquals(there, there());
        for (int i = 0; i < COUNT; i++) {
            final MemorySegment bytes = MemorySegment.ofArray(TestObjects.bytes(COUNT + i, LENGTH));
            assertTrue(ssd.write(TestObjects.id(COUNT + i), bytes, Hash256.ZERO).isStored());
            assertTrue(ssd.allocatedBytes() <= AFTER, () -> ssd.allocatedBytes() + " bytes");
        }
    }
}
