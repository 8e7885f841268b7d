package io.kvasir.storage.tier.remote;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.StoreContext;
import io.kvasir.storage.StoreFixture;
import io.kvasir.storage.lease.LeaseHolder;
import io.kvasir.storage.lookup.LookupAnswer;
import io.kvasir.storage.lookup.LookupQuery;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.Shard;
import io.kvasir.storage.object.ShardSet;
import io.kvasir.storage.tenant.Tenant;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class RemoteShelfTest {
    private static final long MS = 1_000_000;

    /** Another node, which answers when the test says so. */
    private static final class Elsewhere extends OpenPeers {
        private final List<Finding> asked = new ArrayList<>();
        private final List<Wanted> pulled = new ArrayList<>();

        @Override
        public void locate(
                final Hash256 namespace,
                final byte[] keys,
                final int from,
                final List<Shard> shards,
                final boolean sparse,
                final Finding finding) {
            asked.add(finding);
        }

        @Override
        public void pull(final Tenant tenant, final List<? extends Wanted> objects) {
            pulled.addAll(objects);
        }
    }

    private final Elsewhere elsewhere = new Elsewhere();
    private Path arena;
    private StoreFixture fixture;
    private long nowNs;

    @BeforeEach
    void open() throws Exception {
        arena = StoreFixture.arenaDirectory();
        fixture = new StoreFixture(new StoreContext()
                .dramDirectory(arena)
                .dramCapacity(64L << 20)
                .nanoClock(() -> nowNs)
                .remote(elsewhere));
    }

    @AfterEach
    void close() throws Exception {
        fixture.close();
        StoreFixture.deleteAll(arena);
    }

    private LookupAnswer lookup(final long... numbers) {
        return fixture.store.engines().lookup(fixture.holder, fixture.query(false, numbers));
    }

    @Test
    void shouldAskOnceForAKeyThatALookupNamesTwice() {
        assertEquals(3, lookup(1, 1, 2).pendingChunks());
        assertEquals(3, lookup(1, 1, 2).pendingChunks());
        assertEquals(1, elsewhere.asked.size());
        elsewhere.asked.getFirst().found(0, 0, () -> 4096);
        elsewhere.asked.getFirst().done(true);
        assertEquals(2, lookup(1, 1, 2).pendingChunks(), "nobody has the third");
        assertEquals(1, elsewhere.pulled.size());
        assertEquals(1, elsewhere.asked.size());
    }

    @Test
    void shouldAskOnlyForTheShardsThatASparseLookupNames() {
        final Shard other = new Shard(0, 1, 0, 1, 1, 0, 1, 0, 1);
        final LeaseHolder holder = fixture.store
                .engines()
                .openHolder(fixture.tenant, new ShardSet(List.of(other, StoreFixture.SHARD), Map.of()));
        final LookupQuery query =
                new LookupQuery(StoreFixture.NAMESPACE, StoreFixture.keys(1, 2), new int[] {1}, 0, false, true, 0, 0);
        assertEquals(2, fixture.store.engines().lookup(holder, query).pendingChunks());
        assertEquals(2, fixture.store.admin().tableObjects(), "an entry for each shard that is asked for");
        elsewhere.asked.getFirst().found(0, 0, () -> 4096);
        elsewhere.asked.getFirst().found(0, 1, () -> 4096);
        elsewhere.asked.getFirst().done(true);
        assertEquals(1, fixture.store.engines().lookup(holder, query).pendingChunks(), "the first is somewhere");
        assertEquals(1, elsewhere.pulled.size());
        assertEquals(StoreFixture.SHARD, elsewhere.pulled.getFirst().id().shard());
        fixture.store.engines().closeHolder(holder);
    }

    @Test
    void shouldWakeWhoWaitsForAPull() throws Exception {
        lookup(1);
        elsewhere.asked.getFirst().found(0, 0, () -> 4096);
        elsewhere.asked.getFirst().done(true);
        assertEquals(1, lookup(1).pendingChunks());
        final boolean[] woken = new boolean[1];
        assertTrue(fixture.store.engines().whenSettled(fixture.holder, fixture.query(false, 1), () -> woken[0] = true)
                != 0);
        fixture.store(1, 4096);
        elsewhere.pulled.getFirst().ended(true);
        fixture.store.doWork();
        assertTrue(woken[0]);
        assertEquals(1, lookup(1).hitChunks());
        assertEquals(1, fixture.store.admin().tableObjects());
    }

    @Test
    void shouldKeepNoEntryForAnAnswerThatIsTooOld() {
        lookup(1, 2, 3);
        elsewhere.asked.getFirst().done(true);
        assertEquals(0, lookup(1, 2, 3).pendingChunks());
        assertEquals(3, fixture.store.admin().tableObjects());
        nowNs += 300 * MS;
        assertEquals(1, lookup(4).pendingChunks());
        assertEquals(1, fixture.store.admin().tableObjects());
    }

    @Test
    void shouldAskAgainWhenAnAnswerIsTooOld() {
        lookup(1);
        elsewhere.asked.getFirst().done(false);
        assertEquals(0, lookup(1).pendingChunks());
        nowNs += 50 * MS;
        assertEquals(1, lookup(1).pendingChunks());
        assertEquals(2, elsewhere.asked.size());
    }
}
