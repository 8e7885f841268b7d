package io.kvasir.node.cluster.directory;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.Shard;
import io.kvasir.storage.object.TierKind;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;

class AnnouncerTest {
    private static final long MS = 1_000_000;
    private static final Hash256 NAMESPACE = new Hash256(1, 2, 3, 4);
    private static final Shard SHARD = new Shard(0, 1, 0, 1, 0, 0, 1, 0, 1);
    private static final int PARTS = 5000;

    /** What it was told last of each entry, in the order of the entries. */
    private static final class Told implements Directory {
        private final Map<Long, byte[]> entries = new HashMap<>();
        private final List<Long> order = new ArrayList<>();

        @Override
        public void read(final long[] keys, final Consumer<Map<Long, byte[]>> answer) {
            answer.accept(null);
        }

        @Override
        public void readCopies(final long[] keys, final Consumer<Map<Long, byte[]>> answer) {
            answer.accept(null);
        }

        @Override
        public void update(final Map<Long, byte[]> records, final Consumer<Boolean> done) {
            entries.putAll(records);
            order.addAll(records.keySet());
            done.accept(true);
        }

        private int members(final ObjectId id) {
            final Entry.Reader reader = new Entry.Reader(entries.get(chunk(id)));
            return reader.next() ? reader.members() : -1;
        }
    }

    private final Told directory = new Told();
    private long nowNs;
    private final Announcer announcer = new Announcer(
            7,
            16,
            new Announcer.Limits(100_000, 2 * MS, 500 * MS, 20 * MS),
            () -> nowNs,
            Runnable::run,
            new DirectoryCounters());

    private static ObjectId id(final int number) {
        return new ObjectId(NAMESPACE, new Hash256(number, 5, 6, 7), SHARD);
    }

    private static long chunk(final ObjectId id) {
        return ChunkName.hash(id.namespace(), id.key());
    }

    private void hold(final int number) {
        announcer.held(id(number), TierKind.SSD, 4096, Hash256.ZERO, -1);
    }

    private void work() {
        for (int turn = 0; announcer.waiting() > 0; turn++) {
            assertTrue(turn < 10_000, "something waits for ever");
            nowNs += MS;
            announcer.doWork();
        }
    }

    @Test
    void shouldTellAnotherDirectoryAllOfItTheHottestFirst() {
        for (int number = 0; number < PARTS; number++) {
            hold(number);
        }
        for (int join = 0; join < 2; join++) {
            directory.entries.clear();
            directory.order.clear();
            announcer.joined(directory, new long[] {chunk(id(PARTS - 1))});
            work();
            assertEquals(PARTS, directory.entries.size());
            assertEquals(PARTS, directory.order.size(), "told twice");
            assertTrue(directory.order.subList(0, 256).contains(chunk(id(PARTS - 1))), "the hottest was not first");
        }
    }

    @Test
    void shouldTellWhatChangesWhileTheRestWaitsForItsTurn() {
        for (int number = 0; number < PARTS; number++) {
            hold(number);
        }
        announcer.joined(directory, new long[0]);
        announcer.gone(id(PARTS - 1), TierKind.SSD);
        hold(PARTS);
        work();
        assertEquals(PARTS + 1, directory.entries.size());
        assertEquals(0, directory.members(id(PARTS - 1)));
        assertEquals(1, directory.members(id(PARTS)));
        assertEquals(PARTS, announcer.chunks());
        assertEquals(PARTS, announcer.entries());
    }

    @Test
    void shouldKeepNothingOfWhatWentWhileThereWasNoDirectory() {
        for (int number = 0; number < PARTS; number++) {
            hold(number);
            announcer.gone(id(number), TierKind.SSD);
        }
        assertEquals(0, announcer.chunks());
        assertEquals(0, announcer.entries());
        hold(1);
        announcer.lost(TierKind.SSD);
        announcer.doWork();
        assertEquals(0, announcer.entries());
    }

    @Test
    void shouldTakeBackWhatATierLostInParts() {
        for (int number = 0; number < PARTS; number++) {
            hold(number);
        }
        announcer.joined(directory, new long[0]);
        work();
        announcer.lost(TierKind.SSD);
        announcer.doWork();
        assertTrue(announcer.chunks() > PARTS / 2, "all in one turn");
        for (int turn = 0; announcer.chunks() > 0; turn++) {
            assertTrue(turn < PARTS, "it does not end");
            nowNs += MS;
            announcer.doWork();
        }
        work();
        for (int number = 0; number < PARTS; number++) {
            assertEquals(0, directory.members(id(number)));
        }
        assertEquals(0, announcer.entries());
    }

    /** A loss that is still being taken back takes nothing back of what came after it. */
    @Test
    void shouldKeepWhatCameAfterATierLostEverything() {
        for (int number = 0; number < PARTS; number++) {
            hold(number);
        }
        announcer.held(id(PARTS - 2), TierKind.DRAM, 4096, Hash256.ZERO, -1);
        announcer.joined(directory, new long[0]);
        work();
        announcer.lost(TierKind.SSD);
        hold(PARTS - 1);
        hold(PARTS);
        for (int turn = 0; turn < PARTS; turn++) {
            nowNs += MS;
            announcer.doWork();
        }
        work();
        assertEquals(3, announcer.chunks());
        assertEquals(1, directory.members(id(PARTS - 2)), "it is in DRAM");
        assertEquals(1, directory.members(id(PARTS - 1)));
        assertEquals(1, directory.members(id(PARTS)));
        assertEquals(0, directory.members(id(0)));
    }

    @Test
    void shouldKeepNothingOfANamespaceThatHasNothingHere() {
        for (int number = 0; number < PARTS; number++) {
            final ObjectId id = new ObjectId(new Hash256(number, 1, 2, 3), id(0).key(), SHARD);
            announcer.held(id, TierKind.DRAM, 4096, Hash256.ZERO, -1);
            announcer.gone(id, TierKind.DRAM);
        }
        assertEquals(0, announcer.namespaces());
        hold(1);
        hold(2);
        announcer.gone(id(1), TierKind.SSD);
        assertEquals(1, announcer.namespaces());
        announcer.joined(directory, new long[0]);
        work();
        assertEquals(1, directory.members(id(2)));
    }
}
