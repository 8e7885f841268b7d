package io.kvasir.storage;

import io.kvasir.storage.tenant.Tenant;
import io.kvasir.storage.tier.AddressableTier;
import io.kvasir.storage.tier.TierListener;

class FakeDeviceTierTest extends AddressableTierContract {
    @Override
    protected AddressableTier open(final TierListener listener) {
        return new FakeDeviceTier(table, listener, clock, CAPACITY);
    }

    @Override
    protected Tenant tenant() {
        final String path = directory.toString();
        return new Tenant() {
            @Override
            public String name() {
                return "tests";
            }

            @Override
            public String directory() {
                return path;
            }
        };
    }

    @Override
    protected void work() {}
}
