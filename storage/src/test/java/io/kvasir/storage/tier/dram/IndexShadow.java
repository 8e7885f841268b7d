package io.kvasir.storage.tier.dram;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.index.ObjectTable;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.TierKind;
import java.util.Arrays;
import org.agrona.collections.Long2LongHashMap;

/**
 * The index that DRAM had before the object table: a map from the 64-bit hash of an object to its entry, and a chain of
 * those with one hash. Made from the slots as they are, and compared with what the table says.
 */
public final class IndexShadow {
    private final Entries entries;
    private final DramTier dram;
    private final Long2LongHashMap first = new Long2LongHashMap(Entries.NONE);
    private final int[] sameHash;

    private IndexShadow(final DramTier dram) {
        this.dram = dram;
        entries = dram.entries;
        sameHash = new int[entries.region.length];
        Arrays.fill(sameHash, Entries.NONE);
        for (int entry = 0; entry < sameHash.length; entry++) {
            if (dram.isLive(entry)) {
                final long hash = dram.id(entry).hash64();
                sameHash[entry] = (int) first.get(hash);
                first.put(hash, entry);
            }
        }
    }

    /**
     * Fails when the table knows another set of objects in DRAM.
     *
     * @param elsewhere objects that are in other tiers alone
     */
    public static void compare(final DramTier dram, final Iterable<ObjectId> ids, final int elsewhere) {
        final IndexShadow shadow = new IndexShadow(dram);
        shadow.compareEntries(elsewhere);
        for (final ObjectId id : ids) {
            assertEquals(shadow.find(id), dram.places().entry(id), () -> "the table and the slots of " + id);
        }
    }

    private void compareEntries(final int elsewhere) {
        final ObjectTable table = dram.table();
        int live = 0;
        for (int entry = 0; entry < sameHash.length; entry++) {
            if (dram.isLive(entry)) {
                live++;
                final int object = entries.object[entry];
                assertTrue(table.isLive(object), "an object with a slot is in the table");
                assertTrue(table.isIn(object, TierKind.DRAM), "an object with a slot is in DRAM");
                assertEquals(dram.id(entry), table.id(object), "the table and the slot's header");
                assertEquals(find(dram.id(entry)), entry, "one entry for an object");
            }
        }
        assertEquals(live, dram.objects());
        assertEquals(live + elsewhere, table.size(), "the table forgets what has left");
    }

    private int find(final ObjectId id) {
        int entry = (int) first.get(id.hash64());
        while (entry != Entries.NONE && !dram.id(entry).equals(id)) {
            entry = sameHash[entry];
        }
        return entry;
    }
}
