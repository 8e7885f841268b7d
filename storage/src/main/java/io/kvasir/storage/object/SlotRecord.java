package io.kvasir.storage.object;

/** Field offsets of the packed 32-byte record that names a slot; docs/engine-api.md has the table. */
public final class SlotRecord {
    public static final int BYTES = 32;
    public static final int STATUS = 0;
    public static final int TIER = 1;
    public static final int REGION = 4;
    public static final int SLOT = 8;
    public static final int STAMP = 16;
    public static final int LENGTH = 24;

    private SlotRecord() {}
}
