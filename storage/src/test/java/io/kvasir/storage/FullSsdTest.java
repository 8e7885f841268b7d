package io.kvasir.storage;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.SlotStatus;
import io.kvasir.storage.tier.ssd.SsdTier;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.LongStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** DRAM above an SSD that is full: what is demoted stays there, and what is there comes back. */
class FullSsdTest {
    private static final int SMALL = 64 << 10;
    private static final int LARGE = 256 << 10;
    private static final int DRAM_BYTES = 8 << 20;
    private static final int LARGE_IN_DRAM = DRAM_BYTES / LARGE;
    private static final long SSD_BYTES = 64L << 20;

    private Path arena;
    private Path disk;
    private StoreFixture fixture;

    @BeforeEach
    void open() throws IOException {
        arena = StoreFixture.arenaDirectory();
        disk = Files.createTempDirectory("kvasir-test-ssd-");
        open(arena, disk);
    }

    private void open(final Path inMemory, final Path onDisk) throws IOException {
        fixture = new StoreFixture(new StoreContext()
                .dramDirectory(inMemory.resolve("arena"))
                .dramCapacity(DRAM_BYTES)
                .regionBytes(1 << 20)
                .ssd(new SsdTier.Context().directory(onDisk).capacityBytes(SSD_BYTES)));
        fixture.until("SSD warm", fixture.store.admin()::isSsdWarm);
    }

    @AfterEach
    void close() throws IOException {
        fixture.close();
        StoreFixture.deleteAll(arena);
        StoreFixture.deleteAll(disk);
    }

    private static ObjectId id(final long number) {
        return new ObjectId(StoreFixture.NAMESPACE, Hash256.read(StoreFixture.key(number), 0), StoreFixture.SHARD);
    }

    /** Waits for space as an engine does. */
    private void storeAll(final long from, final long count, final int length) throws IOException {
        for (long number = from; number < from + count; number++) {
            assertEquals(SlotStatus.COMMITTED, fixture.store(number, length));
        }
    }

    /** Objects of one size fill the SSD, then those of another size DRAM: the SSD has few slots for these at first. */
    @Test
    void shouldNotWriteTheSameObjectsToSsdAgainAndAgain() throws IOException {
        storeAll(0, SSD_BYTES / SMALL, SMALL);
        fixture.close();
        StoreFixture.deleteAll(arena);
        Files.createDirectories(arena);
        open(arena, disk);
        storeAll(100_000, LARGE_IN_DRAM, LARGE);
        fixture.until("the colder half of DRAM is on SSD, all of it at once", () -> {
            final long demoted = fixture.store.admin().counters().demoted.sum();
            assertTrue(demoted <= 2 * LARGE_IN_DRAM, demoted + " demotions after " + LARGE_IN_DRAM + " stores");
            return LongStream.range(0, LARGE_IN_DRAM / 2)
                    .allMatch(i -> fixture.store.admin().ssd().contains(id(100_000 + i)));
        });
        assertTrue(fixture.store.admin().ssdMetrics().evicted.sum() > 0, "the SSD is full");
    }
}
