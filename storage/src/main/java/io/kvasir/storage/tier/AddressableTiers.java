package io.kvasir.storage.tier;

import io.kvasir.storage.lease.LeaseTable;
import io.kvasir.storage.object.RegionInfo;
import io.kvasir.storage.object.TierKind;

/**
 * The entries of all addressable tiers under one numbering, which is what lookups, leases and records know: those of the
 * main tier have their own numbers, and each further tier's lie behind. Whoever has a number need not know the tier.
 */
public final class AddressableTiers implements LeaseTable.Slots {
    public static final int NONE = AddressableTier.NONE;

    private final AddressableTier main;
    /** The tiers that hold second copies of what is in the main one or below, the fastest first. */
    private final AddressableTier[] above;
    /** Of each of those the number of its entry 0. */
    private final int[] first;

    /**
     * @param main the tier into which engines store, and into which objects are fetched
     * @param above tiers in which lookups look first, the fastest first
     */
    public AddressableTiers(final AddressableTier main, final AddressableTier... above) {
        this.main = main;
        this.above = above.clone();
        first = new int[above.length];
        long next = main.entryLimit();
        for (int i = 0; i < above.length; i++) {
            first[i] = Math.toIntExact(next);
            next += above[i].entryLimit();
        }
        if (next > Integer.MAX_VALUE) {
            throw new IllegalArgumentException("addressable tiers of " + next + " slots; there are numbers for fewer");
        }
    }

    // ---- which tier

    /** Whether the main tier is the only one. */
    public boolean isAlone() {
        return above.length == 0;
    }

    /** Whether the number is one of the main tier, and so its own entry there. */
    public boolean isMain(final int number) {
        return isAlone() || number < first[0];
    }

    public AddressableTier tier(final int number) {
        return isMain(number) ? main : above[index(number)];
    }

    /** The tier's own entry. */
    public int entry(final int number) {
        return isMain(number) ? number : number - first[index(number)];
    }

    private int index(final int number) {
        int i = above.length - 1;
        while (number < first[i]) {
            i--;
        }
        return i;
    }

    /** The fastest. */
    public TierKind kind() {
        return isAlone() ? main.kind() : above[0].kind();
    }

    /** Where the object of this entry of the table is: the fastest tier in which it is readable, else the main one. */
    public int find(final int object) {
        for (int i = 0; i < above.length; i++) {
            final int entry = above[i].entry(object);
            if (entry != NONE && above[i].isReadable(entry)) {
                return first[i] + entry;
            }
        }
        return main.entry(object);
    }

    /** The object's entry in the main tier, or {@link #NONE}. */
    public int findMain(final int object) {
        return main.entry(object);
    }

    /** Null when there is no such region. */
    public RegionInfo regionInfo(final int region) {
        RegionInfo info = main.regionInfo(region);
        for (int i = 0; i < above.length && info == null; i++) {
            info = above[i].regionInfo(region);
        }
        return info;
    }

    // ---- as the tier of the number says; see AddressableTier

    public int object(final int number) {
        return tier(number).object(entry(number));
    }

    public int serial(final int number) {
        return tier(number).serial(entry(number));
    }

    public boolean is(final int number, final int serial) {
        return tier(number).is(entry(number), serial);
    }

    public boolean isReadable(final int number) {
        return tier(number).isReadable(entry(number));
    }

    public boolean isWriting(final int number) {
        return tier(number).isWriting(entry(number));
    }

    public boolean isUnverified(final int number) {
        return tier(number).isUnverified(entry(number));
    }

    public boolean isCondemned(final int number) {
        return tier(number).isCondemned(entry(number));
    }

    @Override
    public void hold(final int number) {
        tier(number).hold(entry(number));
    }

    @Override
    public void unhold(final int number) {
        tier(number).unhold(entry(number));
    }

    public void touch(final int number) {
        tier(number).touch(entry(number));
    }

    public TierKind origin(final int number) {
        return tier(number).origin(entry(number));
    }

    public void originCounted(final int number) {
        tier(number).originCounted(entry(number));
    }

    public int region(final int number) {
        return tier(number).region(entry(number));
    }

    public int slot(final int number) {
        return tier(number).slot(entry(number));
    }

    public long stamp(final int number) {
        return tier(number).stamp(entry(number));
    }

    public long length(final int number) {
        return tier(number).length(entry(number));
    }

    @Override
    public long slotBytes(final int number) {
        return tier(number).slotBytes(entry(number));
    }
}
