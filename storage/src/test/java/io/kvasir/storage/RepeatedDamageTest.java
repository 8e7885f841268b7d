package io.kvasir.storage;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.object.SlotRecord;
import io.kvasir.storage.object.SlotStatus;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.concurrent.AbstractExecutorService;
import java.util.concurrent.TimeUnit;
import org.agrona.concurrent.CachedEpochClock;
import org.agrona.concurrent.CachedNanoClock;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** A tenant that takes the memory of one region after the other away; the clocks are the test's. */
class RepeatedDamageTest {
    private static final int MIB = 1 << 20;
    private static final int INTERVAL_MS = 1000;
    private static final int REMEMBERED_MS = 60_000;
    /** After so many turns all that was asked for is done. */
    private static final int TURNS = 20;

    private final CachedEpochClock clock = new CachedEpochClock();
    private final CachedNanoClock nanoClock = new CachedNanoClock();
    private Path directory;
    private StoreFixture fixture;
    private SimulatedEngine other;
    private long next;

    @BeforeEach
    void open() throws IOException {
        clock.update(1_000_000);
        directory = StoreFixture.arenaDirectory();
        fixture = new StoreFixture(new StoreContext()
                .dramDirectory(directory.resolve("arena"))
                .dramCapacity(16 * MIB)
                .regionBytes(MIB)
                .clock(clock)
                .nanoClock(nanoClock)
                .workers(name -> new AtOnce()));
        other = new SimulatedEngine(fixture.store, fixture.store.engines().openTenant("other", -1));
    }

    @AfterEach
    void close() throws IOException {
        other.die();
        fixture.close();
        StoreFixture.deleteAll(directory);
    }

    private void storeAsMuchAsARegion() {
        final byte[] slots = fixture.reserve(MIB, next++).slots();
        assertEquals(SlotStatus.GRANTED, slots[SlotRecord.STATUS]);
        assertEquals(SlotStatus.COMMITTED, fixture.commit(slots)[0]);
    }

    private void damageAll() throws IOException {
        for (final Path file : fixture.dataFiles()) {
            try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
                channel.truncate(0);
            }
        }
        fixture.until("the node has retired all", () -> {
            nanoClock.advance(TimeUnit.MILLISECONDS.toNanos(150));
            return fixture.store.engines().regions(fixture.tenant).isEmpty();
        });
    }

    /** There is one: what the tests' tenant is refused is not for want of memory. */
    private void otherTakesARegion() {
        final byte[] slots = fixture.reserve(other.attachment, MIB, next++).slots();
        assertEquals(SlotStatus.GRANTED, slots[SlotRecord.STATUS]);
        final byte[] none = new byte[0];
        fixture.store.engines().commit(other.attachment, slots, none, none, new int[0], 0, 0);
    }

    private boolean isGranted() {
        return 0
                == fixture.store
                        .engines()
                        .reserve(
                                fixture.attachment,
                                StoreFixture.NAMESPACE,
                                StoreFixture.SHARD,
                                StoreFixture.keys(next++),
                                new long[] {MIB},
                                0)
                        .noRoom();
    }

    private void pass(final int ms) {
        clock.advance(ms);
        fixture.store.doWork();
    }

    @Test
    void shouldGetOneFurtherRegionASecond() throws IOException {
        storeAsMuchAsARegion();
        damageAll();
        storeAsMuchAsARegion();
        damageAll();
        for (int i = 0; i < 3; i++) {
            assertFalse(isGranted(), "a region was free");
            otherTakesARegion();
        }
        pass(INTERVAL_MS - 1);
        assertFalse(isGranted());
        for (int turn = 0; turn < TURNS; turn++) {
            fixture.store.doWork();
        }
        final boolean[] told = {false};
        fixture.store.engines().whenRoom(0, () -> told[0] = true);
        for (int turn = 0; turn < TURNS; turn++) {
            fixture.store.doWork();
        }
        assertFalse(told[0]);
        pass(1);
        fixture.store.doWork();
        assertTrue(told[0], "who waits for space hears of it");
        storeAsMuchAsARegion();
        storeAsMuchAsARegion();
        assertEquals(1, fixture.store.engines().regions(fixture.tenant).size(), "its objects evict its own");
    }

    @Test
    void shouldGetRegionsAsOthersDoSomeTimeAfterTheLastDamage() throws IOException {
        storeAsMuchAsARegion();
        damageAll();
        pass(REMEMBERED_MS);
        storeAsMuchAsARegion();
        storeAsMuchAsARegion();
        storeAsMuchAsARegion();
        assertEquals(3, fixture.store.engines().regions(fixture.tenant).size());
    }

    /** What a worker thread would do is done at once, so that nothing happens but by the test's clocks. */
    private static final class AtOnce extends AbstractExecutorService {
        private boolean closed;

        @Override
        public void execute(final Runnable task) {
            task.run();
        }

        @Override
        public void shutdown() {
            closed = true;
        }

        @Override
        public List<Runnable> shutdownNow() {
            closed = true;
            return List.of();
        }

        @Override
        public boolean isShutdown() {
            return closed;
        }

        @Override
        public boolean isTerminated() {
            return closed;
        }

        @Override
        public boolean awaitTermination(final long timeout, final TimeUnit unit) {
            return closed;
        }
    }
}
