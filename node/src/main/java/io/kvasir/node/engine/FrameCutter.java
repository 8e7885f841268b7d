package io.kvasir.node.engine;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * Cuts one connection's bytes into frames. A frame that is whole in what was read is handed on in place; a half one is
 * kept in a buffer that grows with what has arrived, not with what the peer announced.
 */
final class FrameCutter {
    static final int PREFIX_BYTES = Integer.BYTES;
    private static final int INITIAL_BYTES = 64;
    private static final byte[] EMPTY = {};

    /** Takes frames; the bytes are valid during the call. */
    @FunctionalInterface
    interface Sink {
        /** Returns false to stop: the connection is ending, or others have their turn. */
        boolean frame(byte[] bytes, int offset, int length);
    }

    /** A frame's length is 0, negative or above the limit. */
    static final class LengthException extends Exception {
        private static final long serialVersionUID = 1L;

        LengthException(final int length, final int most) {
            super(
                    "a frame of " + Integer.toUnsignedString(length) + " bytes; it must be 1 to " + most,
                    null,
                    false,
                    false);
        }
    }

    private final int maxFrameBytes;
    private final FrameArrays arrays;
    private byte[] kept = EMPTY;
    private int keptBytes;
    private long frames;

    FrameCutter(final int maxFrameBytes, final FrameArrays arrays) {
        this.maxFrameBytes = maxFrameBytes;
        this.arrays = arrays;
    }

    /** Takes all that {@code in} (with an array) has, unless the sink stops: the rest of it begins with a frame. */
    void feed(final ByteBuffer in, final Sink sink) throws LengthException {
        final ByteBuffer bytes = in.order(ByteOrder.LITTLE_ENDIAN);
        while (bytes.hasRemaining()) {
            if (keptBytes == 0 && bytes.remaining() >= PREFIX_BYTES) {
                final int length = check(bytes.getInt(bytes.position()));
                if (bytes.remaining() - PREFIX_BYTES >= length) {
                    final int at = bytes.position() + PREFIX_BYTES;
                    bytes.position(at + length);
                    frames++;
                    if (!sink.frame(bytes.array(), bytes.arrayOffset() + at, length)) {
                        return;
                    }
                    continue;
                }
            }
            if (!keep(bytes, sink)) {
                return;
            }
        }
    }

    /** Bytes of a half-sent frame; 0 between frames. */
    int keptBytes() {
        return keptBytes;
    }

    /** What the half-sent frame takes in memory. */
    int capacity() {
        return kept.length;
    }

    /** The half-sent frame is not needed. */
    void letGo() {
        arrays.give(kept);
        kept = EMPTY;
        keptBytes = 0;
    }

    /** Frames that were handed on. */
    long frames() {
        return frames;
    }

    private boolean keep(final ByteBuffer in, final Sink sink) throws LengthException {
        if (keptBytes < PREFIX_BYTES) {
            take(in, PREFIX_BYTES);
            if (keptBytes < PREFIX_BYTES) {
                return true;
            }
        }
        final int length =
                check(ByteBuffer.wrap(kept).order(ByteOrder.LITTLE_ENDIAN).getInt(0));
        take(in, PREFIX_BYTES + length);
        if (keptBytes < PREFIX_BYTES + length) {
            return true;
        }
        final byte[] frame = kept;
        kept = EMPTY;
        keptBytes = 0;
        frames++;
        try {
            return sink.frame(frame, PREFIX_BYTES, length);
        } finally {
            arrays.give(frame);
        }
    }

    private void take(final ByteBuffer in, final int wanted) {
        final int count = Math.min(wanted - keptBytes, in.remaining());
        if (kept.length < keptBytes + count) {
            final int grown = Math.max(Math.max(INITIAL_BYTES, keptBytes + count), 2 * kept.length);
            final byte[] longer = arrays.take(Math.max(keptBytes + count, Math.min(grown, wanted)));
            System.arraycopy(kept, 0, longer, 0, keptBytes);
            arrays.give(kept);
            kept = longer;
        }
        in.get(kept, keptBytes, count);
        keptBytes += count;
    }

    private int check(final int length) throws LengthException {
        if (length <= 0 || length > maxFrameBytes) {
            throw new LengthException(length, maxFrameBytes);
        }
        return length;
    }
}
