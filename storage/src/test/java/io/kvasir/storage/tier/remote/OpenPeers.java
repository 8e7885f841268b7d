package io.kvasir.storage.tier.remote;

/** Other nodes that are there all the time and near: a test says what they have and how they send it. */
public abstract class OpenPeers implements RemoteTier {
    @Override
    public final boolean isOpen() {
        return true;
    }

    @Override
    public final long expectedNs(final Copies copies) {
        return 1;
    }

    @Override
    public final int doWork(final long nowNs) {
        return 0;
    }
}
