package io.kvasir.storage.tier.dram;

import io.kvasir.storage.AddressableTierContract;
import io.kvasir.storage.metrics.StorageCounters;
import io.kvasir.storage.policy.LruPolicy;
import io.kvasir.storage.tenant.Tenant;
import io.kvasir.storage.tenant.TenantAccounts;
import io.kvasir.storage.tier.AddressableTier;
import io.kvasir.storage.tier.TierListener;
import java.util.Map;
import java.util.Queue;
import java.util.Random;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.Executors;

class DramTierTest extends AddressableTierContract {
    private static final long REGION = 512 << 10;
    private final Queue<Runnable> completions = new ConcurrentLinkedQueue<>();
    private DramTier dram;

    @Override
    protected AddressableTier open(final TierListener listener) {
        dram = new DramTier(
                new DramContext(
                        directory.resolve("arena"),
                        CAPACITY,
                        REGION,
                        CAPACITY,
                        new TenantAccounts(Map.of(), CAPACITY, REGION),
                        LruPolicy::new,
                        object -> false,
                        () -> false,
                        () -> true,
                        uses -> true,
                        listener,
                        new NoEngines(),
                        completions::add,
                        clock,
                        new Random(1),
                        Executors.newSingleThreadExecutor(),
                        new StorageCounters()),
                table);
        return dram;
    }

    @Override
    protected Tenant tenant() {
        return dram.openTenant("tests", -1);
    }

    @Override
    protected void work() {
        dram.poll();
        for (Runnable task = completions.poll(); task != null; task = completions.poll()) {
            task.run();
        }
    }
}
