package io.kvasir.storage;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.lookup.LookupAnswer;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectEvent;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.TierKind;
import io.kvasir.storage.tier.Holdings;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** A promise is taken back first and broken afterwards: in the table, then in the directory, then for those who listen. */
class LeavingTest {
    private static final int LENGTH = 100_000;

    private Path directory;
    private StoreFixture fixture;
    private final List<String> told = new ArrayList<>();
    private final List<String> stillThere = new ArrayList<>();

    @BeforeEach
    void open() throws IOException {
        directory = StoreFixture.arenaDirectory();
        fixture = new StoreFixture(new StoreContext()
                .dramDirectory(directory.resolve("arena"))
                .dramCapacity(16L << 20)
                .holdings(new Told()));
        fixture.store.engines().onEvent(event -> {
            if (event.kind() != ObjectEvent.Kind.CLEARED) {
                hear(event.kind() + " to events", event.kind() == ObjectEvent.Kind.REMOVED);
            }
        });
    }

    @AfterEach
    void close() throws IOException {
        fixture.close();
        StoreFixture.deleteAll(directory);
    }

    private void hear(final String what, final boolean isGone) {
        told.add(what);
        if (isGone
                && fixture.store
                                .engines()
                                .lookup(fixture.holder, fixture.query(true, 1))
                                .hitChunks()
                        > 0) {
            stillThere.add(what);
        }
    }

    private final class Told implements Holdings {
        @Override
        public void held(
                final ObjectId id, final TierKind tier, final long length, final Hash256 parent, final int chunkIndex) {
            hear("STORED to the directory", false);
        }

        @Override
        public void gone(final ObjectId id, final TierKind tier) {
            hear("REMOVED to the directory", true);
        }

        @Override
        public void lost(final TierKind tier) {}
    }

    private static ObjectId id() {
        return new ObjectId(StoreFixture.NAMESPACE, Hash256.read(StoreFixture.key(1), 0), StoreFixture.SHARD);
    }

    @Test
    void shouldTellTheDirectoryFirstAndNobodyBeforeItIsSo() throws IOException {
        fixture.store(1, LENGTH);
        assertTrue(fixture.store.admin().remove(id()));
        fixture.until("idle", () -> fixture.store.admin().heldObjects() == 0);
        assertEquals(
                List.of("STORED to the directory", "STORED to events", "REMOVED to the directory", "REMOVED to events"),
                told);
        assertEquals(List.of(), stillThere, "told that it leaves while lookups still hit it");
    }

    @Test
    void shouldTellAtOnceWhatALeaseKeepsInItsSlot() throws IOException {
        fixture.store(1, LENGTH);
        final LookupAnswer leased = fixture.lookup(1);
        assertTrue(fixture.store.admin().remove(id()));
        assertTrue(told.contains("REMOVED to events"), "it is a miss already: " + told);
        final int before = told.size();
        assertFalse(fixture.store.admin().remove(id()));
        assertTrue(fixture.store.engines().release(fixture.holder, leased.lease(), new int[0]));
        fixture.until("idle", () -> fixture.store.admin().heldObjects() == 0);
        assertEquals(0, fixture.store.admin().dramObjects());
        assertEquals(before, told.size(), "told once: " + told);
    }
}
