package io.kvasir.storage.object;

/**
 * The sizes of slots, the same in every tier: 16 steps for each doubling, multiples of 4 KiB, so that a slot wastes at
 * most a sixteenth of the object's length (and the rest of a page).
 */
public final class SizeClass {
    public static final long PAGE = 4096;
    public static final long MAX_LENGTH = 1L << 30;
    private static final int STEP_BITS = 4;

    private SizeClass() {}

    /** The bytes of the smallest slot that holds {@code length} bytes. */
    public static long slotBytes(final long length) {
        if (length < 1 || length > MAX_LENGTH) {
            throw new IllegalArgumentException(
                    "object length is " + length + " bytes; it must be 1 to " + MAX_LENGTH + " (1 GiB)");
        }
        final int doubling = 63 - Long.numberOfLeadingZeros(length);
        final long step = Math.max(PAGE, 1L << Math.max(0, doubling - STEP_BITS));
        return (length + step - 1) / step * step;
    }

    /** {@code length} rounded up to whole pages: what one transfer with O_DIRECT moves. */
    public static long pageBytes(final long length) {
        return (length + PAGE - 1) & -PAGE;
    }
}
