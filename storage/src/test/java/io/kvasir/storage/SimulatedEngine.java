package io.kvasir.storage;

import io.kvasir.storage.lease.LeaseHolder;
import io.kvasir.storage.object.RegionInfo;
import io.kvasir.storage.object.ShardSet;
import io.kvasir.storage.object.SlotRecord;
import io.kvasir.storage.tenant.Tenant;
import io.kvasir.storage.tier.Attachment;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** One process of an engine: its attachment, its lock, and what it has reserved and leased. Copies through the files. */
final class SimulatedEngine {
    record Leased(int object, long lease, byte[] slots, long untilNs) {}

    record Reserved(int object, byte[] slots, long untilNs) {}

    final Attachment attachment;
    final LeaseHolder holder;
    final Map<Integer, Reserved> reserved = new TreeMap<>();
    /** Reserved once more since: their deadlines are over, and it does not know. */
    final List<Reserved> overdue = new ArrayList<>();

    final List<Leased> leased = new ArrayList<>();
    /** It says in its lock file which copies it runs. */
    final boolean marks;
    /** Under which it copies; null: it does not. */
    Leased copying;

    private long next = 1;
    private final Path directory;
    private final FileChannel lock;

    SimulatedEngine(final StoreAgent store, final Tenant tenant) throws IOException {
        this(store, tenant, false);
    }

    SimulatedEngine(final StoreAgent store, final Tenant tenant, final boolean marks) throws IOException {
        this.marks = marks;
        attachment = store.engines().openAttachment(tenant);
        directory = Path.of(tenant.directory());
        lock = FileChannel.open(directory.resolve(attachment.lockFile()), StandardOpenOption.WRITE);
        lock.lock();
        if (!store.engines().isAlive(attachment)) {
            throw new AssertionError("the lock is not seen");
        }
        holder = store.engines().openHolder(tenant, new ShardSet(List.of(StoreFixture.SHARD), Map.of()));
        mark();
        store.engines().joinHolder(holder, attachment);
    }

    void beginCopy(final Leased lease) throws IOException {
        copying = lease;
        next++;
        mark();
    }

    boolean copiesUnder(final Leased lease) {
        return copying != null && copying.lease() == lease.lease();
    }

    void endCopy() throws IOException {
        copying = null;
        mark();
    }

    private void mark() throws IOException {
        if (marks) {
            final ByteBuffer words = ByteBuffer.allocate(2 * Long.BYTES).order(ByteOrder.LITTLE_ENDIAN);
            lock.write(
                    words.putLong(next)
                            .putLong(copying == null ? next : next - 1)
                            .flip(),
                    64);
        }
    }

    /** The process ends. */
    void die() throws IOException {
        lock.close();
    }

    void write(final RegionInfo region, final byte[] record, final byte[] bytes) throws IOException {
        try (FileChannel channel = FileChannel.open(directory.resolve(region.dataFile()), StandardOpenOption.WRITE)) {
            channel.write(ByteBuffer.wrap(bytes), position(region, record));
        }
    }

    byte[] read(final RegionInfo region, final byte[] record) throws IOException {
        final byte[] bytes =
                new byte[Math.toIntExact(StoreFixture.record(record, 0).getLong(SlotRecord.LENGTH))];
        try (FileChannel channel = FileChannel.open(directory.resolve(region.dataFile()), StandardOpenOption.READ)) {
            channel.read(ByteBuffer.wrap(bytes), position(region, record));
        }
        return bytes;
    }

    private static long position(final RegionInfo region, final byte[] record) {
        return region.slotBytes() * StoreFixture.record(record, 0).getInt(SlotRecord.SLOT);
    }
}
