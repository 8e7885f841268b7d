package io.kvasir.storage.tier.ssd;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.TestObjects;
import io.kvasir.storage.object.Hash256;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What is known of objects lies in pages of their extents that they share with their neighbours. */
class NeighboursTest {
    private static final int LENGTH = 4000;

    @TempDir
    Path directory;

    private SsdUnderTest ssd;
    private final Map<Long, Hash256> parents = new HashMap<>();

    private void open() {
        ssd = new SsdUnderTest(directory, 64L << 20, context -> context);
    }

    @AfterEach
    void close() {
        ssd.close();
    }

    private void write(final long number) {
        final Hash256 parent = number % 3 == 0 ? Hash256.ZERO : TestObjects.key(number - 1);
        final MemorySegment bytes = MemorySegment.ofArray(TestObjects.bytes(number, LENGTH));
        assertTrue(ssd.write(TestObjects.id(number), bytes, parent).isStored());
        parents.put(number, parent);
    }

    private void remove(final long number) {
        assertTrue(ssd.remove(TestObjects.id(number)));
        parents.remove(number);
    }

    private void assertAllThere() {
        parents.forEach((number, parent) -> {
            final MemorySegment destination = java.lang.foreign.Arena.ofAuto().allocate(4096, 4096);
            final ReadOutcome outcome = ssd.read(TestObjects.id(number), destination);
            assertTrue(outcome instanceof ReadOutcome.Loaded, () -> number + ": " + outcome);
            assertEquals(parent, ((ReadOutcome.Loaded) outcome).object().parent(), "object " + number);
            assertArrayEquals(
                    TestObjects.bytes(number, LENGTH),
                    destination.asSlice(0, LENGTH).toArray(java.lang.foreign.ValueLayout.JAVA_BYTE));
        });
        assertEquals(parents.size(), ssd.objects());
    }

    /** One by one, so that each page is written many times; also after a start, when no page is in memory. */
    @Test
    void shouldStayWhenOthersAreWrittenAndRemoved() {
        open();
        final Random random = new Random(5);
        long next = 0;
        for (int round = 0; round < 3; round++) {
            for (int i = 0; i < 60; i++) {
                write(next++);
            }
            for (int i = 0; i < 20; i++) {
                final Long[] there = parents.keySet().toArray(Long[]::new);
                remove(there[random.nextInt(there.length)]);
            }
            assertAllThere();
            ssd.reopen();
            assertAllThere();
        }
        // The headers alone are enough to find all of them.
        ssd.close();
        deletePlaces();
        ssd.openTier();
        parents.keySet().forEach(number -> assertTrue(ssd.contains(TestObjects.id(number)), "object " + number));
    }

    /** A kill while a removal is on its way gives the object back, header and all. */
    @Test
    void shouldStayWhileItsRemovalIsNotDurable() {
        open();
        for (int number = 0; number < 5; number++) {
            write(number);
        }
        final TierState state = ssd.tier.state();
        state.lock.lock();
        try {
            state.beginDelete(SsdWriter.single(state.findDurable(TestObjects.id(2))));
        } finally {
            state.lock.unlock();
        }
        write(5);
        ssd.reopen();
        assertAllThere();
    }

    private void deletePlaces() {
        try (Stream<Path> files = Files.list(directory.resolve("places"))) {
            for (final Path file : files.toList()) {
                Files.delete(file);
            }
        } catch (final IOException e) {
            throw new AssertionError(e);
        }
    }

    /** A header that another object has, or nobody, is never taken for the object's. */
    @Test
    void shouldMissAnObjectWhoseHeaderIsNotThere() throws IOException {
        open();
        write(1);
        ssd.close();
        for (final Path extent : ssd.extents()) {
            try (RandomAccessFile file = new RandomAccessFile(extent.toFile(), "rw")) {
                file.seek(4096);
                file.write(new byte[4096]);
            }
        }
        ssd.openTier();
        assertTrue(ssd.get(TestObjects.id(1)).isEmpty());
        assertEquals(1, ssd.tier.metrics().corrupt.sum());
        assertTrue(ssd.tier.flush(30_000_000_000L));
        assertEquals(0, ssd.objects());
    }
}
