package io.kvasir.storage.tier.dram;

import io.kvasir.storage.lease.Reservation;
import io.kvasir.storage.object.ObjectId;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Takes over what an earlier node left in the arena: committed objects are indexed, slots of processes that may still
 * write are quarantined, everything else is free. Used once, by {@link DramTier}'s constructor.
 */
final class Adoption {
    private static final Logger LOG = LoggerFactory.getLogger(Adoption.class);

    private final DramTier dram;
    private final DramContext context;
    private final ArenaFiles files;
    private final Regions regions;
    private final Reservation<Attachments.Entry> ended = Reservation.ended();
    private final Attachments attachments;
    private final Writers writers;
    private final Map<Long, Attachments.Entry> left = new HashMap<>();

    Adoption(
            final DramTier dram,
            final DramContext context,
            final ArenaFiles files,
            final Regions regions,
            final Attachments attachments,
            final Writers writers) {
        this.dram = dram;
        this.context = context;
        this.files = files;
        this.regions = regions;
        this.attachments = attachments;
        this.writers = writers;
    }

    void adoptAll(final TenantArenas tenants) {
        for (final String name : files.tenants()) {
            final TenantArena tenant = tenants.open(name, files.group(name));
            tenant.adopted = true;
            adopt(tenant);
        }
    }

    private void adopt(final TenantArena tenant) {
        left.clear();
        for (final Region region :
                files.adopt(tenant, () -> context.counters().faults.increment())) {
            final boolean beyondShare = !tenant.account.mayGrow(region.dataBytes());
            if (beyondShare || regions.bytes() + region.dataBytes() > context.capacity()) {
                LOG.info(
                        "{} is smaller than before: region {} is dropped",
                        beyondShare ? "dram.max of tenant " + tenant.name : "dram.capacity",
                        region.id);
                region.headers.retire();
                files.remove(region);
                region.close();
                continue;
            }
            regions.adopt(region);
            for (int slot = region.slots - 1; slot >= 0; slot--) {
                adoptSlot(region, slot);
            }
        }
        for (final Attachments.Entry writer : left.values()) {
            attachments.depart(writer);
        }
        for (final Path lock : files.lockFiles(tenant)) {
            final long id = AttachmentLock.parse(lock.getFileName().toString());
            if (!left.containsKey(id)) {
                if (AttachmentLock.isHeld(lock)) {
                    // It may still read under the last incarnation; its lock file goes when it does.
                    attachments.depart(new Attachments.Entry(id, tenant));
                } else {
                    files.delete(lock);
                }
            }
        }
        for (final Attachments.Entry writer : List.copyOf(left.values())) {
            writers.endIfStopped(writer);
        }
        for (final Region region : tenant.regions) {
            for (final int entry : region.entryOf) {
                if (entry != Region.NO_ENTRY) {
                    dram.link(entry, dram.parent(entry));
                }
            }
        }
    }

    private void adoptSlot(final Region region, final int slot) {
        final long stamp = region.headers.stamp(slot);
        switch (HeaderTable.state(stamp)) {
            case HeaderTable.FREE -> region.putFree(slot);
            case HeaderTable.COMMITTED -> adoptCommitted(region, slot, HeaderTable.generation(stamp));
            default -> {
                final long writer = region.headers.attachment(slot);
                if (writer == Region.NODE) {
                    region.free(slot);
                    return;
                }
                final Attachments.Entry attachment =
                        left.computeIfAbsent(writer, id -> new Attachments.Entry(id, region.tenant));
                attachment.departed = true;
                attachment.slots.put(Attachments.place(region.id, slot), ended);
                attachment.reservedBytes += region.slotBytes;
                region.quarantined();
            }
        }
    }

    private void adoptCommitted(final Region region, final int slot, final long generation) {
        final HeaderTable headers = region.headers;
        if ((generation & 1) != 0
                || !headers.isSound(slot, generation)
                || headers.length(slot) < 1
                || headers.length(slot) > region.slotBytes) {
            context.counters().adoptedDamaged.increment();
            region.free(slot);
            return;
        }
        final ObjectId id = headers.id(slot);
        // One of this id may be there already, or the table may be full.
        if (!dram.adopted(region, slot, id)) {
            region.free(slot);
            return;
        }
        context.counters().adopted.increment();
    }
}
