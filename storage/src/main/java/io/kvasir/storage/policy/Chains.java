package io.kvasir.storage.policy;

import java.util.Arrays;

/**
 * Which entry continues which on a prefix chain, so that children give way before their parents: a chunk whose parent is
 * gone can no longer be hit. Arrays by entry number; owned by a tier.
 */
public final class Chains {
    private static final int NONE = EvictionPolicy.NONE;
    private static final int INITIAL = 1024;
    /** The longest way down that is taken for one choice: chains of a million tokens are followed. */
    private static final int DEEPEST = 4096;

    private int[] parent = filled(INITIAL);
    private int[] parentSerial = new int[INITIAL];
    private int[] serial = new int[INITIAL];
    /** The child that was linked first; children form a ring. */
    private int[] child = filled(INITIAL);

    private int[] nextSibling = new int[INITIAL];
    private int[] previousSibling = new int[INITIAL];
    /** Steps that the last {@link #end} took. */
    private int depth;

    /** The entry stands for a new object, with no parent and no children. */
    public void add(final int entry) {
        if (entry >= parent.length) {
            final int from = parent.length;
            final int size = Math.max(entry + 1, from * 2);
            parent = Arrays.copyOf(parent, size);
            parentSerial = Arrays.copyOf(parentSerial, size);
            serial = Arrays.copyOf(serial, size);
            child = Arrays.copyOf(child, size);
            nextSibling = Arrays.copyOf(nextSibling, size);
            previousSibling = Arrays.copyOf(previousSibling, size);
            Arrays.fill(parent, from, size, NONE);
            Arrays.fill(child, from, size, NONE);
        }
        parent[entry] = NONE;
        child[entry] = NONE;
    }

    /** {@code entry}, which has no parent yet, continues {@code above}. */
    public void link(final int entry, final int above) {
        assert parent[entry] == NONE && entry != above : "linked twice, or to itself";
        parent[entry] = above;
        parentSerial[entry] = serial[above];
        final int oldest = child[above];
        if (oldest == NONE) {
            child[above] = entry;
            nextSibling[entry] = entry;
            previousSibling[entry] = entry;
        } else {
            final int newest = previousSibling[oldest];
            nextSibling[newest] = entry;
            previousSibling[entry] = newest;
            nextSibling[entry] = oldest;
            previousSibling[oldest] = entry;
        }
    }

    /** The object is gone; its children have no parent any more. */
    public void remove(final int entry) {
        final int above = parent[entry];
        if (above != NONE && serial[above] == parentSerial[entry]) {
            final int next = nextSibling[entry];
            if (next == entry) {
                child[above] = NONE;
            } else {
                final int previous = previousSibling[entry];
                nextSibling[previous] = next;
                previousSibling[next] = previous;
                if (child[above] == entry) {
                    child[above] = next;
                }
            }
        }
        // Children keep naming this entry; the serial tells them that it is another one now.
        serial[entry]++;
        parent[entry] = NONE;
        child[entry] = NONE;
    }

    public boolean hasChildren(final int entry) {
        return child[entry] != NONE;
    }

    /** The end of the chain below this entry, by the oldest child each time; the entry itself when it has none. */
    public int end(final int entry) {
        int at = entry;
        for (depth = 0; depth < DEEPEST && child[at] != NONE; depth++) {
            at = child[at];
        }
        return at;
    }

    /** How far down the last {@link #end} went. */
    public int lastDepth() {
        return depth;
    }

    private static int[] filled(final int count) {
        final int[] array = new int[count];
        Arrays.fill(array, NONE);
        return array;
    }
}
