package io.kvasir.node.engine;

import com.google.protobuf.ByteString;
import io.kvasir.node.engine.v1.Error;
import io.kvasir.storage.budget.StoreLimits;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.SlotRecord;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** The rules of the schema; a refusal names the field, the value and the rule. */
final class Check {
    /** Keys or slots in one request. */
    static final int MAX_ITEMS = 65_536;

    static final long MAX_OBJECT_BYTES = 1L << 30;
    private static final int[] NONE = {};

    private Check() {}

    /** n x 32 bytes; returns a copy. */
    static byte[] keys(final ByteString keys) {
        count("keys", keys.size(), Hash256.BYTES);
        return keys.toByteArray();
    }

    static byte[] slots(final ByteString slots) {
        count("slots", slots.size(), SlotRecord.BYTES);
        return slots.toByteArray();
    }

    /** Empty, or {@code each} bytes for each of {@code count}. */
    static byte[] optional(final String field, final ByteString bytes, final int count, final int each) {
        size(field, bytes, count, each);
        return bytes.toByteArray();
    }

    /** The same of bytes that nobody reads. */
    static void size(final String field, final ByteString bytes, final int count, final int each) {
        if (!bytes.isEmpty() && bytes.size() != (long) count * each) {
            throw CallException.invalid(
                    field + " has " + bytes.size() + " bytes; it must be empty or " + count + " x " + each);
        }
    }

    static int[] shards(final List<Integer> shards, final int declared) {
        if (shards.isEmpty()) {
            return NONE;
        }
        if (shards.size() > declared) {
            throw CallException.invalid(
                    "shards has " + shards.size() + " entries; the session declared " + declared + " shards");
        }
        final int[] indices = new int[shards.size()];
        for (int i = 0; i < indices.length; i++) {
            indices[i] = shard(shards.get(i), declared);
        }
        return indices;
    }

    static int shard(final int shard, final int declared) {
        if (shard < 0 || shard >= declared) {
            throw CallException.invalid("shard is " + Integer.toUnsignedString(shard) + "; the session declared "
                    + declared + " shards, counted from 0");
        }
        return shard;
    }

    /**
     * Refuses a part of a chunk that cannot be one: its numbers are its objects' identity, so that two ways to say the same
     * would never meet.
     */
    static void part(final int index, final io.kvasir.node.engine.v1.Shard shard) {
        range(index, "layers", shard.getLayerBegin(), shard.getLayerEnd());
        range(index, "heads", shard.getHeadBegin(), shard.getHeadEnd());
        rank(index, "pp", shard.getPpRank(), shard.getPpSize());
        rank(index, "cp", shard.getCpRank(), shard.getCpSize());
    }

    private static void range(final int index, final String what, final int begin, final int end) {
        if (Integer.compareUnsigned(begin, end) >= 0) {
            throw CallException.invalid("shards[" + index + "] has the " + what + " " + Integer.toUnsignedString(begin)
                    + ".." + Integer.toUnsignedString(end)
                    + "; it must have at least one (0..1 for a chunk that is whole)");
        }
    }

    private static void rank(final int index, final String what, final int rank, final int size) {
        if (Integer.compareUnsigned(rank, size) >= 0) {
            throw CallException.invalid("shards[" + index + "] has " + what + "_rank " + Integer.toUnsignedString(rank)
                    + " of " + what + "_size " + Integer.toUnsignedString(size)
                    + "; the rank must be below the size (0 of 1 without this parallelism)");
        }
    }

    static long[] lengths(final List<Long> lengths, final int count) {
        if (lengths.size() != 1 && lengths.size() != count) {
            throw CallException.invalid(
                    "lengths has " + lengths.size() + " values for " + count + " keys; it must have 1, or 1 for each");
        }
        final long[] values = new long[lengths.size()];
        for (int i = 0; i < values.length; i++) {
            values[i] = lengths.get(i);
            if (values[i] < 1 || values[i] > MAX_OBJECT_BYTES) {
                throw CallException.invalid("lengths[" + i + "] is " + Long.toUnsignedString(values[i])
                        + "; it must be 1 to " + MAX_OBJECT_BYTES);
            }
        }
        return values;
    }

    static int[] chunkIndex(final List<Integer> values, final int count) {
        if (values.size() > 1 && values.size() != count) {
            throw CallException.invalid("chunk_index has " + values.size() + " values for " + count
                    + " slots; it must have none, 1, or 1 for each");
        }
        final int[] indices = new int[values.size()];
        for (int i = 0; i < indices.length; i++) {
            indices[i] = values.get(i);
        }
        return indices;
    }

    /** Milliseconds as nanoseconds; what is longer than a century is a century. */
    static long nanos(final long unsignedMs) {
        final long most = TimeUnit.DAYS.toMillis(36_525);
        return TimeUnit.MILLISECONDS.toNanos(Long.compareUnsigned(unsignedMs, most) > 0 ? most : unsignedMs);
    }

    /** Refuses what would look at too many objects, before anything is allocated for it. */
    static void work(final int keys, final int shards) {
        final long cells = (long) keys * shards;
        if (cells > StoreLimits.CELLS) {
            throw new CallException(
                    Error.Code.RESOURCE_EXHAUSTED,
                    keys + " keys in a session of " + shards + " shards are " + cells + " objects; at most "
                            + StoreLimits.CELLS + " in one request: ask for " + StoreLimits.CELLS / shards
                            + " keys at a time");
        }
    }

    /** Refuses what could only be answered by a frame that is too long. */
    static void answerFits(final long records, final int maxFrameBytes) {
        final long bytes = records * SlotRecord.BYTES;
        final long most = maxFrameBytes / 2;
        if (bytes > most) {
            throw new CallException(
                    Error.Code.RESOURCE_EXHAUSTED,
                    "the answer would have " + records + " slot records (" + bytes + " bytes); engine.max_frame allows "
                            + most / SlotRecord.BYTES + "; ask in several calls");
        }
    }

    /** Keys, before they are copied. */
    static int countKeys(final ByteString keys) {
        count("keys", keys.size(), Hash256.BYTES);
        return keys.size() / Hash256.BYTES;
    }

    private static void count(final String field, final int size, final int each) {
        if (size % each != 0) {
            throw CallException.invalid(field + " has " + size + " bytes; it must be a multiple of " + each);
        }
        if (size / each > MAX_ITEMS) {
            throw CallException.invalid(field + " has " + size / each + " entries; at most " + MAX_ITEMS);
        }
    }
}
