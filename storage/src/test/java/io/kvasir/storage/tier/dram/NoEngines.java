package io.kvasir.storage.tier.dram;

/** There are no engines that could be told of. */
final class NoEngines implements DramContext.Listener {
    @Override
    public void pinnedIsGone(final int entry) {}

    @Override
    public void regionRetired(final int region) {}

    @Override
    public void attachmentEnded(final long attachment) {}

    @Override
    public void processEnded(final Attachments.Entry attachment) {}
}
