package io.kvasir.node.cluster.directory;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;

/**
 * The bytes of one directory entry: up to 32 consecutive chunks of a chain (more where chains branch), and who holds
 * them. An entry is the records of its holders, one after the other; a record is replaced as a whole by the holder's
 * next one, so that updates may come twice or be lost without harm.
 *
 * <pre>
 * u32 bytes of this record
 * u64 holder                  (the first half of its incarnation)
 * u64 sequence                (of the holder's updates)
 * u8  shards n, u8 0
 * u16 members m
 * n x (u32 shard tag, u32 KiB of its objects, rounded up)
 * m x (u32 chunk tag, ceil(n/8) bytes: shards in DRAM, ceil(n/8) bytes: shards on SSD only)
 * </pre>
 *
 * All little-endian. A record without members says that the holder has nothing left; it goes with the entry's next
 * update.
 */
public final class Entry {
    /** Chunks of a chain in one entry. */
    public static final int CHUNKS = 32;
    /** Most shards of a record; a holder with more of them announces the first ones. */
    public static final int MAX_SHARDS = 64;

    static final int HEAD = 24;
    static final int SHARD = 8;
    private static final int HOLDER = 4;
    private static final int SEQUENCE = 12;
    private static final int SHARDS = 20;
    private static final int MEMBERS = 22;

    private Entry() {}

    /** Reads one record inside an entry. Reused: {@link #next()} moves on. */
    public static final class Reader {
        private final ByteBuffer bytes;
        private int at;
        private int end;

        public Reader(final byte[] entry) {
            bytes = ByteBuffer.wrap(entry).order(ByteOrder.LITTLE_ENDIAN);
        }

        /** False after the last record, and at one that is damaged. */
        public boolean next() {
            at = end;
            if (at + HEAD > bytes.limit()) {
                return false;
            }
            final int length = bytes.getInt(at);
            if (length < HEAD || length > bytes.limit() - at || memberOffset(members()) > at + length) {
                return false;
            }
            end = at + length;
            return true;
        }

        int offset() {
            return at;
        }

        int length() {
            return end - at;
        }

        public long holder() {
            return bytes.getLong(at + HOLDER);
        }

        public long sequence() {
            return bytes.getLong(at + SEQUENCE);
        }

        public int shards() {
            return Byte.toUnsignedInt(bytes.get(at + SHARDS));
        }

        public int members() {
            return Short.toUnsignedInt(bytes.getShort(at + MEMBERS));
        }

        public int shardTag(final int shard) {
            return bytes.getInt(at + HEAD + shard * SHARD);
        }

        public long shardBytes(final int shard) {
            return Integer.toUnsignedLong(bytes.getInt(at + HEAD + shard * SHARD + 4)) << 10;
        }

        public int tag(final int member) {
            return bytes.getInt(memberOffset(member));
        }

        public boolean inDram(final int member, final int shard) {
            return bit(memberOffset(member) + 4, shard);
        }

        public boolean onSsd(final int member, final int shard) {
            return bit(memberOffset(member) + 4 + bitmapBytes(shards()), shard);
        }

        private boolean bit(final int from, final int shard) {
            return (bytes.get(from + (shard >> 3)) & 1 << (shard & 7)) != 0;
        }

        private int memberOffset(final int member) {
            return at + HEAD + shards() * SHARD + member * memberBytes(shards());
        }
    }

    /** What one holder has of an entry; made by the {@link Announcer}. */
    public static final class Part {
        private final ByteBuffer bytes;
        private final int shards;
        private int members;

        public Part(
                final long holder,
                final long sequence,
                final int[] shardTags,
                final long[] shardBytes,
                final int most) {
            shards = shardTags.length;
            bytes = ByteBuffer.allocate(HEAD + shards * SHARD + most * memberBytes(shards))
                    .order(ByteOrder.LITTLE_ENDIAN);
            bytes.position(HOLDER);
            bytes.putLong(holder)
                    .putLong(sequence)
                    .put((byte) shards)
                    .put((byte) 0)
                    .putShort((short) 0);
            for (int i = 0; i < shards; i++) {
                bytes.putInt(shardTags[i]).putInt((int) Math.min(0xffff_ffffL, (shardBytes[i] + 1023) >>> 10));
            }
        }

        /** One chunk: bit i of the masks stands for shard i. */
        public void add(final int tag, final long dram, final long ssd) {
            bytes.putInt(tag);
            mask(dram);
            mask(ssd);
            members++;
        }

        private void mask(final long bits) {
            for (int i = 0; i < bitmapBytes(shards); i++) {
                bytes.put((byte) (bits >>> (8 * i)));
            }
        }

        public byte[] finish() {
            bytes.putInt(0, bytes.position()).putShort(MEMBERS, (short) members);
            return Arrays.copyOf(bytes.array(), bytes.position());
        }
    }

    /** A record that says that the holder has nothing of this entry any more. */
    static byte[] nothing(final long holder, final long sequence) {
        return new Part(holder, sequence, new int[0], new long[0], 0).finish();
    }

    /**
     * The entry after a holder's record came in: it takes the place of the holder's earlier one, unless that is newer.
     * Records without members go when another one comes. Null: nothing is left. The entry itself: nothing changed.
     */
    public static byte[] merge(final byte[] entry, final byte[] record) {
        final Reader news = new Reader(record);
        if (!news.next()) {
            return entry;
        }
        final byte[] merged = new byte[(entry == null ? 0 : entry.length) + record.length];
        int length = 0;
        if (entry != null) {
            for (final Reader old = new Reader(entry); old.next(); ) {
                if (old.holder() == news.holder()) {
                    if (old.sequence() - news.sequence() > 0
                            || (old.sequence() == news.sequence() && same(entry, old, record))) {
                        return entry;
                    }
                } else if (old.members() > 0) {
                    System.arraycopy(entry, old.offset(), merged, length, old.length());
                    length += old.length();
                }
            }
        }
        if (news.members() > 0 || length > 0) {
            System.arraycopy(record, 0, merged, length, record.length);
            length += record.length;
        }
        return length == 0 ? null : Arrays.copyOf(merged, length);
    }

    /** Whether the entry, which may be null, has a record of the holder with this chunk. */
    static boolean has(final byte[] entry, final long holder, final int chunkTag) {
        if (entry == null) {
            return false;
        }
        for (final Reader each = new Reader(entry); each.next(); ) {
            for (int member = 0; each.holder() == holder && member < each.members(); member++) {
                if (each.tag(member) == chunkTag) {
                    return true;
                }
            }
        }
        return false;
    }

    private static boolean same(final byte[] entry, final Reader old, final byte[] record) {
        return Arrays.equals(entry, old.offset(), old.offset() + old.length(), record, 0, record.length);
    }

    /** The entry without the records of these holders; null when nothing is left, the entry itself when none is there. */
    static byte[] without(final byte[] entry, final java.util.function.LongPredicate gone) {
        final byte[] kept = new byte[entry.length];
        int length = 0;
        for (final Reader each = new Reader(entry); each.next(); ) {
            if (!gone.test(each.holder())) {
                System.arraycopy(entry, each.offset(), kept, length, each.length());
                length += each.length();
            }
        }
        return length == entry.length ? entry : length == 0 ? null : Arrays.copyOf(kept, length);
    }

    private static int memberBytes(final int shards) {
        return 4 + 2 * bitmapBytes(shards);
    }

    private static int bitmapBytes(final int shards) {
        return (shards + 7) >>> 3;
    }
}
