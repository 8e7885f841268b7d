package io.kvasir.storage.index;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.TestObjects;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.TierKind;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;

class ObjectIdsTest {
    @Test
    void shouldUseANumberAgainOnlyWhenNobodyHoldsIt() {
        try (ObjectIds ids = new ObjectIds(2)) {
            final int one = ids.take(TestObjects.id(1));
            assertTrue(ids.take(TestObjects.id(2)) >= 0);
            assertEquals(ObjectIds.NONE, ids.take(TestObjects.id(3)));
            ids.hold(one);
            ids.release(one);
            assertEquals(ObjectIds.NONE, ids.take(TestObjects.id(3)));
            assertEquals(TestObjects.id(1), ids.id(one));
            ids.release(one);
            assertEquals(one, ids.take(TestObjects.id(3)));
            assertEquals(TestObjects.id(3), ids.id(one));
            assertFalse(ids.is(one, TestObjects.id(1)));
        }
    }

    @Test
    void shouldKeepTheIdOfAnEntryThatIsRemovedWhileAnotherOneHoldsIt() {
        try (ObjectTable table = new ObjectTable(2, new SipHash(new SplittableRandom(1)))) {
            final int one = table.put(TestObjects.id(1));
            table.ids().hold(one);
            table.remove(one);
            assertEquals(ObjectTable.NONE, table.find(TestObjects.id(1)));
            assertEquals(TestObjects.id(1), table.ids().id(one));
            final int again = table.put(TestObjects.id(1));
            assertNotEquals(one, again, "the number is held");
            assertEquals(ObjectTable.FULL, table.put(TestObjects.id(2)));
            table.ids().release(one);
            assertEquals(one, table.put(TestObjects.id(2)));
        }
    }

    @Test
    void shouldAdoptANumberUnlessTheObjectHasAnEntry() {
        try (ObjectTable table = new ObjectTable(10, new SipHash(new SplittableRandom(1)))) {
            final int found = table.ids().take(TestObjects.id(1));
            assertEquals(ObjectTable.NONE, table.find(TestObjects.id(1)));
            assertFalse(table.isLive(found));
            assertEquals(found, adopt(table, found));
            assertEquals(found, table.find(TestObjects.id(1)));
            assertEquals(found, adopt(table, found), "again");
            assertEquals(1, table.size());
            final int stored = table.put(TestObjects.id(2));
            table.in(stored, TierKind.DRAM, true);
            final int other = table.ids().take(TestObjects.id(2));
            assertNotEquals(stored, other);
            assertEquals(stored, adopt(table, other));
            assertEquals(2, table.size());
        }
    }

    private static int adopt(final ObjectTable table, final int number) {
        final ObjectId id = table.ids().id(number);
        return table.adopt(number, table.hash(id.namespace(), id.key(), id.shard()), id);
    }

    /** One takes, two release: each id stays what it is until the last has let go of it. */
    @Test
    void shouldBeHeldByManyThreads() throws InterruptedException {
        final int rounds = 200_000;
        final ObjectId[] objects = new ObjectId[100];
        for (int i = 0; i < objects.length; i++) {
            objects[i] = TestObjects.id(i);
        }
        try (ObjectIds ids = new ObjectIds(1000)) {
            final List<BlockingQueue<int[]>> queues = List.of(new LinkedBlockingQueue<>(), new LinkedBlockingQueue<>());
            final AtomicReference<Throwable> failure = new AtomicReference<>();
            final List<Thread> threads = new ArrayList<>();
            for (final BlockingQueue<int[]> queue : queues) {
                threads.add(Thread.ofPlatform().start(() -> {
                    try {
                        for (int[] next = queue.take(); next[0] >= 0; next = queue.take()) {
                            assertEquals(objects[next[1]], ids.id(next[0]));
                            ids.release(next[0]);
                        }
                    } catch (final Throwable e) {
                        failure.set(e);
                    }
                }));
            }
            for (int round = 0; round < rounds; round++) {
                int number = ids.take(objects[round % objects.length]);
                while (number == ObjectIds.NONE) {
                    Thread.onSpinWait();
                    number = ids.take(objects[round % objects.length]);
                }
                ids.hold(number);
                for (final BlockingQueue<int[]> queue : queues) {
                    queue.add(new int[] {number, round % objects.length});
                }
            }
            for (final BlockingQueue<int[]> queue : queues) {
                queue.add(new int[] {-1, 0});
            }
            for (final Thread thread : threads) {
                thread.join();
            }
            assertEquals(null, failure.get());
            assertEquals(0, ids.scopes(), "all are free");
            final Set<Integer> free = new HashSet<>();
            for (int i = 0; i < 1000; i++) {
                assertTrue(free.add(ids.take(objects[0])));
            }
            assertEquals(ObjectIds.NONE, ids.take(objects[0]));
        }
    }
}
