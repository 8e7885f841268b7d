package io.kvasir.storage;

import io.kvasir.storage.dram.Attachments;
import io.kvasir.storage.dram.DramTier;
import io.kvasir.storage.dram.Eviction;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** How engines write: reserves slots, and commits or aborts them. Owned by {@link ObjectStore}. */
final class Reservations {
    private final DramTier dram;
    private final SsdShelf ssd;
    private final Verifier verifier;
    private final StoreContext context;
    private final StorageCounters counters;

    Reservations(
            final DramTier dram,
            final SsdShelf ssd,
            final Verifier verifier,
            final StoreContext context,
            final StorageCounters counters) {
        this.dram = dram;
        this.ssd = ssd;
        this.verifier = verifier;
        this.context = context;
        this.counters = counters;
    }

    /** @param before null, or the result whose NO_ROOM records are tried again; its other records are kept */
    ObjectStore.ReserveResult reserve(
            final Attachments.Entry writer,
            final Hash256 namespace,
            final Shard shard,
            final byte[] keys,
            final long[] lengths,
            final int codec,
            final ObjectStore.ReserveResult before) {
        final int count = keys.length / Hash256.BYTES;
        final SlotRecords records = new SlotRecords(dram, count);
        final long[] hashes = new long[count];
        for (int i = 0; i < count; i++) {
            hashes[i] = ObjectId.hash64(namespace, Hash256.read(keys, i * Hash256.BYTES), shard);
        }
        dram.expect(hashes);
        int noRoom = 0;
        for (int i = 0; i < count; i++) {
            if (before != null && before.slots()[i * SlotRecord.BYTES] != SlotStatus.NO_ROOM) {
                records.keep(before.slots(), i);
                continue;
            }
            final Hash256 key = Hash256.read(keys, i * Hash256.BYTES);
            final long hash = hashes[i];
            final int there = dram.find(hash, namespace, key, shard);
            if (there != DramTier.NONE) {
                final boolean busy = dram.isWriting(there) || dram.isCondemned(there);
                records.add(busy ? SlotStatus.IN_FLIGHT : SlotStatus.EXISTS, DramTier.NONE);
                continue;
            }
            if (ssd.has(hash)) {
                records.add(SlotStatus.EXISTS, DramTier.NONE);
                continue;
            }
            // Once one found no room the others of this call would only look again.
            final int entry = noRoom > 0
                    ? DramTier.NO_ROOM
                    : dram.reserve(
                            writer.arena(),
                            writer,
                            namespace,
                            key,
                            shard,
                            lengths[lengths.length == 1 ? 0 : i],
                            codec,
                            Eviction.ANYTHING);
            switch (entry) {
                case DramTier.NO_ROOM -> {
                    noRoom++;
                    records.add(SlotStatus.NO_ROOM, DramTier.NONE);
                }
                case DramTier.QUOTA -> {
                    counters.quotaRefused.increment();
                    records.add(SlotStatus.QUOTA, DramTier.NONE);
                }
                default -> records.add(SlotStatus.GRANTED, entry);
            }
        }
        counters.noRoom.add(noRoom);
        return new ObjectStore.ReserveResult(records.bytes(), records.regions(), noRoom);
    }

    /** See {@link ObjectStore#commit}. */
    byte[] commit(
            final Attachments.Entry writer,
            final byte[] records,
            final byte[] parents,
            final byte[] crc32c,
            final int[] chunkIndex,
            final int priority,
            final long ttlNs) {
        final ByteBuffer in = ByteBuffer.wrap(records).order(ByteOrder.LITTLE_ENDIAN);
        final ByteBuffer sums = ByteBuffer.wrap(crc32c).order(ByteOrder.LITTLE_ENDIAN);
        final byte[] statuses = new byte[records.length / SlotRecord.BYTES];
        final long expiry = ttlNs == 0 ? 0 : context.clock().time() + Math.max(1, ttlNs / 1_000_000);
        final long nowNs = context.nanoClock().nanoTime();
        for (int i = 0; i < statuses.length; i++) {
            final int entry = reserved(writer, in, i);
            if (entry == DramTier.NONE) {
                statuses[i] = SlotStatus.NOT_RESERVED;
                continue;
            }
            if (crc32c.length > 0) {
                dram.setCrc32c(entry, sums.getInt(i * Integer.BYTES));
            }
            final int index = chunkIndex.length == 0
                    ? -1
                    : chunkIndex.length == statuses.length ? chunkIndex[i] : chunkIndex[0] + i;
            dram.commit(
                    writer,
                    entry,
                    parents.length == 0 ? Hash256.ZERO : Hash256.read(parents, i * Hash256.BYTES),
                    index,
                    priority,
                    expiry);
            counters.stored.increment();
            counters.storedBytes.add(dram.length(entry));
            if (crc32c.length == 0) {
                verifier.sumLater(entry, nowNs);
            }
            statuses[i] = SlotStatus.COMMITTED;
        }
        return statuses;
    }

    byte[] abort(final Attachments.Entry writer, final byte[] records) {
        final ByteBuffer in = ByteBuffer.wrap(records).order(ByteOrder.LITTLE_ENDIAN);
        final byte[] statuses = new byte[records.length / SlotRecord.BYTES];
        for (int i = 0; i < statuses.length; i++) {
            final int entry = reserved(writer, in, i);
            statuses[i] = entry == DramTier.NONE ? SlotStatus.NOT_RESERVED : SlotStatus.ABORTED;
            if (entry != DramTier.NONE) {
                dram.abort(writer, entry);
            }
        }
        return statuses;
    }

    private int reserved(final Attachments.Entry writer, final ByteBuffer in, final int i) {
        final int at = i * SlotRecord.BYTES;
        return dram.reserved(
                writer,
                in.getInt(at + SlotRecord.REGION),
                in.getInt(at + SlotRecord.SLOT),
                in.getLong(at + SlotRecord.STAMP));
    }
}
