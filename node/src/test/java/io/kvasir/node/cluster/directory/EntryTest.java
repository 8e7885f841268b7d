package io.kvasir.node.cluster.directory;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;

class EntryTest {
    private static byte[] part(final long holder, final long sequence, final int... tags) {
        final Entry.Part part = new Entry.Part(holder, sequence, new int[] {7, 8}, new long[] {4096, 1}, tags.length);
        for (final int tag : tags) {
            part.add(tag, 0b01, 0b10);
        }
        return part.finish();
    }

    @Test
    void readsWhatWasWritten() {
        final Entry.Reader reader = new Entry.Reader(part(5, 9, 100, 200));
        assertTrue(reader.next());
        assertEquals(5, reader.holder());
        assertEquals(9, reader.sequence());
        assertEquals(200, reader.tag(1));
        assertTrue(reader.inDram(1, 0));
        assertFalse(reader.inDram(1, 1));
        assertTrue(reader.onSsd(1, 1));
        assertEquals(4096, reader.shardBytes(0));
        assertEquals(1024, reader.shardBytes(1));
        assertFalse(reader.next());
    }

    @Test
    void newerPartOfAHolderTakesThePlaceOfTheOlderAndNeverTheOtherWayRound() {
        final byte[] both = Entry.merge(Entry.merge(null, part(1, 1, 10)), part(2, 1, 10));
        final byte[] newer = Entry.merge(both, part(1, 3, 11));
        assertSame(newer, Entry.merge(newer, part(1, 2, 12)));
        assertSame(newer, Entry.merge(newer, part(1, 3, 11)));
        final Entry.Reader reader = new Entry.Reader(newer);
        assertTrue(reader.next());
        assertEquals(2, reader.holder());
        assertTrue(reader.next());
        assertEquals(11, reader.tag(0));
    }

    @Test
    void anEntryGoesWithItsLastMember() {
        final byte[] one = Entry.merge(null, part(1, 1, 10));
        assertNull(Entry.merge(one, Entry.nothing(1, 2)));
        assertNull(Entry.without(one, holder -> holder == 1));
        assertSame(one, Entry.without(one, holder -> holder == 2));
    }

    @Test
    void damagedBytesEndTheReading() {
        final Random random = new Random(3);
        for (int i = 0; i < 20_000; i++) {
            final byte[] bytes = Entry.merge(part(1, 1, 10, 11), part(2, 1, 12));
            for (int flips = random.nextInt(1, 5); flips > 0; flips--) {
                bytes[random.nextInt(bytes.length)] = (byte) random.nextInt();
            }
            final byte[] cut = Arrays.copyOf(bytes, random.nextInt(bytes.length + 1));
            int records = 0;
            for (final Entry.Reader reader = new Entry.Reader(cut); reader.next(); records++) {
                for (int member = 0; member < reader.members(); member++) {
                    reader.tag(member);
                    for (int shard = 0; shard < reader.shards(); shard++) {
                        reader.inDram(member, shard);
                        reader.onSsd(member, shard);
                    }
                }
            }
            assertTrue(records <= cut.length / Entry.HEAD);
        }
    }

    @Test
    void equalBytesMeanEqualParts() {
        assertArrayEquals(part(1, 1, 10), part(1, 1, 10));
    }
}
