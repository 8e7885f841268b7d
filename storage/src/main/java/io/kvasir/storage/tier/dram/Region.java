package io.kvasir.storage.tier.dram;

import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.RegionInfo;
import io.kvasir.storage.object.Shard;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.Arrays;

/**
 * A payload file cut into slots of one size, for one tenant, with its header table. Keeps which slots are free and who
 * writes here; owned by {@link DramTier}.
 *
 * <p>A region is open, and gives its free slots; or it is being emptied, or ruined, and gives none; or it is retired, and
 * never gives one again.
 */
final class Region {
    static final int NO_ENTRY = -1;
    /** The node itself: promotions from SSD. Never quarantined, since it ends with its process. */
    static final long NODE = 0;

    final int id;
    final TenantArena tenant;
    final long slotBytes;
    final int slots;
    final Path dataFile;
    final Path headerFile;
    final HeaderTable headers;
    /** Slot to entry; {@link #NO_ENTRY} when free or quarantined. */
    final int[] entryOf;

    private final Arena memory;
    private final RegionFile data;
    private final int[] free;
    /** Says again what {@link #free} says, so that a slot that is free twice, or free and some object's, is noticed. */
    private final boolean[] isFree;

    /** Behind the slot that {@link Victims#hidden} gave last. */
    int hiddenTaken;

    private int freeCount;
    private int reserved;
    private int quarantined;
    private int held;
    private long writer = NODE;
    /** Where it gives its slots; null before it is one of the tier's, and once it is retired. */
    private Pool pool;

    private boolean retired;
    private boolean emptying;
    /** The payload file is not what it was. */
    private boolean ruined;

    private long usedMs;

    Region(
            final int id,
            final TenantArena tenant,
            final long slotBytes,
            final int slots,
            final Path dataFile,
            final Path headerFile,
            final Arena memory,
            final RegionFile data,
            final HeaderTable headers) {
        this.id = id;
        this.tenant = tenant;
        this.slotBytes = slotBytes;
        this.slots = slots;
        this.dataFile = dataFile;
        this.headerFile = headerFile;
        this.memory = memory;
        this.data = data;
        this.headers = headers;
        entryOf = new int[slots];
        Arrays.fill(entryOf, NO_ENTRY);
        free = new int[slots];
        isFree = new boolean[slots];
    }

    RegionInfo info() {
        return new RegionInfo(
                id,
                slotBytes,
                slots,
                dataFile.getFileName().toString(),
                headerFile.getFileName().toString());
    }

    /** File bytes that this region takes from the tier's capacity. */
    long bytes() {
        return data.bytes() + HeaderTable.fileBytes(slots);
    }

    long dataBytes() {
        return data.bytes();
    }

    Payload payload(final int slot, final long length) {
        return new Payload(data, slot * slotBytes, length);
    }

    /** What an engine did to the payload file; empty when nothing. */
    String damage() {
        return data.damage();
    }

    /** No slot is given out any more, and the region ends when nobody writes or reads here. */
    void ruined() {
        if (isOpen() && pool != null) {
            pool.withdraw(this);
        }
        ruined = true;
        data.trim();
    }

    // ---- whether it gives slots

    void join(final Pool given) {
        pool = given;
        if (isOpen()) {
            pool.offer(this);
        }
    }

    /** It is retired. */
    void leave() {
        if (isOpen()) {
            pool.withdraw(this);
        }
        pool = null;
        retired = true;
    }

    Pool pool() {
        return pool;
    }

    private boolean isOpen() {
        return !ruined && !emptying && !retired;
    }

    boolean isEmptying() {
        return emptying;
    }

    /** Objects are being moved out, so no slot is given to another one; or that has ended. */
    void emptying(final boolean now) {
        if (now == emptying) {
            return;
        }
        if (isOpen()) {
            pool.withdraw(this);
        }
        emptying = now;
        if (isOpen()) {
            pool.offer(this);
        }
    }

    /** When it last came to have another object, or was found to be no region to empty. */
    long usedMs() {
        return usedMs;
    }

    void used(final long nowMs) {
        usedMs = nowMs;
    }

    boolean isRuined() {
        return ruined;
    }

    /**
     * The only way to get a slot. A slot with two owners would serve the bytes of one object as those of another, so this
     * fails instead.
     */
    int takeFree() {
        if (!hasFree()) {
            throw new IllegalStateException("region " + id + " has no free slot to give");
        }
        final int slot = free[--freeCount];
        if (!isFree[slot] || entryOf[slot] != NO_ENTRY) {
            throw new IllegalStateException("slot " + slot + " of region " + id + " was free and is not");
        }
        isFree[slot] = false;
        if (pool != null) {
            pool.taken(this);
        }
        return slot;
    }

    /** A slot that this attachment may write from now on, for the object that its header describes. */
    int reserve(
            final Hash256 namespace,
            final Hash256 key,
            final Shard shard,
            final long length,
            final long attachment,
            final int codec) {
        final int slot = takeFree();
        headers.describe(slot, namespace, key, shard, length, attachment, codec);
        final long generation = HeaderTable.generation(headers.stamp(slot)) + 1;
        headers.setStamp(slot, HeaderTable.stamp(generation, HeaderTable.RESERVED));
        reserved(attachment);
        return slot;
    }

    /** The reserved slot is readable from now on, in one step; its checksum, if there is one, was set before. */
    void commit(
            final int slot, final Hash256 parent, final int chunkIndex, final int priority, final long expiryUnixMs) {
        final long generation = HeaderTable.generation(headers.stamp(slot)) + 1;
        headers.seal(slot, parent, chunkIndex, priority, expiryUnixMs, generation);
        headers.setStamp(slot, HeaderTable.stamp(generation, HeaderTable.COMMITTED));
        unreserved();
    }

    /** The slot is nobody's. */
    void putFree(final int slot) {
        if (isFree[slot] || entryOf[slot] != NO_ENTRY) {
            throw new IllegalStateException("slot " + slot + " of region " + id + " is given back, but is "
                    + (isFree[slot] ? "free" : "an object's"));
        }
        isFree[slot] = true;
        free[freeCount++] = slot;
        if (pool != null && isOpen()) {
            pool.freed(this);
        }
    }

    boolean isFree(final int slot) {
        return isFree[slot];
    }

    int freeCount() {
        return freeCount;
    }

    /** The slot may be given to somebody else; records of what it held are void from here on. */
    void free(final int slot) {
        final long generation = HeaderTable.generation(headers.stamp(slot));
        headers.setStamp(slot, HeaderTable.stamp((generation | 1) + 1, HeaderTable.FREE));
        putFree(slot);
    }

    boolean hasFree() {
        return freeCount > 0 && isOpen();
    }

    /** True when this attachment may be given slots here: one attachment writes in a region at a time. */
    boolean admits(final long attachment) {
        return attachment == NODE || writer == attachment || writer == NODE;
    }

    boolean isWrittenBy(final long attachment) {
        return writer == attachment;
    }

    private void reserved(final long attachment) {
        reserved++;
        if (attachment != NODE) {
            writer = attachment;
        }
    }

    /** A reserved slot was committed, aborted or quarantined. */
    void unreserved() {
        reserved--;
        vacate();
    }

    void quarantined() {
        quarantined++;
    }

    void unquarantined() {
        quarantined--;
        vacate();
    }

    void held() {
        held++;
    }

    void unheld() {
        held--;
    }

    /** Nobody writes, reads or may still be writing here: it can be cut anew or given to somebody else. */
    boolean isIdle() {
        return reserved == 0 && quarantined == 0 && held == 0;
    }

    boolean isEmpty() {
        return freeCount == slots;
    }

    /** Slots that are not free. */
    int liveSlots() {
        return slots - freeCount;
    }

    /** Gives the memory back, also where an engine that has retired nothing yet still maps the file. */
    void release() {
        data.punch();
        close();
    }

    void close() {
        memory.close();
        data.close();
    }

    private void vacate() {
        if (reserved == 0 && quarantined == 0) {
            writer = NODE;
        }
    }
}
