package io.kvasir.storage;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.move.MovePriority;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.stream.LongStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class LendingTest {
    private static final int OBJECTS = 400;
    private static final int LENGTH = 4096;
    private static final long FOREVER_NS = 1L << 60;

    private Path arena;
    private StoreFixture fixture;

    @BeforeEach
    void open() throws IOException {
        arena = StoreFixture.arenaDirectory();
        fixture = new StoreFixture(new StoreContext()
                .dramDirectory(arena.resolve("arena"))
                .dramCapacity(8 << 20)
                .regionBytes(4 << 20));
    }

    @AfterEach
    void close() throws IOException {
        fixture.close();
        StoreFixture.deleteAll(arena);
    }

    /** However many peers ask for what is not ready, a turn of the store stays short. */
    @Test
    void shouldLookAtABoundedNumberOfRequestsInATurnAndAtEachInItsTurn() throws IOException {
        final long[] numbers = LongStream.range(0, OBJECTS).toArray();
        final byte[] slots = fixture.reserve(LENGTH, numbers).slots();
        for (int i = 0; i < OBJECTS; i++) {
            fixture.write(slots, i, StoreFixture.content(i, LENGTH));
        }
        // Not summed: nothing is lent before.
        fixture.commit(slots);
        final List<Integer> looked = new ArrayList<>();
        final List<Lent> lent = new ArrayList<>();
        final Lending lending = new Lending(
                fixture.store.dram(), fixture.store.ssdShelf(), looked::add, namespace -> null, Runnable::run);
        for (final long number : numbers) {
            final Hash256 key = Hash256.read(StoreFixture.key(number), 0);
            final ObjectId id = new ObjectId(StoreFixture.NAMESPACE, key, StoreFixture.SHARD);
            lending.lend(id, MovePriority.LOAD, FOREVER_NS, lent::add, 0);
        }
        looked.clear();
        lending.doWork(0);
        assertTrue(looked.size() <= Lending.LOOKED_AT_ONCE, looked.size() + " in one turn");
        lending.doWork(0);
        assertEquals(OBJECTS, new HashSet<>(looked).size());
        fixture.until("all summed", () -> {
            lending.doWork(0);
            return lent.size() == OBJECTS;
        });
        lent.forEach(each -> {
            assertNotNull(each);
            each.giveBack();
        });
    }
}
