package io.kvasir.storage;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.lookup.LookupQuery;
import io.kvasir.storage.move.Channel;
import io.kvasir.storage.move.MoveKind;
import io.kvasir.storage.move.Mover;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.Shard;
import io.kvasir.storage.tenant.Tenant;
import io.kvasir.storage.tier.remote.OpenPeers;
import io.kvasir.storage.tier.remote.RemoteTier;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.LongStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What lookups pull from other nodes waits for its turn. */
class RemotePullsTest {
    private static final int LENGTH = 64 << 10;
    private static final int CHUNKS = 6;
    private static final long MS = 1_000_000;

    private final List<RemoteTier.Wanted> asked = new ArrayList<>();
    private long nowNs;
    private Path arena;
    private StoreFixture fixture;
    private Mover mover;

    /** Another node that has everything. */
    private final class Peers extends OpenPeers {
        @Override
        public void locate(
                final Hash256 namespace,
                final byte[] keys,
                final int from,
                final List<Shard> shards,
                final boolean sparse,
                final Finding finding) {
            for (int chunk = from; chunk < keys.length / Hash256.BYTES; chunk++) {
                finding.found(chunk, 0, () -> LENGTH);
            }
            finding.done(true);
        }

        @Override
        public void pull(final Tenant tenant, final List<? extends Wanted> objects) {
            asked.addAll(objects);
        }
    }

    @BeforeEach
    void open() throws IOException {
        arena = StoreFixture.arenaDirectory();
        fixture = new StoreFixture(new StoreContext()
                .dramDirectory(arena.resolve("arena"))
                .dramCapacity(8 << 20)
                .regionBytes(1 << 20)
                .nanoClock(() -> nowNs)
                .linkInFlight(2 * LENGTH)
                .remote(new Peers()));
        mover = fixture.store.admin().mover();
    }

    @AfterEach
    void close() throws IOException {
        fixture.close();
        StoreFixture.deleteAll(arena);
    }

    /** The first lookup asks where the objects are, the next one pulls. */
    private void lookup(final long recomputeNsPerChunk) {
        final byte[] keys = StoreFixture.keys(LongStream.range(0, CHUNKS).toArray());
        for (int i = 0; i < 2; i++) {
            fixture.store
                    .engines()
                    .lookup(
                            fixture.holder,
                            new LookupQuery(
                                    StoreFixture.NAMESPACE, keys, new int[0], 0, false, false, 0, recomputeNsPerChunk));
        }
    }

    @Test
    void shouldPullWithinTheBudgetAndGoOnAsPullsEnd() {
        lookup(0);
        assertEquals(2, asked.size());
        assertEquals(CHUNKS - 2, mover.waiting(MoveKind.PULL));
        for (int ended = 0; ended < CHUNKS; ended++) {
            assertTrue(mover.movingBytes(Channel.LINK) <= 2 * LENGTH);
            asked.get(ended).ended(false);
            fixture.store.doWork();
            assertEquals(Math.min(CHUNKS, ended + 3), asked.size());
        }
        assertEquals(0, mover.movingBytes(Channel.LINK));
    }

    @Test
    void shouldNotPullWhatIsNotWorthItAnyMore() {
        lookup(10 * MS);
        assertEquals(CHUNKS - 2, mover.waiting(MoveKind.PULL));
        nowNs += 1000 * MS;
        fixture.store.doWork();
        assertEquals(0, mover.waiting(MoveKind.PULL));
        assertEquals(CHUNKS - 2, fixture.store.admin().counters().pullsFailed.sum());
        asked.forEach(wanted -> wanted.ended(false));
        fixture.store.doWork();
        assertEquals(2, asked.size());
        assertEquals(0, mover.movingBytes(Channel.LINK));
    }
}
