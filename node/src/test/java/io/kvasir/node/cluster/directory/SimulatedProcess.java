package io.kvasir.node.cluster.directory;

import io.kvasir.storage.ObjectStore;
import io.kvasir.storage.object.RegionInfo;
import io.kvasir.storage.object.ShardSet;
import io.kvasir.storage.object.SlotRecord;
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

    final ObjectStore.Attachment attachment;
    final ObjectStore.LeaseHolder holder;
    final Map<Integer, Reserved> reserved = new TreeMap<>();
    final ArrayDeque<Leased> leased = new ArrayDeque<>();
    private final Path directory;
    private final FileChannel lock;

    SimulatedProcess(final ObjectStore store, final ObjectStore.Tenant tenant) throws IOException {
        attachment = store.openAttachment(tenant);
        directory = Path.of(tenant.directory());
        lock = FileChannel.open(directory.resolve(attachment.lockFile()), StandardOpenOption.WRITE);
        lock.lock();
        holder = store.openHolder(tenant, new ShardSet(List.of(SimulatedObjects.SHARD), Map.of()));
        store.joinHolder(holder, attachment);
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
