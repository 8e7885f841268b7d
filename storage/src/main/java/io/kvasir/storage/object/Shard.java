package io.kvasir.storage.object;

/**
 * The part of a chunk that one rank owns; ranges are half-open. Packed into 16 bytes (two longs) in the header table,
 * in the order of the components, little-endian: five u16, two u8, two u16.
 */
public record Shard(
        int layerBegin,
        int layerEnd,
        int headBegin,
        int headEnd,
        int kvGroup,
        int ppRank,
        int ppSize,
        int cpRank,
        int cpSize) {
    public static final int BYTES = 16;

    public Shard {
        u16("layer_begin", layerBegin);
        u16("layer_end", layerEnd);
        u16("head_begin", headBegin);
        u16("head_end", headEnd);
        u16("kv_group", kvGroup);
        bounded("pp_rank", ppRank, 0xff);
        bounded("pp_size", ppSize, 0xff);
        u16("cp_rank", cpRank);
        u16("cp_size", cpSize);
        if (layerBegin > layerEnd || headBegin > headEnd) {
            throw new IllegalArgumentException("shard range ends before it begins: layers " + layerBegin + ".."
                    + layerEnd + ", heads " + headBegin + ".." + headEnd);
        }
    }

    public static Shard of(final long first, final long second) {
        return new Shard(
                (int) (first & 0xffff),
                (int) (first >>> 16 & 0xffff),
                (int) (first >>> 32 & 0xffff),
                (int) (first >>> 48 & 0xffff),
                (int) (second & 0xffff),
                (int) (second >>> 16 & 0xff),
                (int) (second >>> 24 & 0xff),
                (int) (second >>> 32 & 0xffff),
                (int) (second >>> 48 & 0xffff));
    }

    /** Bytes 0 to 7 of the packed form. */
    public long first() {
        return layerBegin | (long) layerEnd << 16 | (long) headBegin << 32 | (long) headEnd << 48;
    }

    /** Bytes 8 to 15 of the packed form. */
    public long second() {
        return kvGroup | (long) ppRank << 16 | (long) ppSize << 24 | (long) cpRank << 32 | (long) cpSize << 48;
    }

    private static void u16(final String field, final int value) {
        bounded(field, value, 0xffff);
    }

    private static void bounded(final String field, final int value, final int most) {
        if (value < 0 || value > most) {
            throw new IllegalArgumentException("shard field " + field + " is " + value + "; it must be 0 to " + most);
        }
    }
}
