package io.kvasir.storage.tier.ssd;

import io.kvasir.storage.TierContract;
import io.kvasir.storage.TierUnderTest;
import java.nio.file.Path;
import org.junit.jupiter.api.io.TempDir;

class SsdContractTest extends TierContract {
    @TempDir
    Path directory;

    @Override
    protected TierUnderTest open(final long capacityBytes) {
        return new SsdUnderTest(directory, capacityBytes, context -> context);
    }
}
