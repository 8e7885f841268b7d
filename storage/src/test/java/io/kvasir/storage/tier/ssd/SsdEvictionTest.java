package io.kvasir.storage.tier.ssd;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.TestObjects;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.SizeClass;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Semaphore;
import java.util.stream.LongStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What a full SSD tier gives up, and in which order it tells. */
class SsdEvictionTest {
    private static final int MIB = 1 << 20;
    private static final int SMALL = 4096;
    /** Six extents full. */
    private static final int SMALL_COUNT = 6 * Extent.slotCount(4 * MIB, SMALL);

    @TempDir
    Path directory;

    private final ExecutorService completions = Executors.newSingleThreadExecutor();
    private final Map<Long, List<Character>> told = new HashMap<>();
    private SsdUnderTest ssd;

    @BeforeEach
    void open() {
        ssd = new SsdUnderTest(
                directory,
                64 * MIB,
                context -> context.completions(completions).listener(new SsdListener() {
                    @Override
                    public void stored(final ObjectId id, final long length) {
                        tell(id, '+');
                    }

                    @Override
                    public void removed(final ObjectId id) {
                        tell(id, '-');
                    }
                }));
    }

    private void touch(final long... numbers) {
        final int[] held = new int[numbers.length];
        for (int i = 0; i < numbers.length; i++) {
            held[i] = ssd.tier.state().ids.take(TestObjects.id(numbers[i]));
        }
        ssd.tier.touch(held);
    }

    private void tell(final ObjectId id, final char what) {
        told.computeIfAbsent(id.hash64(), hash -> new ArrayList<>()).add(what);
    }

    @AfterEach
    void close() {
        ssd.close();
        completions.shutdown();
    }

    private void writeAll(final int length, final long... numbers) throws InterruptedException {
        final int atOnce = 200;
        final Semaphore free = new Semaphore(atOnce);
        final MemorySegment payload = TestObjects.payload(Arena.ofAuto(), 1, length);
        final int checksum = SlotHeader.checksum(payload.asSlice(0, length));
        for (final long number : numbers) {
            free.acquire();
            ssd.tier.write(new WriteRequest(
                    TestObjects.id(number),
                    payload.asSlice(0, SizeClass.pageBytes(length)),
                    new StoredObject(length, checksum, 0, Hash256.ZERO, 0, 0, 0),
                    outcome -> free.release()));
        }
        free.acquire(atOnce);
    }

    private static long[] numbers(final long from, final long count) {
        return LongStream.range(from, from + count).toArray();
    }

    private long there(final long from, final long count) {
        return LongStream.range(from, from + count)
                .filter(number -> ssd.contains(TestObjects.id(number)))
                .count();
    }

    /** Half of the small objects are hot, and of both halves there are some in every extent of theirs. */
    private void fillWithHotAndColdSmallObjects() throws InterruptedException {
        writeAll(SMALL, numbers(0, SMALL_COUNT));
        final ExtentPool pool = ssd.tier.state().pool;
        long large = 100_000;
        do {
            writeAll(MIB, large++);
        } while (pool.hasCapacityFor(pool.fileBytes(MIB)) || pool.freeSlots(MIB) > 0);
        final long[] hot = LongStream.range(0, SMALL_COUNT)
                .filter(number -> number % 2 == 0)
                .toArray();
        final Semaphore read = new Semaphore(0);
        final MemorySegment destination = Arena.ofAuto().allocate(SMALL, SizeClass.PAGE);
        for (final long number : hot) {
            ssd.tier.read(new ReadRequest(TestObjects.id(number), destination, outcome -> read.release()));
            read.acquire();
        }
    }

    @Test
    void shouldGiveUpOneObjectRatherThanAnExtentOfAnotherSizeThatIsHalfHot() throws InterruptedException {
        fillWithHotAndColdSmallObjects();
        final long small = there(0, SMALL_COUNT);
        final long before = ssd.tier.metrics().evicted.sum();
        assertTrue(small > SMALL_COUNT / 2, small + " small objects");
        for (int i = 0; i < 10; i++) {
            writeAll(MIB, 200_000 + i);
        }
        assertEquals(small, there(0, SMALL_COUNT));
        assertTrue(ssd.tier.metrics().evicted.sum() - before <= 10);
        assertEquals(10, there(200_000, 10));
    }

    @Test
    void shouldGiveUpTheExtentWithWhichLeastIsLost() throws InterruptedException {
        // Extents of four large objects each, and none of small ones: one of those has to go.
        writeAll(MIB, numbers(0, 80));
        final long first = 80 - there(0, 80);
        final MemorySegment destination = Arena.ofAuto().allocate(MIB, SizeClass.PAGE);
        for (final long number : numbers(first, 6)) {
            ssd.read(TestObjects.id(number), destination);
        }
        writeAll(SMALL, 1000);
        assertTrue(ssd.contains(TestObjects.id(1000)));
        assertEquals(6, there(first, 6), "what was used again");
        assertEquals(80 - first - 4, there(first, 80), "one extent is gone");
        assertEquals(80 - first - 16, there(first + 16, 80), "it is one of the coldest");
    }

    /** The one extent of a size that is new would hold the warmest objects of all, and yet give them up. */
    @Test
    void shouldKeepWhatWasJustWrittenWhileThereIsSomethingColderOfAnotherSize() throws InterruptedException {
        writeAll(MIB / 4, numbers(0, 320));
        writeAll(MIB, numbers(200_000, 12));
        writeAll(MIB, numbers(300_000, 12));
        assertEquals(24, there(200_000, 12) + there(300_000, 12), "all that was written last");
    }

    @Test
    void shouldGiveUpTheColdestOfASizeWhenAllAreOfThatSize() throws InterruptedException {
        writeAll(MIB, numbers(0, 80));
        final long first = 80 - there(0, 80);
        writeAll(MIB, numbers(1000, 10));
        assertEquals(10, there(1000, 10));
        assertEquals(0, there(0, first + 10), "the coldest");
        assertTrue(there(0, 80) > 40, "and only as many as were needed: " + there(0, 80));
    }

    @Test
    void shouldKeepWhatIsUsedElsewhere() throws InterruptedException {
        writeAll(MIB, numbers(0, 40));
        for (int i = 0; i < 120; i++) {
            touch(3, 12345, 7);
            writeAll(MIB, 1000 + i);
        }
        assertTrue(ssd.contains(TestObjects.id(3)) && ssd.contains(TestObjects.id(7)));
        assertEquals(2, there(0, 40));
    }

    @Test
    void shouldApplyTheNewestUsesWhenThereWereTooMany() throws InterruptedException {
        writeAll(MIB, numbers(0, 40));
        for (int i = 0; i < 1000; i++) {
            touch(i < 900 ? 1 : 2);
        }
        assertFalse(ssd.tier.wantsTouches());
        writeAll(MIB, numbers(1000, 30));
        assertTrue(ssd.tier.wantsTouches());
        assertTrue(ssd.contains(TestObjects.id(2)));
        assertFalse(ssd.contains(TestObjects.id(1)));
    }

    @Test
    void shouldTellOfAnExpiredObjectThatItIsGone() {
        final MemorySegment payload = TestObjects.payload(Arena.ofAuto(), 1, SMALL);
        ssd.tier.write(new WriteRequest(
                TestObjects.id(1),
                payload,
                new StoredObject(SMALL, SlotHeader.checksum(payload), 0, Hash256.ZERO, 0, 0, 1),
                outcome -> {}));
        assertTrue(ssd.tier.flush(30_000_000_000L));
        assertTrue(ssd.get(TestObjects.id(1)).isEmpty());
        assertTrue(ssd.tier.flush(30_000_000_000L));
        assertEquals(0, ssd.tier.usedBytes());
        ssd.remove(TestObjects.id(1));
        assertEquals(List.of('+', '-'), told.get(TestObjects.id(1).hash64()));
    }

    /** Writes, evictions, removals by four threads: of each object stored and removed take turns, and the end is true. */
    @Test
    void shouldTellOfEachObjectInTheTrueOrder() throws InterruptedException {
        final List<Thread> threads = new ArrayList<>();
        for (int t = 0; t < 4; t++) {
            final java.util.SplittableRandom random = new java.util.SplittableRandom(t);
            threads.add(Thread.ofPlatform().start(() -> {
                for (int i = 0; i < 20; i++) {
                    try {
                        writeAll(
                                random.nextBoolean() ? MIB : 300_000,
                                random.longs(20, 0, 200).toArray());
                    } catch (final InterruptedException e) {
                        throw new AssertionError(e);
                    }
                    ssd.tier.remove(TestObjects.id(random.nextLong(200)), outcome -> {});
                }
            }));
        }
        for (final Thread thread : threads) {
            thread.join();
        }
        assertTrue(ssd.tier.flush(30_000_000_000L));
        // A barrier behind all that was told.
        ssd.remove(TestObjects.id(999));
        final Set<Long> there = new HashSet<>();
        told.forEach((hash, each) -> {
            for (int i = 0; i < each.size(); i++) {
                assertEquals(i % 2 == 0 ? '+' : '-', each.get(i), each.toString());
            }
            if (each.getLast() == '+') {
                there.add(hash);
            }
        });
        assertTrue(ssd.tier.metrics().evicted.sum() > 100);
        final Set<Long> held = new HashSet<>();
        ssd.tier.hottestFirst().forEach(id -> held.add(id.hash64()));
        assertEquals(held, there);
    }
}
