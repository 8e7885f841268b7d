package io.kvasir.storage.tier.dram;

import io.kvasir.storage.StoreUnderTest;
import io.kvasir.storage.TierContract;
import io.kvasir.storage.TierUnderTest;

class DramContractTest extends TierContract {
    @Override
    protected TierUnderTest open(final long capacityBytes) {
        return new StoreUnderTest(capacityBytes, context -> context);
    }
}
