package io.kvasir.storage.object;

/** The status byte of a slot record; the codes are those of {@code SlotStatus} in the engine API's schema. */
public final class SlotStatus {
    public static final byte HIT = 1;
    public static final byte MISS = 2;
    public static final byte PENDING = 3;
    public static final byte NOT_NEEDED = 4;
    public static final byte GRANTED = 5;
    public static final byte EXISTS = 6;
    public static final byte IN_FLIGHT = 7;
    public static final byte NO_ROOM = 8;
    public static final byte QUOTA = 9;
    public static final byte COMMITTED = 10;
    public static final byte ABORTED = 11;
    public static final byte NOT_RESERVED = 12;

    private SlotStatus() {}
}
