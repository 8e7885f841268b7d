package io.kvasir.storage.tier.dram;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.tenant.TenantAccount;
import io.kvasir.storage.tenant.TenantAccounts;
import java.util.HashMap;
import java.util.Map;

/** What tenants have in DRAM, summed anew from the slots as they are, and compared with their accounts. */
public final class AccountShadow {
    private static final class Sum {
        private long bytes;
        private long reserved;
    }

    private AccountShadow() {}

    /** Fails when some tenant is charged for more or less than it has. */
    public static void compare(final DramTier dram, final TenantAccounts accounts) {
        final Entries entries = dram.entries;
        final Map<String, Sum> sums = new HashMap<>();
        for (int entry = 0; entry < entries.region.length; entry++) {
            if (dram.isLive(entry)) {
                final Region region = entries.region[entry];
                final Sum sum = sums.computeIfAbsent(region.tenant.name, name -> new Sum());
                sum.bytes += region.slotBytes;
                if (dram.isWriting(entry) && region.headers.attachment(entries.slot[entry]) != Region.NODE) {
                    sum.reserved += region.slotBytes;
                }
            }
        }
        long bytes = 0;
        long quarantined = 0;
        long regions = 0;
        for (final TenantAccount account : accounts.all()) {
            final Sum sum = sums.getOrDefault(account.name(), new Sum());
            assertEquals(sum.bytes, account.dramBytes(), () -> "bytes of " + account.name());
            assertEquals(sum.reserved, account.reservedBytes(), () -> "reserved bytes of " + account.name());
            assertTrue(
                    account.dramBytes() + account.quarantinedBytes() <= account.regionBytes(),
                    () -> "regions of " + account.name());
            bytes += account.dramBytes();
            quarantined += account.quarantinedBytes();
            regions += account.regionBytes();
        }
        assertEquals(dram.usedBytes(), bytes, "bytes of all tenants");
        assertEquals(dram.writers().quarantinedBytes(), quarantined, "quarantined bytes of all tenants");
        assertTrue(regions <= dram.capacity(), "regions of all tenants");
    }
}
