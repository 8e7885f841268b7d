package io.kvasir.storage;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.kvasir.storage.lookup.LookupAnswer;
import io.kvasir.storage.object.SlotRecord;
import io.kvasir.storage.object.SlotStatus;
import io.kvasir.storage.policy.LruPolicy;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.zip.CRC32C;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Thousands of cold objects of one size come before those of another, and an engine keeps their regions where they are. */
class HiddenSizeTest {
    private static final int TINY = 4096;
    private static final int REGION_BYTES = 640 << 10;
    private static final int TINY_IN_REGION = REGION_BYTES / TINY;
    private static final int TINY_REGIONS = 15;
    private static final int WANTED = 64 << 10;
    /** Objects of the wanted size that fit beside the cold ones and what is left to move objects into. */
    private static final int THERE = REGION_BYTES / WANTED - 2;

    private Path directory;
    private StoreFixture fixture;

    @BeforeEach
    void open() throws IOException {
        directory = StoreFixture.arenaDirectory();
        fixture = new StoreFixture(new StoreContext()
                .dramDirectory(directory.resolve("arena"))
                .dramCapacity((TINY_REGIONS + 1) * REGION_BYTES)
                .regionBytes(REGION_BYTES)
                .policy(LruPolicy::new));
    }

    @AfterEach
    void close() throws IOException {
        fixture.close();
        StoreFixture.deleteAll(directory);
    }

    /** Memory that is not the cold objects' has objects of this size, and gets more of them than fit. */
    private void fill(final int length) throws IOException {
        for (int number = 0; number < TINY_REGIONS * TINY_IN_REGION; number++) {
            store(number, TINY);
        }
        for (int region = 0; region < TINY_REGIONS; region++) {
            final LookupAnswer leased = fixture.store
                    .engines()
                    .lookup(fixture.holder, fixture.query(false, (long) region * TINY_IN_REGION));
            assertEquals(1, leased.hitChunks(), "region " + region);
        }
        for (int number = 0; number < REGION_BYTES / length; number++) {
            store(100_000 + number, length);
        }
    }

    private void store(final long number, final int length) throws IOException {
        commit(number, length, fixture.reserve(length, number).slots());
    }

    /** With its checksum: what the node is summing is held, so that another object would go. */
    private void commit(final long number, final int length, final byte[] slot) throws IOException {
        assertEquals(SlotStatus.GRANTED, slot[SlotRecord.STATUS], "object " + number);
        final byte[] content = StoreFixture.content(number, length);
        fixture.write(slot, 0, content);
        final CRC32C crc = new CRC32C();
        crc.update(content);
        final byte[] sum = ByteBuffer.allocate(Integer.BYTES)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putInt((int) crc.getValue())
                .array();
        assertEquals(
                SlotStatus.COMMITTED,
                fixture.store.engines().commit(fixture.attachment, slot, new byte[0], sum, new int[0], 0, 0)[0]);
    }

    private void storeAtOnce(final long number) throws IOException {
        final byte[] slot = fixture.store
                .engines()
                .reserve(
                        fixture.attachment,
                        StoreFixture.NAMESPACE,
                        StoreFixture.SHARD,
                        StoreFixture.keys(number),
                        new long[] {WANTED},
                        0)
                .slots();
        commit(number, WANTED, slot);
    }

    @Test
    void shouldFindAnObjectThatCanGoBehindThem() throws IOException {
        fill(WANTED);
        for (int number = 0; number < THERE; number++) {
            storeAtOnce(200_000 + number);
        }
        for (int number = 0; number < THERE; number++) {
            assertEquals(1, fixture.lookup(200_000 + number).hitChunks(), "none went for the next");
        }
    }

    @Test
    void shouldFindARegionThatCanGoBehindThem() throws IOException {
        fill(WANTED / 2);
        store(200_000, 4 * WANTED);
    }
}
