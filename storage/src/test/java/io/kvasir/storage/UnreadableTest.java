package io.kvasir.storage;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectEvent;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.SlotStatus;
import io.kvasir.storage.object.TierKind;
import io.kvasir.storage.posix.Posix;
import io.kvasir.storage.posix.PosixException;
import io.kvasir.storage.tier.ssd.SsdTier;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Reads of the SSD that fail, for a while and for good. */
class UnreadableTest {
    private static final int LENGTH = 256 * 1024;
    private static final int OBJECTS = 60;
    private static final int EIO = 5;
    private static final int ENOMEM = 12;

    /** How many reads fail from now on, and with which error. */
    private final AtomicInteger failures = new AtomicInteger();

    private final List<ObjectEvent> events = new ArrayList<>();
    private volatile int error;
    /** The store's clock is ahead of this machine's, so that what is measured by another one is seen. */
    private final AtomicLong aheadNs = new AtomicLong(3_600_000_000_000L);

    private Path arena;
    private Path disk;
    private StoreFixture fixture;

    @BeforeEach
    void open() throws IOException {
        arena = StoreFixture.arenaDirectory();
        disk = Files.createTempDirectory("kvasir-test-ssd-");
        fixture = new StoreFixture(new StoreContext()
                .dramDirectory(arena.resolve("arena"))
                .dramCapacity(8 << 20)
                .regionBytes(1 << 20)
                .nanoClock(() -> System.nanoTime() + aheadNs.get())
                .ssd(new SsdTier.Context()
                        .directory(disk)
                        .capacityBytes(128 << 20)
                        .reads((fd, destination, offset) -> {
                            if (failures.getAndUpdate(left -> Math.max(0, left - 1)) > 0) {
                                throw new PosixException("pread", error);
                            }
                            Posix.read(fd, destination, offset);
                        })));
        fixture.until("SSD warm", fixture.store.admin()::isSsdWarm);
        for (long number = 0; number < OBJECTS; number++) {
            assertEquals(SlotStatus.COMMITTED, fixture.store(number, LENGTH));
            fixture.until(
                    "demotion keeps up",
                    () -> fixture.store.admin().dramUsedBytes() < 7 << 20
                            || fixture.store.admin().counters().demoted.sum() * LENGTH
                                    >= fixture.store
                                                    .admin()
                                                    .counters()
                                                    .storedBytes
                                                    .sum()
                                            - (6 << 20));
        }
        fixture.store.engines().onEvent(events::add);
    }

    @AfterEach
    void close() throws IOException {
        fixture.close();
        StoreFixture.deleteAll(arena);
        StoreFixture.deleteAll(disk);
    }

    private static ObjectId id() {
        return new ObjectId(StoreFixture.NAMESPACE, Hash256.read(StoreFixture.key(0), 0), StoreFixture.SHARD);
    }

    private List<ObjectEvent.Kind> toldOfSsd() {
        return events.stream()
                .filter(event -> event.tier() == TierKind.SSD && id().equals(event.id()))
                .map(ObjectEvent::kind)
                .toList();
    }

    @ParameterizedTest
    @ValueSource(ints = {4, EIO, 11, ENOMEM})
    void shouldTryAReadAgain(final int errno) throws IOException {
        error = errno;
        failures.set(2);
        assertArrayEquals(StoreFixture.content(0, LENGTH), fixture.load(0));
        assertEquals(0, failures.get());
        assertEquals(0, fixture.store.admin().counters().faults.sum());
    }

    @ParameterizedTest
    @ValueSource(ints = {11, ENOMEM})
    void shouldMissForAWhileAndKeepWhatCannotBeReadNow(final int errno) throws IOException {
        error = errno;
        failures.set(Integer.MAX_VALUE);
        fixture.store.engines().rememberNamespace(StoreFixture.NAMESPACE, "tests", new byte[0]);
        assertNull(fixture.load(0));
        assertNull(fixture.load(0));
        assertEquals(1, fixture.store.admin().counters().faults.sum(), "a second lookup does not read at once again");
        assertTrue(fixture.store.peers().holds(id()), "it is still there");
        assertEquals(List.of(ObjectEvent.Kind.STORED), toldOfSsd());
        failures.set(0);
        assertNull(fixture.load(0), "for a while");
        aheadNs.addAndGet(1_000_000_000L);
        assertArrayEquals(StoreFixture.content(0, LENGTH), fixture.load(0));
    }

    @Test
    void shouldTellOfWhatTheDiskHasLost() throws IOException {
        error = EIO;
        failures.set(Integer.MAX_VALUE);
        assertNull(fixture.load(0));
        failures.set(0);
        assertNull(fixture.load(0));
        assertTrue(!fixture.store.peers().holds(id()), "it is gone");
        // SSD events name the tenant of the namespace, which is not known before an engine names it.
        assertEquals(List.of(), toldOfSsd());
        fixture.store.engines().rememberNamespace(StoreFixture.NAMESPACE, "tests", new byte[0]);
        assertEquals(List.of(ObjectEvent.Kind.STORED, ObjectEvent.Kind.REMOVED), toldOfSsd());
        assertTrue(events.stream()
                .allMatch(event -> event.tenant() == null || event.tenant().equals("tests")));
    }
}
