package io.kvasir.storage.tier.ssd;

import io.kvasir.storage.TierContract;
import io.kvasir.storage.TierUnderTest;
import java.nio.file.Path;
import org.junit.jupiter.api.io.TempDir;

/** The same promises through the page cache, as on file systems without O_DIRECT. */
class SsdBufferedContractTest extends TierContract {
    @TempDir
    Path directory;

    @Override
    protected TierUnderTest open(final long capacityBytes) {
        return new SsdUnderTest(directory, capacityBytes, context -> context.directIo(false));
    }
}
