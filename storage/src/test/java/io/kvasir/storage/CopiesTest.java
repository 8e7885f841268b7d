package io.kvasir.storage;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.SlotStatus;
import io.kvasir.storage.tier.ssd.StoredObject;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What a store knows of copies that other nodes have: when they go, and what is about to go. 16 objects fill it. */
class CopiesTest {
    private static final int LENGTH = 512 * 1024;
    private static final int FULL = 16;
    private Path arena;
    private StoreFixture fixture;

    @BeforeEach
    void open() throws IOException {
        arena = StoreFixture.arenaDirectory();
        fixture = new StoreFixture(new StoreContext()
                .dramDirectory(arena.resolve("arena"))
                .dramCapacity(8 << 20)
                .regionBytes(1 << 20)
                .copyGivesWay(uses -> uses < 3));
        for (long number = 0; number < FULL; number++) {
            fixture.store(number, LENGTH);
        }
    }

    @AfterEach
    void close() throws IOException {
        fixture.close();
        StoreFixture.deleteAll(arena);
    }

    private static ObjectId id(final long number) {
        return new ObjectId(StoreFixture.NAMESPACE, Hash256.read(StoreFixture.key(number), 0), StoreFixture.SHARD);
    }

    private Reception receive(final long number, final boolean mayEvict) {
        return fixture.store
                .peers()
                .receive(
                        fixture.tenant,
                        id(number),
                        new StoredObject(LENGTH, 0, 0, Hash256.ZERO, 0, 0, 0),
                        false,
                        mayEvict);
    }

    private List<Leaving> nextToLeave(final long bytes) {
        final List<Leaving> found = new ArrayList<>();
        boolean more = true;
        while (more) {
            more = fixture.store.peers().nextToLeave(bytes, found::add);
        }
        return found;
    }

    @Test
    void shouldKeepACopyThatWasUsedOftenEnough() throws IOException {
        fixture.store.peers().copied(id(7), true);
        for (int use = 0; use < 3; use++) {
            assertArrayEquals(StoreFixture.content(7, LENGTH), fixture.load(7));
        }
        fixture.store(100, LENGTH);
        assertArrayEquals(StoreFixture.content(7, LENGTH), fixture.load(7));
        assertEquals(0, fixture.store.admin().counters().evictedCopies.sum());
    }

    @Test
    void shouldLetACopyThatWasUsedLessGoFirst() throws IOException {
        fixture.store.peers().copied(id(7), true);
        fixture.load(7);
        fixture.load(7);
        fixture.store(100, LENGTH);
        assertEquals(null, fixture.load(7));
        assertEquals(1, fixture.store.admin().counters().evictedCopies.sum());
    }

    @Test
    void shouldKeepWhatAnotherNodeUsed() throws IOException {
        fixture.store.peers().usedElsewhere(List.of(id(0), id(1)));
        for (int number = 100; number < 104; number++) {
            fixture.store(number, LENGTH);
        }
        assertTrue(fixture.store.peers().holds(id(0)) && fixture.store.peers().holds(id(1)));
    }

    @Test
    void shouldEvictNothingForWhatMayNotEvict() {
        assertEquals(SlotStatus.NO_ROOM, receive(100, false).status());
        assertEquals(FULL, fixture.store.admin().dramObjects());
        final Reception granted = receive(100, true);
        assertEquals(SlotStatus.GRANTED, granted.status());
        granted.slot().abort();
    }

    @Test
    void shouldTellWhatLeavesNext() throws IOException {
        fixture.store.peers().copied(id(9), true);
        final List<Leaving> next = nextToLeave(4L * LENGTH);
        assertEquals(4, next.size());
        assertEquals(new Leaving(id(9), LENGTH, true), next.getFirst());
        final Set<ObjectId> named = next.stream().map(Leaving::id).collect(Collectors.toSet());
        fixture.store(100, LENGTH);
        fixture.store(101, LENGTH);
        int gone = 0;
        for (final ObjectId id : named) {
            gone += fixture.store.peers().holds(id) ? 0 : 1;
        }
        assertEquals(2, gone, "what left was named");
        assertTrue(fixture.store.peers().holds(id(FULL - 1)));
    }
}
