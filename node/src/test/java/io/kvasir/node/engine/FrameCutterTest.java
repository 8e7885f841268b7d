package io.kvasir.node.engine;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.constraints.Size;

class FrameCutterTest {
    static final int MAX = 4096;

    @Property
    void framesComeOutWholeHoweverTheBytesWereCut(
            @ForAll @Size(max = 20) final List<@IntRange(min = 1, max = MAX) Integer> lengths,
            @ForAll @Size(max = 20) final List<@IntRange(min = 1, max = 3000) Integer> cuts)
            throws FrameCutter.LengthException {
        final List<byte[]> sent = new ArrayList<>();
        final ByteArrayOutputStream stream = new ByteArrayOutputStream();
        for (final int length : lengths) {
            final byte[] frame = new byte[length];
            Arrays.fill(frame, (byte) sent.size());
            sent.add(frame);
            stream.writeBytes(prefix(length));
            stream.writeBytes(frame);
        }
        final List<byte[]> received = new ArrayList<>();
        final FrameCutter cutter = new FrameCutter(MAX, new FrameArrays());
        final byte[] bytes = stream.toByteArray();
        int at = 0;
        int cut = 0;
        while (at < bytes.length) {
            final int step = cuts.isEmpty() ? bytes.length : cuts.get(cut++ % cuts.size());
            final int end = Math.min(bytes.length, at + step);
            cutter.feed(ByteBuffer.wrap(Arrays.copyOfRange(bytes, at, end)), (array, offset, length) -> {
                received.add(Arrays.copyOfRange(array, offset, offset + length));
                return true;
            });
            at = end;
        }
        assertEquals(0, cutter.keptBytes());
        assertEquals(sent.size(), received.size());
        for (int i = 0; i < sent.size(); i++) {
            assertArrayEquals(sent.get(i), received.get(i));
        }
    }

    @Property
    void lengthsOutsideTheRuleAreRefusedHoweverTheyArrive(
            @ForAll final int length, @ForAll @IntRange(min = 1, max = 4) final int first) {
        final boolean right = length >= 1 && length <= MAX;
        final FrameCutter cutter = new FrameCutter(MAX, new FrameArrays());
        final byte[] prefix = prefix(length);
        final FrameCutter.Sink none = (array, offset, count) -> true;
        if (right) {
            return;
        }
        assertThrows(FrameCutter.LengthException.class, () -> {
            cutter.feed(ByteBuffer.wrap(Arrays.copyOf(prefix, first)), none);
            cutter.feed(ByteBuffer.wrap(Arrays.copyOfRange(prefix, first, 4)), none);
        });
    }

    @Example
    void memoryGrowsWithWhatCameNotWithWhatWasAnnounced() throws FrameCutter.LengthException {
        final FrameCutter cutter = new FrameCutter(64 << 20, new FrameArrays());
        cutter.feed(ByteBuffer.wrap(prefix(64 << 20)), (array, offset, count) -> true);
        assertEquals(4, cutter.keptBytes());
    }

    @Example
    void nothingIsHandedOnAfterTheSinkStopped() throws FrameCutter.LengthException {
        final FrameCutter cutter = new FrameCutter(MAX, new FrameArrays());
        final ByteBuffer two = ByteBuffer.allocate(10).order(ByteOrder.LITTLE_ENDIAN);
        two.putInt(1).put((byte) 1).putInt(1).put((byte) 2).flip();
        final int[] count = {0};
        cutter.feed(two, (array, offset, length) -> {
            count[0]++;
            return false;
        });
        assertEquals(1, count[0]);
    }

    private static byte[] prefix(final int length) {
        return ByteBuffer.allocate(4)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putInt(length)
                .array();
    }
}
