package io.kvasir.storage.tier.dram;

import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.TierKind;
import io.kvasir.storage.tenant.TenantAccount;
import io.kvasir.storage.tier.AddressableTier;
import java.util.function.LongSupplier;

/**
 * What is known of the objects in shared memory, by entry: the volatile facts are in {@link Entries}, the others in the
 * headers of their slots. Only reads; {@link DramTier} changes them.
 */
abstract class DramObjects implements AddressableTier {
    final Entries entries = new Entries();

    public int objects() {
        return entries.live();
    }

    /** The entry of this entry's object in the table. */
    @Override
    public int object(final int entry) {
        return entries.object[entry];
    }

    @Override
    public boolean isReadable(final int entry) {
        return entries.state[entry] == Entries.COMMITTED;
    }

    @Override
    public boolean isWriting(final int entry) {
        return entries.state[entry] == Entries.WRITING;
    }

    @Override
    public boolean isCondemned(final int entry) {
        return entries.state[entry] == Entries.CONDEMNED;
    }

    boolean isHeld(final int entry) {
        return entries.holds[entry] > 0;
    }

    /** True while the entry number stands for an object. */
    public boolean isLive(final int entry) {
        return entries.region[entry] != null;
    }

    @Override
    public boolean isUnverified(final int entry) {
        return entries.state[entry] == Entries.UNVERIFIED;
    }

    @Override
    public int serial(final int entry) {
        return entries.serial[entry];
    }

    @Override
    public boolean is(final int entry, final int serial) {
        return entries.is(entry, serial);
    }

    @Override
    public int region(final int entry) {
        return entries.region[entry].id;
    }

    @Override
    public int slot(final int entry) {
        return entries.slot[entry];
    }

    /** What {@link #stamp} gives, from any thread, as long as the entry is held. */
    public LongSupplier stampReader(final int entry) {
        final HeaderTable headers = headers(entry);
        final int slot = entries.slot[entry];
        return () -> headers.stamp(slot);
    }

    @Override
    public long stamp(final int entry) {
        return headers(entry).stamp(entries.slot[entry]);
    }

    @Override
    public long length(final int entry) {
        return headers(entry).length(entries.slot[entry]);
    }

    @Override
    public long slotBytes(final int entry) {
        return entries.region[entry].slotBytes;
    }

    public ObjectId id(final int entry) {
        return headers(entry).id(entries.slot[entry]);
    }

    public long hash(final int entry) {
        return entries.hash[entry];
    }

    public Hash256 parent(final int entry) {
        return headers(entry).parent(entries.slot[entry]);
    }

    public int chunkIndex(final int entry) {
        return headers(entry).chunkIndex(entries.slot[entry]);
    }

    public int codec(final int entry) {
        return headers(entry).codec(entries.slot[entry]);
    }

    public int priority(final int entry) {
        return headers(entry).priority(entries.slot[entry]);
    }

    public long expiry(final int entry) {
        return headers(entry).expiry(entries.slot[entry]);
    }

    public boolean isSummed(final int entry) {
        return headers(entry).isSummed(entries.slot[entry]);
    }

    public int crc32c(final int entry) {
        return headers(entry).crc32c(entries.slot[entry]);
    }

    /** The payload, or the first {@code bytes} of its slot. Valid while the entry is held. */
    @Override
    public Payload payload(final int entry, final long bytes) {
        return entries.region[entry].payload(entries.slot[entry], bytes);
    }

    /** Times that it was leased since it came to DRAM. */
    public int uses(final int entry) {
        return entries.uses[entry];
    }

    public boolean isPinned(final int entry) {
        return entries.pinned[entry];
    }

    /** The tier from which it came, until a hit of it was counted; {@link TierKind#DRAM} from then on. */
    @Override
    public TierKind origin(final int entry) {
        final byte code = entries.origin[entry];
        return code == TierKind.SSD.code()
                ? TierKind.SSD
                : code == TierKind.REMOTE.code() ? TierKind.REMOTE : TierKind.DRAM;
    }

    /** The region of this reserved slot was damaged: whatever was written there must not be committed. */
    public boolean isRuined(final int entry) {
        return entries.region[entry].isRuined();
    }

    public TenantAccount account(final int entry) {
        return entries.region[entry].tenant.account;
    }

    public String tenantName(final int entry) {
        return entries.region[entry].tenant.name;
    }

    HeaderTable headers(final int entry) {
        return entries.region[entry].headers;
    }
}
