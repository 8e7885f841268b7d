package io.kvasir.storage.tier.dram;

import io.kvasir.storage.policy.Chains;
import java.util.Arrays;

/**
 * The volatile facts about every object that has a slot, as arrays by entry number. A serial tells one use of an entry
 * number from the next, so that a reference kept across time is never mistaken. Owned by {@link DramTier}.
 */
final class Entries {
    static final int NONE = -1;
    /** Reserved: some writer fills the slot. */
    static final byte WRITING = 1;
    /** Adopted after a restart and not verified yet: not readable. */
    static final byte UNVERIFIED = 2;

    static final byte COMMITTED = 3;
    /** Removed, or its bytes are wrong; it goes when the last hold ends. */
    static final byte CONDEMNED = 4;

    Region[] region = new Region[1024];
    int[] slot = new int[1024];
    /** Of the id, the same at each start: names the object to the policy and the catalog. */
    long[] hash = new long[1024];
    /** The object's entry in the table of the node. */
    int[] object = new int[1024];

    byte[] state = new byte[1024];
    /** Leases, pins and the node's own work that need the bytes to stay. */
    int[] holds = new int[1024];

    int[] uses = new int[1024];
    int[] serial = new int[1024];
    boolean[] pinned = new boolean[1024];
    /** Code of the tier from which it came, until it is leased; 0: it was stored here. */
    byte[] origin = new byte[1024];

    final Chains chains = new Chains();

    private int[] free = new int[1024];
    private int freeCount;
    private int used;
    private int live;

    int take(
            final Region where, final int slotIndex, final long hash64, final int tableEntry, final byte initialState) {
        final int entry = freeCount > 0 ? free[--freeCount] : grow();
        region[entry] = where;
        slot[entry] = slotIndex;
        hash[entry] = hash64;
        object[entry] = tableEntry;
        state[entry] = initialState;
        holds[entry] = 0;
        uses[entry] = 0;
        pinned[entry] = false;
        origin[entry] = 0;
        serial[entry]++;
        chains.add(entry);
        live++;
        return entry;
    }

    void give(final int entry) {
        region[entry] = null;
        serial[entry]++;
        chains.remove(entry);
        free[freeCount++] = entry;
        live--;
    }

    int live() {
        return live;
    }

    boolean is(final int entry, final int expectedSerial) {
        return serial[entry] == expectedSerial;
    }

    private int grow() {
        if (used == slot.length) {
            final int size = used * 2;
            region = Arrays.copyOf(region, size);
            slot = Arrays.copyOf(slot, size);
            hash = Arrays.copyOf(hash, size);
            object = Arrays.copyOf(object, size);
            state = Arrays.copyOf(state, size);
            holds = Arrays.copyOf(holds, size);
            uses = Arrays.copyOf(uses, size);
            serial = Arrays.copyOf(serial, size);
            pinned = Arrays.copyOf(pinned, size);
            origin = Arrays.copyOf(origin, size);
            free = Arrays.copyOf(free, size);
        }
        return used++;
    }
}
