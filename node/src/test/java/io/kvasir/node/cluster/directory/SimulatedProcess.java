package io.kvasir.node.cluster.directory;

import io.kvasir.storage.StoreAgent;
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
import java.util.ArrayDeque;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** One process of an engine at a {@link SimulatedNode}: its lock, what it has reserved and what it has leased. */
final class SimulatedProcess {
    record Reserved(byte[] slots, long untilNs) {}

    /** A lease of chunks from {@code first} on, with a packed record for each. */
    record Leased(int first, int count, long lease, byte[] slots) {}

    final Attachment attachment;
    final LeaseHolder holder;
    final Map<Integer, Reserved> reserved = new TreeMap<>();
    final ArrayDeque<Leased> leased = new ArrayDeque<>();
    private final Path directory;
    private final FileChannel lock;

    SimulatedProcess(final StoreAgent store, final Tenant tenant) throws IOException {
        attachment = store.engines().openAttachment(tenant);
        directory = Path.of(tenant.directory());
        lock = FileChannel.open(directory.resolve(attachment.lockFile()), StandardOpenOption.WRITE);
        lock.lock();
        holder = store.engines().openHolder(tenant, new ShardSet(List.of(SimulatedObjects.SHARD), Map.of()));
        store.engines().joinHolder(holder, attachment);
    }

    /** The process ends. */
    void die() throws IOException {
        lock.close();
    }

    static ByteBuffer record(final byte[] slots, final int i) {
        return ByteBuffer.wrap(slots, i * SlotRecord.BYTES, SlotRecord.BYTES)
                .slice()
                .order(ByteOrder.LITTLE_ENDIAN);
    }

    void write(final RegionInfo region, final ByteBuffer record, final byte[] bytes) throws IOException {
        try (FileChannel channel = FileChannel.open(directory.resolve(region.dataFile()), StandardOpenOption.WRITE)) {
            channel.write(ByteBuffer.wrap(bytes), region.slotBytes() * record.getInt(SlotRecord.SLOT));
        }
    }

    byte[] read(final RegionInfo region, final ByteBuffer record) throws IOException {
        final byte[] bytes = new byte[Math.toIntExact(record.getLong(SlotRecord.LENGTH))];
        try (FileChannel channel = FileChannel.open(directory.resolve(region.dataFile()), StandardOpenOption.READ)) {
            channel.read(ByteBuffer.wrap(bytes), region.slotBytes() * record.getInt(SlotRecord.SLOT));
        }
        return bytes;
    }
}
