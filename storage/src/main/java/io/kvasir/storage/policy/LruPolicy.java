package io.kvasir.storage.policy;

/** Least recently used first. */
public final class LruPolicy implements EvictionPolicy {
    private final EntryLists list = new EntryLists(1);

    @Override
    public void add(final int entry, final long hash, final long bytes, final int chunkIndex, final int priority) {
        list.append(entry, 0);
    }

    @Override
    public void touch(final int entry) {
        if (entry != list.last(0)) {
            list.remove(entry);
            list.append(entry, 0);
        }
    }

    @Override
    public void remove(final int entry) {
        list.remove(entry);
    }

    @Override
    public Scan scan() {
        final int[] walk = list.walk();
        return new Scan() {
            @Override
            public void restart() {
                list.restart(walk);
            }

            @Override
            public int next() {
                final int entry = walk[0];
                if (entry != NONE) {
                    walk[0] = list.after(entry);
                }
                return entry;
            }
        };
    }
}
