package io.kvasir.storage.policy;

/**
 * The entries of each tenant, least recently used first, beside the order of the policy: there a tenant's entries may lie
 * behind so many of others that no bounded search meets them, and those others may be ones that stay.
 */
public final class TenantOrder {
    private static final int MOST = Short.MAX_VALUE;

    private final EntryLists lists;
    private final int others;

    /** @param tenants with a list each, by their numbers from 0; all further ones share a list */
    public TenantOrder(final int tenants) {
        others = Math.min(tenants, MOST - 1);
        lists = new EntryLists(others + 1);
    }

    public void add(final int entry, final int tenant) {
        lists.append(entry, Math.min(tenant, others));
    }

    public void touch(final int entry) {
        final int list = lists.queueOf(entry);
        lists.remove(entry);
        lists.append(entry, list);
    }

    public void remove(final int entry) {
        lists.remove(entry);
    }

    public Walk walk() {
        return new Walk();
    }

    /** A walk over one tenant's entries, and those of others where they share a list. */
    public final class Walk implements EvictionPolicy.Scan {
        private final int[] next = lists.walk();
        private int list;

        private Walk() {}

        /** The tenant whose entries it meets from its next beginning on. */
        public Walk of(final int tenant) {
            list = Math.min(tenant, others);
            return this;
        }

        @Override
        public void restart() {
            lists.restart(next);
        }

        @Override
        public int next() {
            final int entry = next[list];
            if (entry != EvictionPolicy.NONE) {
                next[list] = lists.after(entry);
            }
            return entry;
        }
    }
}
