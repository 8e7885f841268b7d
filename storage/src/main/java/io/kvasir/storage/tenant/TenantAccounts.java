package io.kvasir.storage.tenant;

import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * The accounts of all tenants: what each has of DRAM, SSD and connections beside what it may have. Made and called by the
 * store's owner; everything that takes or gives space counts here as it does so, so that nothing is ever summed anew.
 */
public final class TenantAccounts {
    private final Map<String, TenantAccount> byName = new LinkedHashMap<>();
    private final Map<String, TenantShare> shares;
    private final long dramCapacity;
    private final long regionBytes;
    private final long guaranteed;
    private final boolean sharesDram;

    /**
     * @param shares by tenant, without {@link #problems}; who is not in it has {@link TenantShare#NONE}
     * @param regionBytes of a region file of DRAM
     */
    public TenantAccounts(final Map<String, TenantShare> shares, final long dramCapacity, final long regionBytes) {
        this.shares = Map.copyOf(shares);
        this.dramCapacity = dramCapacity;
        this.regionBytes = regionBytes;
        guaranteed = shares.values().stream()
                .mapToLong(share -> wholeRegions(share.dramMin(), regionBytes))
                .sum();
        sharesDram = guaranteed > 0 || shares.values().stream().anyMatch(share -> share.dramMax() < dramCapacity);
        this.shares.keySet().stream().sorted().forEach(this::of);
    }

    private static long wholeRegions(final long bytes, final long regionBytes) {
        return (bytes + regionBytes - 1) / regionBytes * regionBytes;
    }

    /** What of these shares cannot be kept, with the numbers; empty when nothing. */
    public static List<String> problems(
            final Map<String, TenantShare> shares,
            final long dramCapacity,
            final long regionBytes,
            final long ssdCapacity) {
        final List<String> problems = new ArrayList<>();
        final List<String> dram = new ArrayList<>();
        final List<String> ssd = new ArrayList<>();
        long dramSum = 0;
        long ssdSum = 0;
        for (final Map.Entry<String, TenantShare> each : new TreeMap<>(shares).entrySet()) {
            final String tenant = each.getKey();
            final TenantShare share = each.getValue();
            if (share.dramMin() > share.dramMax()) {
                problems.add("tenant " + tenant + " has dram.min " + share.dramMin() + " bytes above its dram.max "
                        + share.dramMax());
            }
            if (share.ssdMin() > share.ssdMax()) {
                problems.add("tenant " + tenant + " has ssd.min " + share.ssdMin() + " bytes above its ssd.max "
                        + share.ssdMax());
            }
            if (wholeRegions(share.dramMin(), regionBytes) > share.dramMax() || share.dramMax() < regionBytes) {
                problems.add("tenant " + tenant + " has dram.max " + share.dramMax()
                        + " bytes; DRAM is given in whole regions of " + regionBytes
                        + " bytes, and that has to hold at least one and those of dram.min " + share.dramMin()
                        + ": raise it, or lower dram.region");
            }
            dramSum += wholeRegions(share.dramMin(), regionBytes);
            ssdSum += share.ssdMin();
            if (share.dramMin() > 0) {
                dram.add(tenant + " " + share.dramMin());
            }
            if (share.ssdMin() > 0) {
                ssd.add(tenant + " " + share.ssdMin());
            }
        }
        if (dramSum > dramCapacity) {
            problems.add(
                    "the dram.min of all tenants are " + dramSum + " bytes in whole regions of " + regionBytes + " ("
                            + String.join(", ", dram) + "), and dram.capacity is " + dramCapacity
                            + ": lower them, or raise dram.capacity");
        }
        if (ssdSum > ssdCapacity) {
            problems.add("the ssd.min of all tenants are " + ssdSum + " bytes (" + String.join(", ", ssd)
                    + "), and ssd.capacity is " + ssdCapacity + ": lower them, or raise ssd.capacity");
        }
        return problems;
    }

    /** True when some tenant has a minimum or a maximum of DRAM. */
    public boolean sharesDram() {
        return sharesDram;
    }

    /** Tenants with shares; their numbers are the first. */
    public int configured() {
        return shares.size();
    }

    /** Those that exceed their minimum of DRAM, the one that does so most first. */
    public List<TenantAccount> exceeding() {
        return byName.values().stream()
                .filter(account -> account.excess() > 0)
                .sorted(Comparator.comparingLong(TenantAccount::excess).reversed())
                .toList();
    }

    /** The tenant's account, made when it is not there. */
    public TenantAccount of(final String tenant) {
        final TenantAccount known = byName.get(tenant);
        if (known != null) {
            return known;
        }
        final TenantShare share = shares.getOrDefault(tenant, TenantShare.NONE);
        final long own = wholeRegions(share.dramMin(), regionBytes);
        final long most = Math.min(share.dramMax(), dramCapacity - (guaranteed - own));
        // Where others are guaranteed nothing, a store that finds DRAM full waits for space and is not refused.
        final TenantAccount made =
                new TenantAccount(tenant, byName.size(), share, own, most < dramCapacity ? most : Long.MAX_VALUE);
        byName.put(tenant, made);
        return made;
    }

    public Collection<TenantAccount> all() {
        return Collections.unmodifiableCollection(byName.values());
    }
}
