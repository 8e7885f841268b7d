package io.kvasir.storage.tier.ssd;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.TestObjects;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.StorageException;
import io.kvasir.storage.posix.Posix;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.function.Predicate;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What the disk, and people, do to the SSD tier. */
class SsdFaultTest {
    private static final long CAPACITY = 64L << 20;
    private static final int LENGTH = 300_000;
    private static final int COUNT = 50;

    @TempDir
    Path directory;

    private SsdUnderTest ssd;

    @BeforeEach
    void open() {
        ssd = new SsdUnderTest(directory, CAPACITY, context -> context);
    }

    @AfterEach
    void close() {
        ssd.close();
    }

    private WriteOutcome write(final long number) {
        return write(number, LENGTH, Hash256.ZERO);
    }

    private WriteOutcome write(final long number, final int length, final Hash256 parent) {
        return ssd.write(TestObjects.id(number), MemorySegment.ofArray(TestObjects.bytes(number, length)), parent);
    }

    private void fill() {
        for (int i = 0; i < COUNT; i++) {
            assertEquals(WriteOutcome.Status.DURABLE, write(i).status());
        }
    }

    private void assertAllThere() {
        assertEquals(COUNT, ssd.objects());
        for (int i = 0; i < COUNT; i++) {
            assertArrayEquals(
                    TestObjects.bytes(i, LENGTH), ssd.get(TestObjects.id(i)).orElseThrow());
        }
    }

    private List<Path> places(final Predicate<String> name) throws IOException {
        try (Stream<Path> files = Files.list(directory.resolve("places"))) {
            return new ArrayList<>(
                    files.filter(file -> name.test(file.getFileName().toString()))
                            .toList());
        }
    }

    private static void garble(final Path file) throws IOException {
        final byte[] garbage = new byte[(int) Math.max(64, Files.size(file))];
        new Random(7).nextBytes(garbage);
        Files.write(file, garbage);
    }

    @ParameterizedTest
    @ValueSource(strings = {"CURRENT", "MANIFEST", ".sst", ".log"})
    void shouldRebuildPlacesFromExtentsWhenRocksDbIsGarbage(final String part) throws IOException {
        fill();
        if (part.equals(".sst")) {
            // What the log holds becomes a table when RocksDB opens.
            ssd.reopen();
        }
        ssd.close();
        final List<Path> files = places(name -> name.startsWith(part) || name.endsWith(part));
        files.removeIf(file -> file.toFile().length() == 0);
        assertFalse(files.isEmpty(), "no " + part + " to damage");
        for (final Path file : files) {
            garble(file);
        }
        ssd.openTier();
        assertEquals(1, ssd.tier.metrics().rebuilt.sum());
        assertTrue(Files.exists(directory.resolve("places.damaged-1")));
        assertAllThere();
        ssd.reopen();
        assertEquals(0, ssd.tier.metrics().rebuilt.sum());
        assertAllThere();
    }

    @Test
    void shouldRebuildPlacesWhenRocksDbIsGone() throws IOException {
        fill();
        ssd.close();
        Files.move(directory.resolve("places"), directory.resolve("elsewhere"));
        ssd.openTier();
        assertAllThere();
    }

    @Test
    void shouldReadWhatPlacesTellWhenASuperblockIsDamaged() throws IOException {
        fill();
        ssd.close();
        for (final Path extent : ssd.extents()) {
            try (RandomAccessFile file = new RandomAccessFile(extent.toFile(), "rw")) {
                file.write(new byte[4096]);
            }
        }
        ssd.openTier();
        assertAllThere();
        assertEquals(WriteOutcome.Status.DURABLE, write(1000).status());
    }

    @Test
    void shouldMissAndCountEveryObjectOfAnOverwrittenExtent() throws IOException {
        fill();
        ssd.close();
        for (final Path extent : ssd.extents()) {
            try (RandomAccessFile file = new RandomAccessFile(extent.toFile(), "rw")) {
                file.seek(128 << 10);
                file.write(new byte[(int) (file.length() - (128 << 10))]);
            }
        }
        ssd.openTier();
        for (int i = 0; i < COUNT; i++) {
            assertTrue(ssd.get(TestObjects.id(i)).isEmpty());
        }
        assertEquals(COUNT, ssd.tier.metrics().corrupt.sum());
        assertTrue(ssd.tier.flush(10_000_000_000L));
        assertEquals(0, ssd.objects());
    }

    @Test
    void shouldDropPlacesWhoseExtentIsGone() throws IOException {
        fill();
        ssd.close();
        for (final Path extent : ssd.extents()) {
            Files.delete(extent);
        }
        ssd.openTier();
        assertEquals(0, ssd.objects());
        assertTrue(ssd.get(TestObjects.id(1)).isEmpty());
        assertEquals(WriteOutcome.Status.DURABLE, write(1).status());
    }

    /** Anybody can find ids that {@link ObjectId#hash64} takes for the same. */
    @Test
    void shouldHoldObjectsOfTheSame64BitHash() {
        final ObjectId one = TestObjects.id(1);
        final Hash256 namespace = one.namespace();
        final ObjectId other = new ObjectId(
                new Hash256(namespace.a(), ~namespace.b(), namespace.c(), namespace.d()), one.key(), one.shard());
        assertEquals(one.hash64(), other.hash64());
        for (int round = 0; round < 2; round++) {
            ssd.write(one, MemorySegment.ofArray(TestObjects.bytes(1, LENGTH)), Hash256.ZERO);
            ssd.write(other, MemorySegment.ofArray(TestObjects.bytes(2, LENGTH)), Hash256.ZERO);
            assertArrayEquals(TestObjects.bytes(1, LENGTH), ssd.get(one).orElseThrow());
            assertArrayEquals(TestObjects.bytes(2, LENGTH), ssd.get(other).orElseThrow());
            assertEquals(2, ssd.objects());
            ssd.reopen();
        }
    }

    @Test
    void shouldRefuseASecondOpener() {
        final StorageException refused = assertThrows(
                StorageException.class,
                () -> SsdTier.open(new SsdTier.Context().directory(directory).capacityBytes(CAPACITY)));
        assertTrue(refused.getMessage().contains("another node"), refused.getMessage());
        fill();
        assertAllThere();
    }

    @Test
    void shouldRefuseAReadThatDoesNotFit() {
        assertEquals(WriteOutcome.Status.DURABLE, write(1).status());
        try (java.lang.foreign.Arena arena = java.lang.foreign.Arena.ofShared()) {
            assertInstanceOf(ReadOutcome.Failed.class, ssd.read(TestObjects.id(1), arena.allocate(4096, 4096)));
        }
        assertArrayEquals(
                TestObjects.bytes(1, LENGTH), ssd.get(TestObjects.id(1)).orElseThrow());
    }

    @Test
    void shouldEvictChildrenBeforeTheirParents() {
        // Two objects of a chain fill the tier's first slots; unrelated ones follow until something must go.
        assertTrue(write(1, 1 << 20, Hash256.ZERO).isStored());
        for (int i = 2; i <= 40; i++) {
            assertTrue(write(i, 1 << 20, TestObjects.key(i - 1)).isStored());
        }
        for (int i = 100; i < 140; i++) {
            assertTrue(write(i, 1 << 20, Hash256.ZERO).isStored());
        }
        assertTrue(ssd.tier.metrics().evicted.sum() > 0);
        boolean gone = false;
        for (int i = 1; i <= 40; i++) {
            final boolean there = ssd.contains(TestObjects.id(i));
            assertFalse(there && gone, "object " + i + " outlives its parent");
            gone = !there;
        }
        assertTrue(ssd.contains(TestObjects.id(1)));
        assertFalse(ssd.contains(TestObjects.id(40)));
    }

    /** Objects that arrive together are written together; an engine took the memory of one away. */
    @Test
    void shouldWriteTheOthersOfABatchWhenTheMemoryOfOneIsGone() throws IOException {
        final Path file = Files.createTempFile(Path.of("/dev/shm"), "kvasir-gone-", ".data");
        final int fd = Posix.open(file, Posix.O_RDWR, 0);
        try (Arena arena = Arena.ofShared()) {
            Posix.allocate(fd, 0, 4096);
            final MemorySegment gone = Posix.map(fd, 4096, 4096, arena);
            Posix.truncate(fd, 0);
            final List<CompletableFuture<WriteOutcome>> outcomes = new ArrayList<>();
            for (int number = 0; number < 64; number++) {
                final MemorySegment payload = number % 8 == 5 ? gone : TestObjects.payload(arena, number, 4096);
                final int sum = number % 8 == 5 ? 0 : SlotHeader.checksum(payload);
                final CompletableFuture<WriteOutcome> outcome = new CompletableFuture<>();
                outcomes.add(outcome);
                ssd.tier.write(new WriteRequest(
                        TestObjects.id(number),
                        payload,
                        new StoredObject(4096, sum, 0, Hash256.ZERO, 0, 0, 0),
                        outcome::complete));
            }
            for (int number = 0; number < 64; number++) {
                assertEquals(
                        number % 8 == 5 ? WriteOutcome.Status.FAILED : WriteOutcome.Status.DURABLE,
                        SsdUnderTest.join(outcomes.get(number)).status(),
                        "object " + number);
            }
            for (int number = 0; number < 64; number++) {
                assertEquals(number % 8 != 5, ssd.get(TestObjects.id(number)).isPresent(), "object " + number);
            }
        } finally {
            Posix.close(fd);
            Files.delete(file);
        }
    }

    @Test
    void shouldStopHoldingWhatHasExpired() {
        final java.lang.foreign.Arena arena = java.lang.foreign.Arena.ofAuto();
        final MemorySegment payload = TestObjects.payload(arena, 1, 4096);
        final java.util.concurrent.CompletableFuture<WriteOutcome> outcome =
                new java.util.concurrent.CompletableFuture<>();
        ssd.tier.write(new WriteRequest(
                TestObjects.id(1),
                payload,
                new StoredObject(4096, SlotHeader.checksum(payload), 0, Hash256.ZERO, 0, 0, 1),
                outcome::complete));
        assertEquals(WriteOutcome.Status.DURABLE, SsdUnderTest.join(outcome).status());
        assertTrue(ssd.get(TestObjects.id(1)).isEmpty());
        assertEquals(WriteOutcome.Status.DURABLE, write(1).status());
        assertEquals(1, ssd.objects());
    }

    @Test
    void shouldNotFreeAPlaceUnderAReader() {
        assertEquals(WriteOutcome.Status.DURABLE, write(1).status());
        final TierState state = ssd.tier.state();
        final int entry;
        state.lock.lock();
        try {
            entry = state.findDurable(TestObjects.id(1));
            state.beginRead(entry);
        } finally {
            state.lock.unlock();
        }
        assertTrue(ssd.remove(TestObjects.id(1)));
        assertTrue(ssd.get(TestObjects.id(1)).isEmpty());
        assertTrue(ssd.tier.usedBytes() > 0, "the place is free under its reader");
        state.lock.lock();
        try {
            state.endRead(entry);
        } finally {
            state.lock.unlock();
        }
        assertEquals(0, ssd.tier.usedBytes());
    }
}
