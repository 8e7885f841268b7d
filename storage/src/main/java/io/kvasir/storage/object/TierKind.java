package io.kvasir.storage.object;

/** A place with a capacity and a cost. The code is the one that travels in the engine API. */
public enum TierKind {
    DEVICE(1),
    DRAM(2),
    SSD(3),
    REMOTE(4);

    private static final TierKind[] ALL = values();

    private final byte code;

    TierKind(final int code) {
        this.code = (byte) code;
    }

    public byte code() {
        return code;
    }

    /** The tier of a code: the codes are dense, from the fastest to the slowest. */
    public static TierKind of(final int code) {
        return ALL[code - 1];
    }

    /** As metrics and configuration spell it. */
    public String label() {
        return name().toLowerCase(java.util.Locale.ROOT);
    }
}
