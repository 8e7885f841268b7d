package io.kvasir.storage;

import io.kvasir.storage.lease.LeaseHolder;
import io.kvasir.storage.lookup.LookupAnswer;
import io.kvasir.storage.lookup.LookupQuery;
import io.kvasir.storage.move.MovePriority;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.ShardSet;
import io.kvasir.storage.object.SlotRecord;
import io.kvasir.storage.object.SlotStatus;
import io.kvasir.storage.tenant.Tenant;
import io.kvasir.storage.tier.Attachment;
import io.kvasir.storage.tier.ReservedSlots;
import io.kvasir.storage.tier.ssd.SsdTier;
import io.kvasir.storage.tier.ssd.StoredObject;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.zip.CRC32C;

/**
 * The process of {@link DamagedRegionTest}: a node, an engine that takes the memory of its region away at the worst
 * moment, and the engine of another tenant, whose object must stay. A node that does not survive ends this process.
 */
final class HostileEngine {
    static final String ALIVE = "the node lives";
    private static final int LENGTH = 128 << 10;
    private static final int REGION = 1 << 20;
    private static final long TARGET = 1;
    private static final Hash256 OTHERS = new Hash256(5, 6, 7, 8);

    private final Path directory;
    private final Path disk;
    private final String damage;
    private final boolean bystanderFirst;
    /** While it stands still the node looks at no file by itself: it meets the damage in its work. */
    private long standsStillAtNs;

    private StoreFixture node;
    private Tenant bystander;
    private LeaseHolder bystanderHolder;
    private FileChannel bystanderLock;

    @FunctionalInterface
    private interface Action {
        void run() throws IOException;
    }

    private HostileEngine(final Path directory, final Path disk, final String damage, final boolean bystanderFirst)
            throws IOException {
        this.directory = directory;
        this.disk = disk;
        this.damage = damage;
        this.bystanderFirst = bystanderFirst;
        start(() -> {});
    }

    public static void main(final String[] arguments) throws Exception {
        final HostileEngine engine = new HostileEngine(
                Path.of(arguments[1]), Path.of(arguments[2]), arguments[3], !arguments[0].equals("demote"));
        switch (arguments[0]) {
            case "commit" -> engine.damageBeforeTheSum();
            case "demote" -> engine.damageBeforeTheDemotion();
            case "promote" -> engine.damageWhatAPromotionFills();
            case "send" -> engine.damageWhatIsSent();
            case "receive" -> engine.damageWhatIsReceived();
            case "restart" -> engine.damageWhatAnEarlierNodeLeft();
            default -> throw new IllegalArgumentException(arguments[0]);
        }
        engine.end();
        System.out.println(ALIVE);
    }

    /** @param opened what happens before the node's first turn */
    private void start(final Action opened) throws IOException {
        node = new StoreFixture(new StoreContext()
                .dramDirectory(directory.resolve("arena"))
                .dramCapacity(16 * REGION)
                .regionBytes(REGION)
                .nanoClock(() -> standsStillAtNs == 0 ? System.nanoTime() : standsStillAtNs)
                .ssd(new SsdTier.Context().directory(disk.resolve("ssd")).capacityBytes(64 << 20)));
        opened.run();
        node.store.engines().rememberNamespace(OTHERS, "bystander", new byte[0]);
        node.store.engines().rememberNamespace(StoreFixture.NAMESPACE, "tests", new byte[0]);
        node.until("SSD warm", node.store.admin()::isSsdWarm);
        bystander = node.store.engines().openTenant("bystander", -1);
        final Attachment attachment = node.store.engines().openAttachment(bystander);
        bystanderLock =
                FileChannel.open(Path.of(bystander.directory(), attachment.lockFile()), StandardOpenOption.WRITE);
        bystanderLock.lock();
        bystanderHolder =
                node.store.engines().openHolder(bystander, new ShardSet(List.of(StoreFixture.SHARD), Map.of()));
        node.store.engines().joinHolder(bystanderHolder, attachment);
        if (bystanderFirst) {
            storeForTheBystander(attachment);
        }
    }

    private void storeForTheBystander(final Attachment attachment) throws IOException {
        if (lookup().hitChunks() == 0) {
            final ReservedSlots[] room = new ReservedSlots[1];
            node.until("room for the bystander", () -> {
                room[0] = node.store
                        .engines()
                        .reserve(attachment, OTHERS, StoreFixture.SHARD, StoreFixture.keys(9), new long[] {LENGTH}, 0);
                return room[0].noRoom() == 0;
            });
            if (room[0].slots()[SlotRecord.STATUS] == SlotStatus.GRANTED) {
                final ByteBuffer record = StoreFixture.record(room[0].slots(), 0);
                try (FileChannel file = FileChannel.open(dataFile(bystander, record), StandardOpenOption.WRITE)) {
                    file.write(ByteBuffer.wrap(StoreFixture.content(9, LENGTH)), position(record));
                }
                node.store.engines().commit(attachment, room[0].slots(), new byte[0], new byte[0], new int[0], 0, 0);
            }
        }
    }

    // ---- what the engine does

    /** The node sums what was committed without a checksum. */
    private void damageBeforeTheSum() throws IOException {
        final ReservedSlots reserved = node.reserve(LENGTH, TARGET);
        node.write(reserved.slots(), 0, StoreFixture.content(TARGET, LENGTH));
        require(node.commit(reserved.slots())[0] == SlotStatus.COMMITTED, "committed");
        damage();
        // Another node asks for it: it is summed first.
        final boolean[] told = {false};
        node.store
                .peers()
                .lend(id(TARGET), MovePriority.LOAD, System.nanoTime() + Long.MAX_VALUE / 2, answer -> told[0] = true);
        requireLostRegion();
        node.until("the other node is told", () -> told[0]);
        require(node.load(TARGET) == null, "the object is a miss");
    }

    private void damageBeforeTheDemotion() throws IOException {
        storeSummed(TARGET);
        damage();
        requireLostRegion();
        require(node.load(TARGET) == null, "the object is a miss");
        Files.deleteIfExists(directory.resolve("filler"));
        storeForTheBystander(node.store.engines().openAttachment(bystander));
    }

    private void damageWhatAPromotionFills() throws IOException {
        storeSummed(TARGET);
        // The colder half of DRAM goes to SSD.
        for (long number = 10; number < 90; number++) {
            require(node.store(number, LENGTH) == SlotStatus.COMMITTED, "stored");
        }
        node.until("on SSD", () -> node.store.admin().counters().demoted.sum() >= 2);
        node.killNode();
        node.killEngine();
        bystanderLock.close();
        StoreFixture.deleteAll(directory.resolve("arena"));
        start(() -> {});
        // A region of this tenant for the promotion, and its memory gone before the disk's answer.
        require(node.store(2, LENGTH) == SlotStatus.COMMITTED, "stored");
        damage();
        node.store.engines().lookup(node.holder, node.query(false, TARGET));
        requireLostRegion();
        Files.deleteIfExists(directory.resolve("filler"));
        final byte[][] loaded = new byte[1][];
        node.until("the object comes to another region", () -> {
            loaded[0] = loadNow();
            return loaded[0] != null;
        });
        requireContent(TARGET, loaded[0]);
    }

    private byte[] loadNow() {
        try {
            return node.load(TARGET);
        } catch (final IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private void damageWhatIsSent() throws IOException {
        storeSummed(TARGET);
        final Lent[] lent = new Lent[1];
        node.store
                .peers()
                .lend(
                        id(TARGET),
                        MovePriority.LOAD,
                        System.nanoTime() + TimeUnit.SECONDS.toNanos(30),
                        answer -> lent[0] = answer);
        node.until("ready to be sent", () -> lent[0] != null);
        damage();
        try (Arena arena = Arena.ofConfined()) {
            final MemorySegment slice = arena.allocate(64 << 10);
            // A hole reads as zeros: the peer finds the wrong checksum.
            lent[0].read(LENGTH - slice.byteSize(), slice);
            require(damage.equals("punch"), "read what is gone");
        } catch (final UncheckedIOException gone) {
            require(damage.equals("truncate"), gone.toString());
        }
        lent[0].giveBack();
        requireLostRegion();
        require(node.load(TARGET) == null, "the object is a miss");
    }

    private void damageWhatIsReceived() throws IOException {
        final byte[] content = StoreFixture.content(TARGET, LENGTH);
        final Reception[] reception = new Reception[1];
        node.until("room for what comes", () -> {
            reception[0] = node.store.peers().receive(node.tenant, id(TARGET), object(content), true, true);
            return reception[0].status() == SlotStatus.GRANTED;
        });
        damage();
        try (Arena arena = Arena.ofConfined()) {
            final MemorySegment slice = arena.allocate(64 << 10);
            reception[0].slot().write(LENGTH - slice.byteSize(), slice);
            reception[0].slot().commit();
        } catch (final UncheckedIOException gone) {
            reception[0].slot().abort();
        }
        requireLostRegion();
        require(node.load(TARGET) == null, "the object is a miss");
    }

    private void damageWhatAnEarlierNodeLeft() throws IOException {
        storeSummed(TARGET);
        node.killNode();
        node.killEngine();
        bystanderLock.close();
        StoreFixture.deleteAll(disk.resolve("ssd"));
        // Taken over, and not verified yet.
        start(this::damage);
        requireLostRegion();
        require(node.load(TARGET) == null, "the object is a miss");
    }

    private void requireLostRegion() {
        if (damage.equals("punch")) {
            // A hole reads as zeros, so only the node's own look at the file is sure to find it.
            standsStillAtNs = 0;
        }
        node.until(
                "the region is given up",
                () -> node.store.admin().counters().regionsRuined.sum() == 1);
        standsStillAtNs = 0;
    }

    private void damage() throws IOException {
        // What the node does every few milliseconds it does once more.
        standsStillAtNs = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(20);
        for (final Path file : node.dataFiles()) {
            if (damage.equals("truncate")) {
                try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
                    channel.truncate(0);
                }
            } else {
                run("fallocate", "--punch-hole", "--offset", "0", "--length", Long.toString(REGION), file.toString());
            }
        }
        if (damage.equals("punch")) {
            // Whatever the holes gave back is somebody else's at once.
            run("dd", "if=/dev/zero", "of=" + directory.resolve("filler"), "bs=4k");
        }
    }

    private static void run(final String... command) throws IOException {
        try {
            new ProcessBuilder(command)
                    .redirectErrorStream(true)
                    .redirectOutput(ProcessBuilder.Redirect.DISCARD)
                    .start()
                    .waitFor();
        } catch (final InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IOException(e);
        }
    }

    // ---- the end

    private void end() throws IOException {
        Files.deleteIfExists(directory.resolve("filler"));
        requireContent(9, bystanderLoads());
        require(node.store(77, LENGTH) == SlotStatus.COMMITTED, "the damaging engine's tenant stores anew");
        requireContent(77, node.load(77));
        node.close();
        bystanderLock.close();
    }

    private LookupAnswer lookup() {
        final LookupAnswer[] result = new LookupAnswer[1];
        node.until("settled", () -> {
            result[0] = node.store
                    .engines()
                    .lookup(
                            bystanderHolder,
                            new LookupQuery(OTHERS, StoreFixture.keys(9), new int[0], 0, false, false, 0, 0));
            return result[0].pendingChunks() == 0;
        });
        return result[0];
    }

    private byte[] bystanderLoads() throws IOException {
        final LookupAnswer found = lookup();
        require(found.hitChunks() == 1, "the bystander's object is there");
        final ByteBuffer record = StoreFixture.record(found.slots(), 0);
        final byte[] bytes = new byte[LENGTH];
        try (FileChannel file = FileChannel.open(dataFile(bystander, record), StandardOpenOption.READ)) {
            file.read(ByteBuffer.wrap(bytes), position(record));
        }
        return bytes;
    }

    private void storeSummed(final long number) throws IOException {
        final byte[] content = StoreFixture.content(number, LENGTH);
        final ReservedSlots reserved = node.reserve(LENGTH, number);
        node.write(reserved.slots(), 0, content);
        final byte[] sum = ByteBuffer.allocate(4)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putInt(crc(content))
                .array();
        final byte status =
                node.store.engines().commit(node.attachment, reserved.slots(), new byte[0], sum, new int[0], 0, 0)[0];
        require(status == SlotStatus.COMMITTED, "committed");
    }

    private static int crc(final byte[] content) {
        final CRC32C crc = new CRC32C();
        crc.update(content);
        return (int) crc.getValue();
    }

    private static StoredObject object(final byte[] content) {
        return new StoredObject(content.length, crc(content), 0, Hash256.ZERO, 0, 0, 0);
    }

    private static ObjectId id(final long number) {
        return new ObjectId(StoreFixture.NAMESPACE, Hash256.read(StoreFixture.key(number), 0), StoreFixture.SHARD);
    }

    private Path dataFile(final Tenant tenant, final ByteBuffer record) {
        return Path.of(
                tenant.directory(),
                node.store.engines().region(record.getInt(SlotRecord.REGION)).dataFile());
    }

    private long position(final ByteBuffer record) {
        return node.store.engines().region(record.getInt(SlotRecord.REGION)).slotBytes()
                * record.getInt(SlotRecord.SLOT);
    }

    private static void requireContent(final long number, final byte[] bytes) {
        require(Arrays.equals(bytes, StoreFixture.content(number, LENGTH)), "object " + number + " is whole");
    }

    private static void require(final boolean condition, final String what) {
        if (!condition) {
            throw new AssertionError("not so: " + what);
        }
    }
}
