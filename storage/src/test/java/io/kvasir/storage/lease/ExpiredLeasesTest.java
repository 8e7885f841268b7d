package io.kvasir.storage.lease;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.HandDrivenWorker;
import io.kvasir.storage.tenant.TenantAccounts;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.agrona.concurrent.CachedNanoClock;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** When a lease ends that nobody releases: its session's processes say in their lock files which copies run. */
class ExpiredLeasesTest {
    private static final long LEASE_NS = TimeUnit.SECONDS.toNanos(1);
    private static final int[] ALL_SHARDS = {};
    private static final long ONE = 11;
    private static final long OTHER = 22;

    @TempDir
    private Path directory;

    private final Set<Integer> held = new HashSet<>();
    private final CachedNanoClock clock = new CachedNanoClock();
    private final HandDrivenWorker worker = new HandDrivenWorker();
    private TimerWheel timers;
    private LeaseTable table;
    private SessionLeases session;

    @BeforeEach
    void open() throws IOException {
        timers = new TimerWheel(clock.nanoTime());
        final LeaseTable.Slots slots = new LeaseTable.Slots() {
            @Override
            public long slotBytes(final int entry) {
                return 1;
            }

            @Override
            public void hold(final int entry) {
                held.add(entry);
            }

            @Override
            public void unhold(final int entry) {
                held.remove(entry);
            }
        };
        table = new LeaseTable(slots, 10_000, 1000, 1000, 7, timers, worker, Runnable::run, clock);
        session = table.open(new TenantAccounts(Map.of(), 1000, 1).of("ours"));
        join(ONE);
        join(OTHER);
    }

    @AfterEach
    void close() {
        table.close();
    }

    private Path lockFile(final long process) {
        return directory.resolve("attachment-" + process);
    }

    private void join(final long process) throws IOException {
        LockFile.make(lockFile(process));
        table.join(session, process, lockFile(process));
    }

    private void marks(final long process, final long next, final long oldest) throws IOException {
        try (FileChannel channel = FileChannel.open(lockFile(process), StandardOpenOption.WRITE)) {
            channel.write(
                    ByteBuffer.allocate(16)
                            .order(ByteOrder.LITTLE_ENDIAN)
                            .putLong(next)
                            .putLong(oldest)
                            .flip(),
                    64);
        }
    }

    private long lease(final int entry) {
        final int lease = table.begin(session, 1, 1, 1, clock.nanoTime() + LEASE_NS);
        table.add(lease, entry);
        return table.seal(lease);
    }

    private void pass(final long ns) {
        final long end = clock.nanoTime() + ns;
        while (clock.nanoTime() < end) {
            clock.update(clock.nanoTime() + TimeUnit.MILLISECONDS.toNanos(20));
            timers.poll(clock.nanoTime(), 100);
            worker.runOne();
            table.doWork(100);
        }
    }

    @Test
    void shouldEndALeaseUnderWhichNobodyCopies() throws IOException {
        marks(ONE, 5, 5);
        marks(OTHER, 1, 1);
        lease(1);
        pass(LEASE_NS - 1);
        assertEquals(Set.of(1), held);
        pass(LEASE_NS);
        assertEquals(Set.of(), held);
        assertEquals(0, table.count());
    }

    @Test
    void shouldKeepALeaseWhileACopyRunsThatBeganBeforeItsEnd() throws IOException {
        marks(ONE, 5, 5);
        marks(OTHER, 3, 2);
        final long id = lease(1);
        pass(30 * LEASE_NS);
        assertEquals(Set.of(1), held);
        assertTrue(table.release(session, id, ALL_SHARDS), "whoever still copies gives it back");
        assertEquals(Set.of(), held);
    }

    /** A busy process is never seen without a copy: those that began after the lease's end are not waited for. */
    @Test
    void shouldNotWaitForCopiesThatBeganLater() throws IOException {
        marks(ONE, 5, 5);
        marks(OTHER, 3, 2);
        lease(1);
        pass(3 * LEASE_NS);
        marks(OTHER, 9, 2);
        pass(10 * LEASE_NS);
        assertEquals(Set.of(1), held);
        marks(OTHER, 12, 8);
        pass(10 * LEASE_NS);
        assertEquals(Set.of(), held);
    }

    @Test
    void shouldKeepTheLeasesOfAProcessThatSaysNothingUntilItEnds() throws IOException {
        marks(ONE, 1, 1);
        lease(1);
        pass(30 * LEASE_NS);
        assertEquals(Set.of(1), held);
        table.attachmentEnded(OTHER);
        pass(LEASE_NS);
        assertEquals(Set.of(), held);
    }

    @Test
    void shouldBelieveNothingThatATruncatedOrMissingFileSays() throws IOException {
        marks(ONE, 5, 5);
        marks(OTHER, 5, 5);
        try (FileChannel channel = FileChannel.open(lockFile(OTHER), StandardOpenOption.WRITE)) {
            channel.truncate(70);
        }
        lease(1);
        pass(20 * LEASE_NS);
        assertEquals(Set.of(1), held);
        java.nio.file.Files.delete(lockFile(OTHER));
        pass(20 * LEASE_NS);
        assertEquals(Set.of(1), held);
    }

    @Test
    void shouldEndARenewedLeaseAtItsNewTime() throws IOException {
        marks(ONE, 5, 5);
        marks(OTHER, 1, 1);
        final long id = lease(1);
        lease(2);
        pass(LEASE_NS / 2);
        assertTrue(table.renew(session, id, clock.nanoTime() + 5 * LEASE_NS, clock.nanoTime()));
        pass(2 * LEASE_NS);
        assertEquals(Set.of(1), held);
        assertFalse(table.findValid(session, id, clock.nanoTime()) == LeaseTable.NONE);
        pass(5 * LEASE_NS);
        assertEquals(Set.of(), held);
    }

    /** Its connections are gone, its processes live on. */
    @Test
    void shouldEndTheLeasesOfAClosedSessionWhenTheyExpire() throws IOException {
        marks(ONE, 5, 5);
        marks(OTHER, 7, 6);
        lease(1);
        table.close(session);
        pass(2 * LEASE_NS);
        assertEquals(Set.of(1), held);
        marks(OTHER, 7, 7);
        pass(10 * LEASE_NS);
        assertEquals(Set.of(), held);
        table.attachmentEnded(ONE);
        assertEquals(0, table.count());
    }

    /** What expires while a proof is under way is the next proof's. */
    @Test
    void shouldProveWhatExpiresMeanwhileOnItsOwn() throws IOException {
        marks(ONE, 5, 4);
        marks(OTHER, 1, 1);
        lease(1);
        pass(LEASE_NS / 2);
        lease(2);
        pass(2 * LEASE_NS);
        // The copy that ran at the end of the first lease has ended; one that may be under the second runs.
        marks(ONE, 6, 5);
        pass(10 * LEASE_NS);
        assertEquals(Set.of(2), held);
        marks(ONE, 6, 6);
        pass(10 * LEASE_NS);
        assertEquals(Set.of(), held);
    }
}
