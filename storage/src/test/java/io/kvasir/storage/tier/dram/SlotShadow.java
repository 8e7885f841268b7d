package io.kvasir.storage.tier.dram;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.index.ObjectTable;
import java.util.HashSet;
import java.util.Set;

/**
 * Who owns each slot, found anew from the entries, and compared with what regions, header tables and the object table say:
 * a slot is one object's, or free, or a process's that may still write there, and never two of these.
 */
public final class SlotShadow {
    private final DramTier dram;
    private final Entries entries;
    private final Set<Long> owned = new HashSet<>();

    private SlotShadow(final DramTier dram) {
        this.dram = dram;
        entries = dram.entries;
    }

    /** Fails when a slot has two owners, or none that it is known by. */
    public static void compare(final DramTier dram) {
        final SlotShadow shadow = new SlotShadow(dram);
        shadow.compareEntries();
        long bytes = 0;
        for (final Region region : dram.regions().all()) {
            shadow.compareSlots(region);
            bytes += region.dataBytes();
        }
        assertEquals(bytes, dram.regions().bytes(), "bytes of all regions");
        assertTrue(bytes <= dram.capacity(), "regions take " + bytes + " of " + dram.capacity() + " bytes");
    }

    private void compareEntries() {
        for (int entry = 0; entry < entries.region.length; entry++) {
            if (!dram.isLive(entry)) {
                continue;
            }
            final Region region = entries.region[entry];
            final int slot = entries.slot[entry];
            assertSame(region, dram.regions().get(region.id), "an object lies in a region that is there");
            assertTrue(owned.add(Attachments.place(region.id, slot)), "a slot is of two objects");
            assertEquals(entry, region.entryOf[slot], "a slot knows its object");
            assertEquals(
                    ObjectTable.place(region.id, slot),
                    dram.table().dramPlace(entries.object[entry]),
                    "the table knows the slot");
        }
    }

    private void compareSlots(final Region region) {
        int free = 0;
        int writing = 0;
        int held = 0;
        int nobodys = 0;
        for (int slot = 0; slot < region.slots; slot++) {
            final int entry = region.entryOf[slot];
            final long stamp = region.headers.stamp(slot);
            final int state = HeaderTable.state(stamp);
            final boolean stable = (HeaderTable.generation(stamp) & 1) == 0;
            if (entry != Region.NO_ENTRY) {
                assertTrue(owned.contains(Attachments.place(region.id, slot)), "a slot of an object that is gone");
                assertTrue(!region.isFree(slot), "a slot of an object is free");
                assertEquals(
                        dram.isWriting(entry) ? HeaderTable.RESERVED : HeaderTable.COMMITTED, state, "header's state");
                assertEquals(!dram.isWriting(entry), stable, "the stamp is odd while the slot is written");
                writing += dram.isWriting(entry) ? 1 : 0;
                held += entries.holds[entry] > 0 ? 1 : 0;
            } else if (region.isFree(slot)) {
                free++;
                assertEquals(HeaderTable.FREE, state, "header's state");
                assertTrue(stable, "the stamp of a free slot is even");
            } else {
                nobodys++;
                assertEquals(HeaderTable.RESERVED, state, "header's state");
            }
        }
        assertEquals(free, region.freeCount(), "free slots");
        assertEquals(writing == 0 && nobodys == 0 && held == 0, region.isIdle(), "a region is idle");
    }
}
