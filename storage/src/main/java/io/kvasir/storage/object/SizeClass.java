package io.kvasir.storage.object;

/**
 * The sizes of slots, multiples of 4 KiB so that what one transfer with O_DIRECT moves fits: on SSD 16 steps for each
 * doubling, in DRAM 64, so that a slot wastes at most a sixteenth or a 64th of the object's length (and the rest of a page).
 */
public final class SizeClass {
    public static final long PAGE = 4096;
    public static final long MAX_LENGTH = 1L << 30;
    private static final int SSD_STEP_BITS = 4;
    private static final int DRAM_STEP_BITS = 6;

    private SizeClass() {}

    /** The bytes of the smallest slot on SSD that holds {@code length} bytes. */
    public static long slotBytes(final long length) {
        return slotBytes(length, SSD_STEP_BITS);
    }

    /** The bytes of the smallest slot in DRAM that holds {@code length} bytes. */
    public static long dramSlotBytes(final long length) {
        return slotBytes(length, DRAM_STEP_BITS);
    }

    private static long slotBytes(final long length, final int stepBits) {
        if (length < 1 || length > MAX_LENGTH) {
            throw new IllegalArgumentException(
                    "object length is " + length + " bytes; it must be 1 to " + MAX_LENGTH + " (1 GiB)");
        }
        final int doubling = 63 - Long.numberOfLeadingZeros(length);
        final long step = Math.max(PAGE, 1L << Math.max(0, doubling - stepBits));
        return (length + step - 1) / step * step;
    }

    /** {@code length} rounded up to whole pages: what one transfer with O_DIRECT moves. */
    public static long pageBytes(final long length) {
        return (length + PAGE - 1) & -PAGE;
    }
}
