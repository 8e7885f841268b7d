package io.kvasir.storage.policy;

import java.util.Arrays;

/** Least recently used first: a doubly linked list through two int arrays. */
public final class LruPolicy implements EvictionPolicy {
    private static final int INITIAL = 1024;
    private int[] colder = filled(INITIAL);
    private int[] warmer = filled(INITIAL);
    private int coldest = NONE;
    private int warmest = NONE;

    @Override
    public void add(final int entry, final long hash, final long bytes) {
        if (entry >= colder.length) {
            final int size = Math.max(entry + 1, colder.length * 2);
            final int before = colder.length;
            colder = Arrays.copyOf(colder, size);
            warmer = Arrays.copyOf(warmer, size);
            Arrays.fill(colder, before, size, NONE);
            Arrays.fill(warmer, before, size, NONE);
        }
        append(entry);
    }

    @Override
    public void touch(final int entry) {
        if (entry != warmest) {
            remove(entry);
            append(entry);
        }
    }

    @Override
    public void remove(final int entry) {
        final int before = colder[entry];
        final int after = warmer[entry];
        if (before == NONE) {
            coldest = after;
        } else {
            warmer[before] = after;
        }
        if (after == NONE) {
            warmest = before;
        } else {
            colder[after] = before;
        }
        colder[entry] = NONE;
        warmer[entry] = NONE;
    }

    @Override
    public int coldest() {
        return coldest;
    }

    @Override
    public int warmer(final int entry) {
        return warmer[entry];
    }

    private void append(final int entry) {
        colder[entry] = warmest;
        warmer[entry] = NONE;
        if (warmest == NONE) {
            coldest = entry;
        } else {
            warmer[warmest] = entry;
        }
        warmest = entry;
    }

    private static int[] filled(final int size) {
        final int[] array = new int[size];
        Arrays.fill(array, NONE);
        return array;
    }
}
