package io.kvasir.storage;

import io.kvasir.storage.budget.StoreLimits;
import io.kvasir.storage.integrity.Verifier;
import io.kvasir.storage.lease.LeaseTable;
import io.kvasir.storage.lease.Reservation;
import io.kvasir.storage.metrics.StorageCounters;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.Shard;
import io.kvasir.storage.object.SlotRecord;
import io.kvasir.storage.object.SlotStatus;
import io.kvasir.storage.tier.AddressableTiers;
import io.kvasir.storage.tier.ReservedSlots;
import io.kvasir.storage.tier.SlotRecords;
import io.kvasir.storage.tier.dram.Attachments;
import io.kvasir.storage.tier.dram.DramTier;
import io.kvasir.storage.tier.dram.Eviction;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;

/** How engines write: reserves slots, and commits or aborts them. Owned by {@link StoreAgent}. */
final class Reservations {
    /** Keys whose index entries are read together. */
    private static final int AT_ONCE = 512;
    /** What a key costs, in eviction candidates: to look for it, and to give it a slot. */
    private static final int LOOK_STEPS = 4;

    private static final int GRANT_STEPS = 12;

    private final AddressableTiers slots;
    private final DramTier dram;
    private final SsdShelf ssd;
    private final Verifier verifier;
    private final LeaseTable leases;
    private final StoreContext context;
    private final StorageCounters counters;
    private final TooLarge tooLarge;

    Reservations(
            final AddressableTiers slots,
            final DramTier dram,
            final SsdShelf ssd,
            final Verifier verifier,
            final LeaseTable leases,
            final StoreContext context,
            final StorageCounters counters) {
        this.slots = slots;
        this.dram = dram;
        this.ssd = ssd;
        this.verifier = verifier;
        this.leases = leases;
        this.context = context;
        this.counters = counters;
        tooLarge = new TooLarge(context.dramCapacity(), context.reserveQuotaBytes());
    }

    /**
     * Looks at a bounded number of keys and eviction candidates.
     *
     * @param before null, or the result whose NO_ROOM records are tried again, in place; its other records are kept
     */
    ReservedSlots reserve(
            final Attachments.Entry writer,
            final Hash256 namespace,
            final Shard shard,
            final byte[] keys,
            final long[] lengths,
            final int codec,
            final ReservedSlots before) {
        if (before == null) {
            tooLarge.check(lengths);
        }
        dram.searchBudget(StoreLimits.RESERVE_STEPS);
        final long nowNs = context.nanoClock().nanoTime();
        final long writingNs = context.reserveDeadline().toNanos();
        final Reservation<Attachments.Entry> granted = dram.writers().reservation(writer, nowNs, writingNs);
        try {
            return new Turn(granted, writer, namespace, shard, keys, lengths, codec, before).run();
        } finally {
            leases.reserved(granted, nowNs + writingNs);
            dram.searchBudget(Integer.MAX_VALUE);
        }
    }

    /** One turn of one request. */
    private final class Turn {
        private final Reservation<Attachments.Entry> granted;
        private final Attachments.Entry writer;
        private final Hash256 namespace;
        private final Shard shard;
        private final byte[] keys;
        private final long[] lengths;
        private final int codec;
        private final boolean retries;
        private final long nowNs = context.nanoClock().nanoTime();
        private final SlotRecords records;
        /** What the keys have cost; searches keep their own account. */
        private int steps;

        private int noRoom;
        private int tooLong;
        /** A search found nothing before its budget was used up: there is no more space now. */
        private boolean full;
        /** The budget ended the turn, and the next one may get more. */
        private boolean unfinished;

        Turn(
                final Reservation<Attachments.Entry> granted,
                final Attachments.Entry writer,
                final Hash256 namespace,
                final Shard shard,
                final byte[] keys,
                final long[] lengths,
                final int codec,
                final ReservedSlots before) {
            this.granted = granted;
            this.writer = writer;
            this.namespace = namespace;
            this.shard = shard;
            this.keys = keys;
            this.lengths = lengths;
            this.codec = codec;
            retries = before != null;
            records = retries ? new SlotRecords(slots, before) : new SlotRecords(slots, keys.length / Hash256.BYTES);
        }

        ReservedSlots run() {
            final int count = keys.length / Hash256.BYTES;
            final long[] hashes = new long[Math.min(count, AT_ONCE)];
            final long[] tableHashes = new long[hashes.length];
            final int[] wanted = new int[hashes.length];
            int i = 0;
            while (i < count) {
                int found = 0;
                for (; i < count && found < wanted.length; i++) {
                    if (retries && records.status(i) != SlotStatus.NO_ROOM) {
                        continue;
                    }
                    if (!dram.canFit(writer.arena(), length(i))) {
                        tooLong++;
                        records.at(i);
                        records.add(SlotStatus.NO_ROOM, DramTier.NONE);
                    } else if (isOver()) {
                        noRoom++;
                        records.at(i);
                        records.add(SlotStatus.NO_ROOM, DramTier.NONE);
                    } else {
                        final Hash256 key = Hash256.read(keys, i * Hash256.BYTES);
                        hashes[found] = ObjectId.hash64(namespace, key, shard);
                        tableHashes[found] = dram.tableHash(namespace, key, shard);
                        wanted[found++] = i;
                    }
                }
                if (found > 0 && !full) {
                    dram.expect(Arrays.copyOf(tableHashes, found), Arrays.copyOf(hashes, found));
                }
                for (int k = 0; k < found; k++) {
                    records.at(wanted[k]);
                    one(wanted[k], tableHashes[k]);
                }
            }
            return new ReservedSlots(records.bytes(), records.regions(), noRoom, tooLong, unfinished && !full);
        }

        private long length(final int i) {
            return lengths[lengths.length == 1 ? 0 : i];
        }

        private boolean isOver() {
            final boolean over = steps + StoreLimits.RESERVE_STEPS - dram.searchLeft() >= StoreLimits.RESERVE_STEPS;
            unfinished |= over;
            return over;
        }

        private void one(final int i, final long tableHash) {
            if (isOver()) {
                noRoom++;
                records.add(SlotStatus.NO_ROOM, DramTier.NONE);
                return;
            }
            final boolean fresh = steps == 0 && dram.searchLeft() == StoreLimits.RESERVE_STEPS;
            steps += LOOK_STEPS;
            final Hash256 key = Hash256.read(keys, i * Hash256.BYTES);
            final int there = dram.find(tableHash, namespace, key, shard);
            if (there != DramTier.NONE) {
                final boolean busy = dram.isWriting(there) || dram.isCondemned(there);
                records.add(busy ? SlotStatus.IN_FLIGHT : SlotStatus.EXISTS, DramTier.NONE);
                return;
            }
            if (ssd.has(tableHash, namespace, key, shard)) {
                records.add(SlotStatus.EXISTS, DramTier.NONE);
                return;
            }
            // Once one found no room the others of this call would only look again; and what is fetched goes first.
            final int entry = full || ssd.precedes(writer.arena(), length(i), nowNs)
                    ? DramTier.NO_ROOM
                    : dram.reserve(writer.arena(), granted, namespace, key, shard, length(i), codec, Eviction.ANYTHING);
            switch (entry) {
                case DramTier.NO_ROOM -> {
                    noRoom++;
                    // What a whole turn's budget does not find is not there.
                    full |= fresh || dram.searchLeft() > 0;
                    records.add(SlotStatus.NO_ROOM, DramTier.NONE);
                }
                case DramTier.QUOTA -> {
                    counters.quotaRefused.increment();
                    records.add(SlotStatus.QUOTA, DramTier.NONE);
                }
                default -> {
                    steps += GRANT_STEPS;
                    records.add(SlotStatus.GRANTED, entry);
                }
            }
        }
    }

    /** See {@link EngineStore#commit}. */
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
                doneTooLate(writer, in, i);
                statuses[i] = SlotStatus.NOT_RESERVED;
                continue;
            }
            if (dram.isRuined(entry)) {
                dram.abort(writer, entry);
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
            } else {
                doneTooLate(writer, in, i);
            }
        }
        return statuses;
    }

    private void doneTooLate(final Attachments.Entry writer, final ByteBuffer in, final int i) {
        final int at = i * SlotRecord.BYTES;
        dram.writers()
                .doneTooLate(
                        writer,
                        in.getInt(at + SlotRecord.REGION),
                        in.getInt(at + SlotRecord.SLOT),
                        in.getLong(at + SlotRecord.STAMP));
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
