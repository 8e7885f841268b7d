package io.kvasir.storage;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.index.ObjectTable;
import io.kvasir.storage.index.SipHash;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.TierKind;
import io.kvasir.storage.posix.PosixException;
import io.kvasir.storage.tenant.Tenant;
import io.kvasir.storage.tier.AddressableTier;
import io.kvasir.storage.tier.TierListener;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.locks.LockSupport;
import org.agrona.concurrent.CachedEpochClock;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What every tier whose slots engines map promises: who owns a slot, and what it tells when. */
public abstract class AddressableTierContract {
    protected static final long CAPACITY = 4 << 20;
    private static final int LENGTH = 100_000;
    private static final int MANY = 200;
    private static final int TRIES = 20_000;

    protected final CachedEpochClock clock = new CachedEpochClock();
    protected Path directory;
    protected ObjectTable table;
    private AddressableTier tier;
    private Tenant tenant;
    private final Told told = new Told();

    /** What was told, and whether it was so when it was told. */
    private final class Told implements TierListener {
        private final Set<ObjectId> present = new HashSet<>();
        private final List<ObjectId> left = new ArrayList<>();
        private int freed;

        @Override
        public void present(
                final TierKind kind,
                final String owner,
                final ObjectId id,
                final long length,
                final Hash256 parent,
                final int chunkIndex) {
            assertEquals(tenant.name(), owner);
            assertTrue(present.add(id), "told twice: " + id);
            assertTrue(isReadable(id), "told before it is readable");
        }

        @Override
        public void leaving(final TierKind kind, final String owner, final ObjectId id, final int uses) {
            assertTrue(present.remove(id), "it was not told that it is here, or twice that it leaves: " + id);
            assertFalse(isReadable(id), "told while it is readable");
            left.add(id);
        }

        @Override
        public void spaceFreed(final TierKind kind) {
            freed++;
        }
    }

    /** @param listener is told what happens */
    protected abstract AddressableTier open(TierListener listener) throws IOException;

    protected abstract Tenant tenant();

    /** Does what the tier does beside calls. */
    protected abstract void work();

    @BeforeEach
    void openTier() throws IOException {
        directory = StoreFixture.arenaDirectory();
        table = new ObjectTable(1 << 12, new SipHash(new Random(2)));
        clock.update(1_000_000);
        tier = open(told);
        tenant = tenant();
    }

    @AfterEach
    void closeTier() throws IOException {
        tier.close();
        table.close();
        StoreFixture.deleteAll(directory);
    }

    private boolean isReadable(final ObjectId id) {
        final int entry = tier.entry(table.find(id));
        return entry != AddressableTier.NONE && tier.isReadable(entry);
    }

    /** Waits, since a tier may have to get memory first. */
    private int reserve(final long number) {
        int entry = AddressableTier.NO_SPACE;
        for (int tries = 0; entry < 0 && tries < TRIES; tries++) {
            entry = tier.reserve(tenant, TestObjects.id(number), LENGTH, 0);
            if (entry < 0) {
                work();
                LockSupport.parkNanos(100_000);
            }
        }
        assertTrue(entry >= 0, "no space for object " + number);
        return entry;
    }

    private void write(final int entry, final long number) {
        try (Arena arena = Arena.ofConfined()) {
            final MemorySegment bytes = arena.allocate(LENGTH);
            TestObjects.fill(bytes, number);
            tier.payload(entry, LENGTH).write(0, bytes);
        } catch (final PosixException gone) {
            throw new AssertionError(gone);
        }
    }

    private byte[] read(final int entry) {
        try (Arena arena = Arena.ofConfined()) {
            final MemorySegment bytes = arena.allocate(LENGTH);
            tier.payload(entry, LENGTH).read(0, bytes);
            return bytes.toArray(ValueLayout.JAVA_BYTE);
        } catch (final PosixException gone) {
            throw new AssertionError(gone);
        }
    }

    private void commit(final int entry, final long expiryUnixMs) {
        tier.commit(entry, 0, Hash256.ZERO, -1, 0, expiryUnixMs);
    }

    private int store(final long number) {
        final int entry = reserve(number);
        write(entry, number);
        commit(entry, 0);
        return entry;
    }

    private String place(final int entry) {
        return tier.region(entry) + "/" + tier.slot(entry);
    }

    @Test
    void shouldBeReadableFromItsCommitOn() {
        final int entry = reserve(1);
        final ObjectId id = TestObjects.id(1);
        assertTrue(tier.isWriting(entry));
        assertFalse(isReadable(id));
        assertEquals(entry, tier.entry(table.find(id)), "it has its place");
        assertEquals(1, tier.stamp(entry) & 1, "an odd stamp while it is written");
        assertEquals(Set.of(), told.present);
        write(entry, 1);
        commit(entry, 0);
        assertEquals(Set.of(id), told.present);
        assertTrue(isReadable(id));
        assertEquals(0, tier.stamp(entry) & 1, "an even stamp once it is readable");
        assertEquals(LENGTH, tier.length(entry));
        assertEquals(id, table.id(tier.object(entry)));
        assertArrayEquals(TestObjects.bytes(1, LENGTH), read(entry));
        assertNotNull(tier.regionInfo(tier.region(entry)));
        assertTrue(tier.slot(entry) < tier.regionInfo(tier.region(entry)).slots());
        assertTrue(tier.slotBytes(entry) >= LENGTH);
    }

    @Test
    void shouldForgetWhatIsAborted() {
        final int entry = reserve(1);
        final int serial = tier.serial(entry);
        tier.abort(entry);
        assertEquals(ObjectTable.NONE, table.find(TestObjects.id(1)));
        assertFalse(tier.is(entry, serial));
        assertEquals(List.of(), told.left, "nobody heard that it came");
        assertTrue(told.freed > 0);
        store(1);
    }

    @Test
    void shouldTellThatAnObjectLeavesBeforeItsSlotIsAnothers() {
        final Map<String, ObjectId> owners = new HashMap<>();
        for (long number = 0; number < MANY; number++) {
            final int entry = reserve(number);
            final ObjectId before = owners.put(place(entry), TestObjects.id(number));
            assertTrue(before == null || told.left.contains(before), "a slot of what has not left: " + before);
            write(entry, number);
            commit(entry, 0);
        }
        assertTrue(told.left.size() > MANY / 2, "evicted: " + told.left.size());
        assertTrue(isReadable(TestObjects.id(MANY - 1)));
        assertEquals(told.present.size(), table.size(), "the table and what was told");
    }

    @Test
    void shouldGiveNoSlotAStampAgain() {
        final Map<String, Long> last = new HashMap<>();
        for (long number = 0; number < MANY; number++) {
            final int entry = reserve(number);
            final Long before = last.put(place(entry), tier.stamp(entry));
            assertTrue(before == null || before < tier.stamp(entry), "a stamp came again");
            write(entry, number);
            commit(entry, 0);
            last.put(place(entry), tier.stamp(entry));
        }
    }

    @Test
    void shouldKeepASlotAsLongAsSomebodyHoldsIt() {
        final int entry = store(1);
        final int serial = tier.serial(entry);
        final String place = place(entry);
        final long stamp = tier.stamp(entry);
        tier.hold(entry);
        tier.hold(entry);
        tier.dropOrCondemn(entry);
        assertEquals(List.of(TestObjects.id(1)), told.left, "it is a miss from now on");
        assertTrue(tier.isCondemned(entry));
        tier.unhold(entry);
        for (long number = 2; number < MANY; number++) {
            assertNotEquals(place, place(store(number)), "a slot that is held was given away");
        }
        assertTrue(tier.is(entry, serial));
        assertEquals(stamp, tier.stamp(entry));
        assertArrayEquals(TestObjects.bytes(1, LENGTH), read(entry));
        final int freed = told.freed;
        tier.unhold(entry);
        assertTrue(told.freed > freed);
        assertFalse(tier.is(entry, serial));
        assertEquals(ObjectTable.NONE, table.find(TestObjects.id(1)));
        assertEquals(1, told.left.stream().filter(TestObjects.id(1)::equals).count(), "told once");
    }

    @Test
    void shouldEvictNothingThatIsHeld() {
        final List<Integer> held = new ArrayList<>();
        long number = 0;
        for (int inVain = 0; inVain < TRIES / 4; ) {
            final int entry = tier.reserve(tenant, TestObjects.id(number), LENGTH, 0);
            if (entry < 0) {
                work();
                LockSupport.parkNanos(100_000);
                inVain++;
                continue;
            }
            inVain = 0;
            write(entry, number++);
            commit(entry, 0);
            tier.hold(entry);
            held.add(entry);
        }
        assertTrue((long) held.size() * LENGTH > CAPACITY / 2, "held: " + held.size());
        assertEquals(List.of(), told.left);
        for (int i = 0; i < held.size(); i++) {
            assertArrayEquals(TestObjects.bytes(i, LENGTH), read(held.get(i)));
        }
        assertTrue(tier.reserve(tenant, TestObjects.id(MANY), LENGTH, 0) < 0);
        held.forEach(tier::unhold);
        store(MANY);
        assertTrue(told.left.size() > 0);
    }

    @Test
    void shouldDropWhatHasExpired() {
        final int entry = reserve(1);
        write(entry, 1);
        commit(entry, clock.time() + 1_000);
        assertTrue(isReadable(TestObjects.id(1)));
        clock.update(clock.time() + 1_000);
        assertFalse(isReadable(TestObjects.id(1)));
        assertEquals(List.of(TestObjects.id(1)), told.left);
        assertEquals(ObjectTable.NONE, table.find(TestObjects.id(1)));
    }
}
