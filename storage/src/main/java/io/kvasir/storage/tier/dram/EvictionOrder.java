package io.kvasir.storage.tier.dram;

import io.kvasir.storage.policy.CopiesFirst;
import io.kvasir.storage.policy.EvictionPolicy;
import io.kvasir.storage.policy.TenantOrder;
import java.util.ArrayList;
import java.util.List;

/**
 * In which order committed objects are evicted: of all tenants together and, where one has a minimum or a maximum, of each
 * tenant. Owned by {@link DramTier}.
 */
final class EvictionOrder {
    private final Entries entries;
    private final CopiesFirst policy;
    /** Null: no tenant has a minimum or a maximum. */
    private final TenantOrder ofTenants;
    /** For walks that end within the call that began them. */
    private final EvictionPolicy.Scan coldestFirst;

    EvictionOrder(final DramContext context, final Entries entries) {
        this.entries = entries;
        policy = new CopiesFirst(context.policy().get());
        coldestFirst = policy.scan();
        ofTenants = context.accounts().sharesDram()
                ? new TenantOrder(context.accounts().configured())
                : null;
    }

    /** Of all tenants. */
    CopiesFirst policy() {
        return policy;
    }

    /** Null: no tenant has a minimum or a maximum. */
    TenantOrder ofTenants() {
        return ofTenants;
    }

    void add(final int entry, final int chunkIndex, final int priority) {
        final Region region = entries.region[entry];
        policy.add(entry, entries.hash[entry], region.slotBytes, chunkIndex, priority);
        if (ofTenants != null) {
            ofTenants.add(entry, region.tenant.account.number());
        }
    }

    void touch(final int entry) {
        policy.touch(entry);
        if (ofTenants != null) {
            ofTenants.touch(entry);
        }
    }

    void remove(final int entry) {
        policy.remove(entry);
        if (ofTenants != null) {
            ofTenants.remove(entry);
        }
    }

    /** The entry continues what the other one is: it goes first. */
    void link(final int entry, final int above) {
        entries.chains.link(entry, above);
        if (entries.state[above] != Entries.WRITING) {
            policy.extended(above);
        }
    }

    /**
     * The coldest will be removed one after the other: reads what that will need; changes nothing.
     *
     * @param objects gets their entries in the node's table, as many as it holds
     * @return how many there are
     */
    int expectRemoval(final int[] objects) {
        final long[] hashes = new long[objects.length];
        int count = 0;
        coldestFirst.restart();
        for (int entry = coldestFirst.next();
                entry != EvictionPolicy.NONE && count < objects.length;
                entry = coldestFirst.next()) {
            hashes[count] = entries.hash[entry];
            objects[count++] = entries.object[entry];
        }
        policy.expect(hashes, count);
        return count;
    }

    /** Entries in this state, in no order. */
    List<Integer> inState(final byte state) {
        final List<Integer> found = new ArrayList<>();
        coldestFirst.restart();
        for (int entry = coldestFirst.next(); entry != EvictionPolicy.NONE; entry = coldestFirst.next()) {
            if (entries.state[entry] == state) {
                found.add(entry);
            }
        }
        return found;
    }

    /** A walk over committed objects from the coldest on, for one purpose of the caller. */
    EvictionPolicy.Scan scan() {
        return policy.scan();
    }
}
