package io.kvasir.storage.tier;

import io.kvasir.storage.object.SlotRecord;
import io.kvasir.storage.object.SlotStatus;
import io.kvasir.storage.object.TierKind;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.agrona.collections.IntArrayList;
import org.agrona.collections.IntHashSet;

/** Packs the slot records of one answer and gathers the regions that they name. */
public final class SlotRecords {
    private final AddressableTiers slots;
    private final ByteBuffer buffer;
    private final IntHashSet seen = new IntHashSet(-1);
    private final IntArrayList regions = new IntArrayList();
    private int last = -1;

    public SlotRecords(final AddressableTiers slots, final int count) {
        this.slots = slots;
        buffer = ByteBuffer.allocate(count * SlotRecord.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    }

    /** The next record, of a cell that is on its way from this tier, or being written there. */
    public void pending(final TierKind tier) {
        none(SlotStatus.PENDING, tier.code());
    }

    private void none(final byte status, final byte tier) {
        buffer.put(status)
                .put(tier)
                .putShort((short) 0)
                .putInt(0)
                .putLong(0)
                .putLong(0)
                .putLong(0);
    }

    /** The next record; only a hit and a granted slot name their entry. */
    public void add(final byte status, final int entry) {
        if (entry == AddressableTiers.NONE || (status != SlotStatus.HIT && status != SlotStatus.GRANTED)) {
            none(status, (byte) 0);
            return;
        }
        final int region = slots.region(entry);
        names(region);
        buffer.put(status)
                .put(slots.tier(entry).kind().code())
                .putShort((short) 0)
                .putInt(region)
                .putInt(slots.slot(entry))
                .putInt(0)
                .putLong(slots.stamp(entry))
                .putLong(slots.length(entry));
    }

    /** The records of an earlier answer to the same request, to be changed in place. */
    public SlotRecords(final AddressableTiers slots, final ReservedSlots before) {
        this.slots = slots;
        buffer = ByteBuffer.wrap(before.slots()).order(ByteOrder.LITTLE_ENDIAN);
        for (final int region : before.regions()) {
            names(region);
        }
    }

    /** The next {@link #add} writes this record. */
    public void at(final int record) {
        buffer.position(record * SlotRecord.BYTES);
    }

    public byte status(final int record) {
        return buffer.get(record * SlotRecord.BYTES + SlotRecord.STATUS);
    }

    public byte[] bytes() {
        return buffer.array();
    }

    public int[] regions() {
        return regions.toIntArray();
    }

    private void names(final int region) {
        if (region != last && seen.add(region)) {
            regions.add(region);
        }
        last = region;
    }
}
