package io.kvasir.storage;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.kvasir.storage.lookup.LookupAnswer;
import io.kvasir.storage.lookup.LookupQuery;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.RegionInfo;
import io.kvasir.storage.object.SlotRecord;
import io.kvasir.storage.object.SlotStatus;
import io.kvasir.storage.object.StorageException;
import io.kvasir.storage.tenant.Tenant;
import io.kvasir.storage.tier.Attachment;
import io.kvasir.storage.tier.ReservedSlots;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.stream.LongStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The DRAM side of the store, through its door. */
class StoreTest {
    private static final int MIB = 1 << 20;
    private Path directory;
    private StoreFixture fixture;

    @BeforeEach
    void open() throws IOException {
        directory = StoreFixture.arenaDirectory();
        fixture = new StoreFixture(context());
    }

    @AfterEach
    void close() throws IOException {
        fixture.close();
        StoreFixture.deleteAll(directory);
    }

    private StoreContext context() {
        return new StoreContext()
                .dramDirectory(directory.resolve("arena"))
                .dramCapacity(32 * MIB)
                .regionBytes(8 * MIB)
                .reserveQuotaBytes(16 * MIB);
    }

    private void restart() throws IOException {
        fixture.killNode();
        fixture.killEngine();
        fixture = new StoreFixture(context());
    }

    @Test
    void shouldGiveBackTheBytesThatWereStored() throws IOException {
        assertEquals(SlotStatus.COMMITTED, fixture.store(1, MIB));
        assertEquals(SlotStatus.COMMITTED, fixture.store(2, 4096));
        assertEquals(SlotStatus.COMMITTED, fixture.store(3, 777));
        assertArrayEquals(StoreFixture.content(1, MIB), fixture.load(1));
        assertArrayEquals(StoreFixture.content(2, 4096), fixture.load(2));
        assertArrayEquals(StoreFixture.content(3, 777), fixture.load(3));
        assertNull(fixture.load(4));
    }

    @Test
    void shouldKeepOneCopyOfAnObject() throws IOException {
        final byte[] slots = fixture.reserve(MIB, 1).slots();
        assertEquals(SlotStatus.IN_FLIGHT, fixture.reserve(MIB, 1).slots()[0]);
        fixture.commit(slots);
        assertEquals(SlotStatus.EXISTS, fixture.reserve(MIB, 1).slots()[0]);
    }

    @Test
    void shouldWakeWhoWaitsForAnObjectInFlight() throws IOException {
        final byte[] slots = fixture.reserve(MIB, 1).slots();
        final LookupQuery query = fixture.query(false, 1);
        assertEquals(1, fixture.store.engines().lookup(fixture.holder, query).pendingChunks());
        final boolean[] woken = {false};
        assertNotEquals(0, fixture.store.engines().whenSettled(fixture.holder, query, () -> woken[0] = true));
        fixture.store.doWork();
        assertFalse(woken[0]);
        fixture.commit(slots);
        fixture.until("woken", () -> woken[0]);
        assertEquals(1, fixture.lookup(1).hitChunks());
    }

    @Test
    void shouldRefuseCommitsOfWhatIsNotReserved() {
        final byte[] slots = fixture.reserve(MIB, 1).slots();
        assertEquals(SlotStatus.COMMITTED, fixture.commit(slots)[0]);
        assertEquals(SlotStatus.NOT_RESERVED, fixture.commit(slots)[0]);
        assertEquals(SlotStatus.NOT_RESERVED, fixture.store.engines().abort(fixture.attachment, slots)[0]);
        final byte[] outside = slots.clone();
        StoreFixture.record(outside, 0).putInt(SlotRecord.SLOT, Integer.MIN_VALUE);
        assertEquals(SlotStatus.NOT_RESERVED, fixture.commit(outside)[0]);
        StoreFixture.record(outside, 0).putInt(SlotRecord.REGION, 99);
        assertEquals(SlotStatus.NOT_RESERVED, fixture.commit(outside)[0]);
    }

    @Test
    void shouldVoidOldRecordsWhenASlotIsUsedAgain() throws IOException {
        fixture.store(1, MIB);
        final byte[] old = fixture.lookup(1).slots();
        fixture.store.engines().closeHolder(fixture.holder);
        fixture.killEngine();
        fixture.store.engines().closeAttachment(fixture.attachment);
        restart();
        for (long number = 100; number < 140; number++) {
            fixture.store(number, MIB);
        }
        assertNull(fixture.load(1));
        assertNull(fixture.read(old, 0));
    }

    @Test
    void shouldEvictTheColdestAndNeverTheLeased() throws IOException {
        fixture.store(0, MIB);
        final LookupAnswer lease = fixture.lookup(0);
        for (long number = 1; number < 100; number++) {
            assertEquals(SlotStatus.COMMITTED, fixture.store(number, MIB));
        }
        assertNull(fixture.load(1));
        assertArrayEquals(StoreFixture.content(99, MIB), fixture.load(99));
        assertArrayEquals(StoreFixture.content(0, MIB), fixture.read(lease.slots(), 0));
        assertTrue(fixture.store.admin().dramUsedBytes() <= 32L * MIB);
    }

    @Test
    void shouldMoveRegionsToTheSizeThatIsNeeded() throws IOException {
        for (long number = 0; number < 60; number++) {
            assertEquals(SlotStatus.COMMITTED, fixture.store(number, MIB));
        }
        for (long number = 1000; number < 1200; number++) {
            assertEquals(SlotStatus.COMMITTED, fixture.store(number, 64 * 1024), "object " + number);
        }
        assertArrayEquals(StoreFixture.content(1199, 64 * 1024), fixture.load(1199));
        assertEquals(SlotStatus.COMMITTED, fixture.store(5000, 12 * MIB));
        assertArrayEquals(StoreFixture.content(5000, 12 * MIB), fixture.load(5000));
    }

    @Test
    void shouldMoveRegionsThatAreFullOfOneLongChain() {
        final int atOnce = 512;
        for (long first = 1; first < 12_000; first += atOnce) {
            final long[] numbers = new long[atOnce];
            final long[] parents = new long[atOnce];
            for (int i = 0; i < atOnce; i++) {
                numbers[i] = first + i;
                parents[i] = first + i - 1;
            }
            final byte[] slots = fixture.reserve(4096, numbers).slots();
            fixture.store
                    .engines()
                    .commit(
                            fixture.attachment,
                            slots,
                            StoreFixture.keys(parents),
                            new byte[0],
                            new int[] {(int) first},
                            0,
                            0);
        }
        assertEquals(SlotStatus.GRANTED, fixture.reserve(MIB, 100_000).slots()[0]);
    }

    @Test
    void shouldBeWarmAfterARestart() throws IOException {
        for (long number = 0; number < 10; number++) {
            fixture.store(number, MIB);
        }
        restart();
        for (long number = 0; number < 10; number++) {
            assertArrayEquals(StoreFixture.content(number, MIB), fixture.load(number), "object " + number);
        }
    }

    @Test
    void shouldDropAfterARestartWhatDoesNotFitItsChecksum() throws IOException {
        fixture.store(1, MIB);
        fixture.store(2, MIB);
        fixture.until("summed", () -> fixture.store.doWork() == 0);
        final LookupAnswer found = fixture.lookup(1);
        fixture.store.engines().release(fixture.holder, found.lease(), new int[0]);
        final byte[] bytes = fixture.read(found.slots(), 0);
        bytes[MIB / 2] ^= 1;
        // The sum is made on another thread; wait until the header has it.
        fixture.until("checksum stored", () -> isSummed(found.slots()));
        fixture.write(found.slots(), 0, bytes);
        restart();
        assertNull(fixture.load(1));
        assertArrayEquals(StoreFixture.content(2, MIB), fixture.load(2));
        assertEquals(1, fixture.store.admin().counters().corrupt.sum());
    }

    private boolean isSummed(final byte[] slots) {
        final ByteBuffer record = StoreFixture.record(slots, 0);
        final RegionInfo region = fixture.store.engines().region(record.getInt(SlotRecord.REGION));
        try (FileChannel channel =
                FileChannel.open(Path.of(fixture.tenant.directory(), region.headerFile()), StandardOpenOption.READ)) {
            final ByteBuffer word = ByteBuffer.allocate(8);
            channel.read(word, 4096 + 256L * record.getInt(SlotRecord.SLOT) + 8);
            return word.get(7) < 0;
        } catch (final IOException failure) {
            throw new AssertionError(failure);
        }
    }

    @Test
    void shouldQuarantineAReservedSlotUntilItsWriterIsProvedDead() throws IOException {
        final byte[] slots = fixture.reserve(MIB, 1).slots();
        fixture.killNode();
        // The engine lives on and still holds its lock while the next node starts.
        final StoreFixture next = new StoreFixture(context());
        assertEquals(MIB, next.store.admin().quarantinedBytes());
        assertEquals(SlotStatus.COMMITTED, next.store(1, MIB));
        assertNotEquals(
                StoreFixture.record(slots, 0).getInt(SlotRecord.SLOT)
                        | (long) StoreFixture.record(slots, 0).getInt(SlotRecord.REGION) << 32,
                StoreFixture.record(next.lookup(1).slots(), 0).getInt(SlotRecord.SLOT)
                        | (long) StoreFixture.record(next.lookup(1).slots(), 0).getInt(SlotRecord.REGION) << 32);
        fixture.killEngine();
        next.until("quarantine ended", () -> next.store.admin().quarantinedBytes() == 0);
        assertArrayEquals(StoreFixture.content(1, MIB), next.load(1));
        fixture = next;
    }

    @Test
    void shouldFreeAQuarantinedSlotWhenItsWriterSaysThatItStopped() throws IOException {
        fixture.reserve(MIB, 1, 2, 3);
        fixture.store.engines().closeAttachment(fixture.attachment);
        assertEquals(3L * MIB, fixture.store.admin().quarantinedBytes());
        fixture.store.engines().quiesced(fixture.tenant, fixture.attachment.secret());
        assertEquals(0, fixture.store.admin().quarantinedBytes());
    }

    @Test
    void shouldFreeNothingForWhoKnowsOnlyAFileName() {
        fixture.reserve(MIB, 1, 2, 3);
        fixture.store.engines().closeAttachment(fixture.attachment);
        // Every process of the tenant can list the directory, and read the writer's number in the header table.
        final String name = fixture.attachment.lockFile();
        final long number = Long.parseUnsignedLong(name.substring(name.indexOf('-') + 1, name.indexOf('.')), 16);
        fixture.store.engines().quiesced(fixture.tenant, number);
        fixture.store.engines().quiesced(fixture.tenant, fixture.attachment.id());
        assertEquals(3L * MIB, fixture.store.admin().quarantinedBytes());
    }

    @Test
    void shouldFreeNothingWhenSomebodyRemovesTheLockFileOfALivingProcess() throws IOException {
        assertTrue(fixture.store.engines().isAlive(fixture.attachment));
        fixture.reserve(MIB, 1, 2, 3);
        Files.delete(Path.of(fixture.tenant.directory(), fixture.attachment.lockFile()));
        fixture.store.engines().closeAttachment(fixture.attachment);
        assertEquals(3L * MIB, fixture.store.admin().quarantinedBytes());
    }

    @Test
    void shouldGiveNothingToAnAttachmentThatEnded() throws IOException {
        // There is a region with free slots.
        assertEquals(SlotStatus.COMMITTED, fixture.store(9, MIB));
        fixture.store.engines().closeAttachment(fixture.attachment);
        fixture.killEngine();
        fixture.until("the attachment ended", () -> !fixture.store.engines().isAlive(fixture.attachment));
        final ReservedSlots late = fixture.store
                .engines()
                .reserve(
                        fixture.attachment,
                        StoreFixture.NAMESPACE,
                        StoreFixture.SHARD,
                        StoreFixture.keys(1, 2),
                        new long[] {MIB},
                        0);
        assertEquals(2, late.noRoom());
        assertEquals(MIB, fixture.store.admin().dramUsedBytes());
    }

    @Test
    void shouldShareWhatAnEarlierNodeLeftWithTheTenantsGroup() throws IOException {
        assumeTrue(
                Files.getAttribute(Path.of("/proc/self"), "unix:uid").equals(0), "only root gives files to any group");
        assertEquals(SlotStatus.COMMITTED, fixture.store(1, MIB));
        fixture.killNode();
        final int group = 65_534;
        try (StoreAgent next = new StoreAgent(context())) {
            final Tenant tenant = next.engines().openTenant("tests", group);
            final Attachment attachment = next.engines().openAttachment(tenant);
            final Path directory = Path.of(tenant.directory());
            assertEquals(group, Files.getAttribute(directory, "unix:gid"));
            assertEquals(group, Files.getAttribute(directory.resolve(attachment.lockFile()), "unix:gid"));
            for (final RegionInfo region : next.engines().regions(tenant)) {
                assertEquals(group, Files.getAttribute(directory.resolve(region.dataFile()), "unix:gid"));
                assertEquals(group, Files.getAttribute(directory.resolve(region.headerFile()), "unix:gid"));
            }
            // Who comes later with another group does not take it from the first.
            next.engines().openTenant("tests", group - 1);
            assertEquals(group, Files.getAttribute(directory, "unix:gid"));
        }
        try (StoreAgent third = new StoreAgent(context())) {
            // What it makes before anybody came is the tenant's too.
            final Tenant tenant = third.engines().openTenant("tests", -1);
            final Path lock = Path.of(
                    tenant.directory(), third.engines().openAttachment(tenant).lockFile());
            assertEquals(group, Files.getAttribute(lock, "unix:gid"));
        }
    }

    /** In one process the JVM sees its own lock as held, so another process plays the engine. */
    @Test
    void shouldEndAnAttachmentWhoseProcessDiedBehindAnOpenSocket() throws IOException, InterruptedException {
        final Attachment other = fixture.store.engines().openAttachment(fixture.tenant);
        final Path lock = Path.of(fixture.tenant.directory(), other.lockFile());
        final Process engine = new ProcessBuilder(
                        "python3",
                        "-c",
                        "import fcntl,sys;f=open(sys.argv[1],'r+b');fcntl.lockf(f,fcntl.LOCK_EX);print(flush=True);"
                                + "sys.stdin.read()",
                        lock.toString())
                .start();
        assertEquals('\n', engine.getInputStream().read());
        assertTrue(fixture.store.engines().isAlive(other));
        fixture.reserve(other, MIB, 1);
        final boolean[] ended = {false};
        fixture.store.engines().onProcessEnded(attachment -> ended[0] = attachment.id() == other.id());
        engine.destroyForcibly().waitFor();
        fixture.until("the attachment ended", () -> ended[0]);
        assertEquals(0, fixture.store.admin().quarantinedBytes());
        assertEquals(SlotStatus.COMMITTED, fixture.store(1, MIB));
    }

    @Test
    void shouldRefuseMoreThanTheQuotas() throws IOException {
        final long[] numbers = LongStream.range(0, 20).toArray();
        final ReservedSlots result = fixture.reserve(MIB, numbers);
        assertEquals(SlotStatus.GRANTED, result.slots()[15 * SlotRecord.BYTES]);
        assertEquals(SlotStatus.QUOTA, result.slots()[16 * SlotRecord.BYTES]);
        fixture.commit(java.util.Arrays.copyOf(result.slots(), 16 * SlotRecord.BYTES));
        assertEquals(16, fixture.lookup(numbers).hitChunks());
        // Half of DRAM is leased now: the same again costs nothing, and another object is refused as a miss.
        assertEquals(16, fixture.lookup(LongStream.range(0, 16).toArray()).hitChunks());
        assertEquals(SlotStatus.COMMITTED, fixture.store(20, MIB));
        assertEquals(
                0,
                fixture.store
                        .engines()
                        .lookup(fixture.holder, fixture.query(false, 20))
                        .hitChunks());
    }

    @Test
    void shouldKeepASecondNodeOut() {
        final StorageException refused = assertThrows(StorageException.class, () -> new StoreAgent(context()));
        assertTrue(refused.getMessage().contains("another node uses the arena"), refused.getMessage());
    }

    @Test
    void shouldRefuseACapacityThatTheFileSystemDoesNotHave() throws IOException {
        fixture.close();
        final StorageException refused = assertThrows(
                StorageException.class, () -> new StoreAgent(context().dramCapacity(1L << 50)));
        assertTrue(refused.getMessage().contains("dram.capacity is " + (1L << 50)), refused.getMessage());
        fixture = new StoreFixture(context());
    }

    @Test
    void shouldDropARegionThatWasTruncated() throws IOException {
        fixture.store(1, MIB);
        fixture.killNode();
        for (final Path file : fixture.dataFiles()) {
            try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
                channel.truncate(4096);
            }
        }
        fixture.killEngine();
        fixture = new StoreFixture(context());
        assertNull(fixture.load(1));
        assertEquals(SlotStatus.COMMITTED, fixture.store(1, MIB));
    }

    @Test
    void shouldNotEvictWhatIsPinned() throws IOException {
        fixture.store(1, MIB);
        assertEquals(
                1,
                fixture.store
                        .engines()
                        .pin(fixture.holder, StoreFixture.NAMESPACE, StoreFixture.key(1), Long.MAX_VALUE / 2, 0));
        for (long number = 100; number < 200; number++) {
            fixture.store(number, MIB);
        }
        assertArrayEquals(StoreFixture.content(1, MIB), fixture.load(1));
        assertEquals(1, fixture.store.engines().unpin(fixture.holder, StoreFixture.NAMESPACE, StoreFixture.key(1)));
    }

    @Test
    void shouldLetCopiesGiveWayFirst() throws IOException {
        for (int object = 0; object < 16; object++) {
            fixture.store(object, 2 * MIB);
        }
        for (int object = 8; object < 12; object++) {
            assertTrue(fixture.store.peers().copied(id(object), true));
        }
        assertFalse(fixture.store.peers().copied(id(99), true));
        assertTrue(fixture.store.peers().copied(id(11), false));
        for (int object = 16; object < 19; object++) {
            assertEquals(SlotStatus.COMMITTED, fixture.store(object, 2 * MIB));
        }
        for (int object = 0; object < 19; object++) {
            final int hits = fixture.store
                    .engines()
                    .lookup(fixture.holder, fixture.query(true, object))
                    .hitChunks();
            assertEquals(object >= 8 && object < 11 ? 0 : 1, hits, "object " + object);
        }
    }

    private static ObjectId id(final long object) {
        return new ObjectId(StoreFixture.NAMESPACE, Hash256.read(StoreFixture.key(object), 0), StoreFixture.SHARD);
    }
}
