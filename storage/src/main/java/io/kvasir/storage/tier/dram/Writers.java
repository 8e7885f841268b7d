package io.kvasir.storage.tier.dram;

import io.kvasir.storage.lease.Reservation;
import io.kvasir.storage.object.StorageException;
import io.kvasir.storage.object.TierKind;
import java.io.IOException;
import java.util.function.IntConsumer;

/**
 * The slots that processes may write: reserved ones, and those that are no object's any more and are quarantined until
 * the process has said that its copies have stopped, or has ended. Owned by {@link DramTier}.
 */
public final class Writers {
    private final DramContext context;
    private final ArenaFiles files;
    private final Regions regions;
    private final Attachments attachments;
    /** Takes its place from an entry, whose slot is the caller's then. */
    private final IntConsumer forget;

    private int writing;

    Writers(
            final DramContext context,
            final ArenaFiles files,
            final Regions regions,
            final Attachments attachments,
            final IntConsumer forget) {
        this.context = context;
        this.files = files;
        this.regions = regions;
        this.attachments = attachments;
        this.forget = forget;
    }

    /**
     * A process that may write from now on.
     *
     * @throws StorageException when its lock file cannot be made
     */
    public Attachments.Entry open(final TenantArena tenant) {
        long secret = context.random().nextLong();
        long id = Attachments.idOf(secret);
        while (secret == 0 || id == Region.NODE || attachments.mayTouch(id)) {
            secret = context.random().nextLong();
            id = Attachments.idOf(secret);
        }
        try {
            files.createLock(tenant, id);
        } catch (final IOException failure) {
            throw new StorageException("cannot make an attachment's lock file: " + failure.getMessage(), failure);
        }
        tenant.account.connected(1);
        return attachments.open(secret, tenant);
    }

    /** False when the attachment, or its tenant, has as much reserved as it may. */
    boolean mayReserve(final Attachments.Entry attachment, final long slotBytes) {
        return attachment.reservedBytes + slotBytes <= context.reserveQuota()
                && attachment.tenant.account.mayReserve(slotBytes);
    }

    /** The process of this reservation writes the slot from now on. */
    void reserved(final Reservation<Attachments.Entry> reservation, final Region region, final int slot) {
        final Attachments.Entry attachment = reservation.writer();
        final long place = Attachments.place(region.id, slot);
        attachment.reservedBytes += region.slotBytes;
        attachment.tenant.account.reserved(region.slotBytes);
        attachment.slots.put(place, reservation);
        reservation.add(place);
        attachment.last = region;
        writing++;
    }

    /** It was committed or aborted. */
    void unreserved(final Attachments.Entry attachment, final Region region, final int slot) {
        attachment.reservedBytes -= region.slotBytes;
        attachment.tenant.account.reserved(-region.slotBytes);
        attachment.slots.remove(Attachments.place(region.id, slot)).closed();
        writing--;
    }

    /** Whether this attachment has the slot, quarantined or not, under this stamp. */
    boolean isReserved(final Attachments.Entry attachment, final int regionId, final int slot, final long stamp) {
        final Region region = regions.get(regionId);
        return region != null
                && slot >= 0
                && slot < region.slots
                && attachment.slots.containsKey(Attachments.place(regionId, slot))
                && region.headers.stamp(slot) == stamp;
    }

    /**
     * For slots that a process will reserve; the caller sees to its deadline once it has some.
     *
     * @param writingNs from a reserve to the deadline
     */
    public Reservation<Attachments.Entry> reservation(
            final Attachments.Entry writer, final long nowNs, final long writingNs) {
        if (writer.latest == null || !writer.latest.takes(nowNs, writingNs)) {
            writer.latest = new Reservation<>(writer, this::overdue, nowNs);
        }
        return writer.latest;
    }

    /** What is neither committed nor aborted by now is quarantined, and others may store those objects. */
    private void overdue(final Reservation<Attachments.Entry> reservation) {
        final Attachments.Entry writer = reservation.writer();
        for (int i = 0; i < reservation.count(); i++) {
            final long place = reservation.place(i);
            if (writer.slots.get(place) == reservation && quarantine(place)) {
                attachments.quarantine(writer, regions.get((int) (place >>> 32)).slotBytes);
                context.counters().reservationsOverdue.increment();
            }
        }
    }

    /** A slot is no object's any more, but its writer may still copy into it. False when that is so already. */
    private boolean quarantine(final long place) {
        final Region region = regions.get((int) (place >>> 32));
        final int slot = (int) place;
        if (region.entryOf[slot] == Region.NO_ENTRY) {
            return false;
        }
        writing--;
        region.tenant.account.reserved(-region.slotBytes);
        forget.accept(region.entryOf[slot]);
        region.quarantined();
        region.unreserved();
        return true;
    }

    /**
     * The process is done with a slot that was taken from it: its commit or abort comes too late, and says that its copy
     * has stopped. Does nothing for a record of another slot.
     */
    public void doneTooLate(final Attachments.Entry attachment, final int regionId, final int slot, final long stamp) {
        final long place = Attachments.place(regionId, slot);
        if (!isReserved(attachment, regionId, slot, stamp)) {
            return;
        }
        final Region region = regions.get(regionId);
        if (region.entryOf[slot] != Region.NO_ENTRY) {
            return;
        }
        attachment.slots.remove(place);
        attachment.reservedBytes -= region.slotBytes;
        attachments.quarantine(attachment, -region.slotBytes);
        region.free(slot);
        region.unquarantined();
        context.tierListener().spaceFreed(TierKind.DRAM);
    }

    /** The connection is gone: what it had reserved is quarantined, and other writers may store those objects anew. */
    public void depart(final Attachments.Entry attachment) {
        if (attachment.departed) {
            return;
        }
        attachment.tenant.account.connected(-1);
        attachment.slots.forEachLong((place, reservation) -> {
            reservation.cancel();
            quarantine(place);
        });
        attachments.depart(attachment);
        endIfStopped(attachment);
    }

    /** The process says that its copies have stopped. */
    public void quiesced(final TenantArena tenant, final long secret) {
        final Attachments.Entry attachment = attachments.departed(Attachments.idOf(secret));
        if (attachment != null && attachment.tenant == tenant) {
            end(attachment);
        }
    }

    /** Frees what departed processes had, as far as their locks are free. Looks at some of them in each call. */
    void probe() {
        attachments.stopped().forEach(this::end);
        for (final Attachments.Entry attachment : attachments.endedBehindTheirSocket()) {
            depart(attachment);
            context.listener().processEnded(attachment);
        }
    }

    /** Ends what a departed process had, if its lock is free. */
    void endIfStopped(final Attachments.Entry attachment) {
        if (!attachment.isHeld()) {
            end(attachment);
        }
    }

    private void end(final Attachments.Entry attachment) {
        attachment.slots.forEachLong((place, reservation) -> {
            final Region region = regions.get((int) (place >>> 32));
            region.free((int) place);
            region.unquarantined();
        });
        final boolean roomMade = !attachment.slots.isEmpty();
        attachment.slots.clear();
        attachments.forget(attachment);
        files.delete(attachment.tenant.path.resolve(attachment.lockFile()));
        context.listener().attachmentEnded(attachment.id);
        if (roomMade) {
            context.tierListener().spaceFreed(TierKind.DRAM);
        }
    }

    /** Slots that processes have reserved; the quarantined ones do not count. */
    public int slotsBeingWritten() {
        return writing;
    }

    /** Bytes of slots that are no object's and may still be written. */
    public long quarantinedBytes() {
        return attachments.quarantinedBytes();
    }
}
