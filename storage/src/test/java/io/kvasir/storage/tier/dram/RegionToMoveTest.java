package io.kvasir.storage.tier.dram;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.StoreFixture;
import io.kvasir.storage.index.ObjectTable;
import io.kvasir.storage.index.SipHash;
import io.kvasir.storage.metrics.StorageCounters;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.Shard;
import io.kvasir.storage.object.TierKind;
import io.kvasir.storage.policy.LruPolicy;
import io.kvasir.storage.tenant.TenantAccounts;
import io.kvasir.storage.tier.TierListener;
import java.io.IOException;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.Map;
import java.util.Queue;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.Executors;
import java.util.zip.CRC32C;
import org.agrona.concurrent.SystemEpochClock;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Which region is given up for objects of another size while the SSD makes no progress. */
class RegionToMoveTest {
    private static final int MIB = 1 << 20;
    private static final int SMALL = 64 << 10;
    private static final int REGIONS = 4;
    private static final int IN_REGION = MIB / SMALL;
    private static final Shard SHARD = new Shard(0, 1, 0, 1, 0, 0, 1, 0, 1);
    private static final Hash256 NAMESPACE = new Hash256(1, 2, 3, 4);

    private final Queue<Runnable> completions = new ConcurrentLinkedQueue<>();
    private final Set<Long> durable = new HashSet<>();
    private final Set<Long> removed = new TreeSet<>();
    private boolean hasTierBelow = true;
    private Path root;
    private ObjectTable table;
    private DramTier tier;
    private TenantArena tenant;

    @BeforeEach
    void open() throws IOException {
        root = StoreFixture.arenaDirectory();
        table = new ObjectTable(DramTier.mostObjects((long) REGIONS * MIB), new SipHash(new Random(2)));
        final DramContext context = new DramContext(
                root,
                (long) REGIONS * MIB,
                MIB,
                (long) REGIONS * MIB,
                new TenantAccounts(Map.of(), MIB, MIB),
                LruPolicy::new,
                object -> durable.contains(table.id(object).key().a()),
                () -> hasTierBelow,
                () -> true,
                uses -> true,
                new Removals(),
                new NoEngines(),
                completions::add,
                SystemEpochClock.INSTANCE,
                new Random(1),
                Executors.newSingleThreadExecutor(),
                new StorageCounters());
        tier = new DramTier(context, table);
        tenant = tier.openTenant("tests", -1);
        for (int number = 0; number < REGIONS * IN_REGION; number++) {
            store(number, SMALL);
        }
    }

    @AfterEach
    void close() throws IOException {
        tier.close();
        table.close();
        StoreFixture.deleteAll(root);
    }

    /** In the order of the objects' numbers, so that the first region is the coldest. */
    private void store(final long number, final int length) {
        int entry = DramTier.NO_ROOM;
        for (int tries = 0; entry < 0 && tries < 10_000; tries++) {
            entry = tier.reserve(tenant, null, NAMESPACE, key(number), SHARD, length, 0, Eviction.ANYTHING);
            if (entry < 0) {
                tier.poll();
                java.util.concurrent.locks.LockSupport.parkNanos(100_000);
                for (Runnable task = completions.poll(); task != null; task = completions.poll()) {
                    task.run();
                }
            }
        }
        assertTrue(entry >= 0, "room for object " + number);
        final CRC32C crc = new CRC32C();
        crc.update(new byte[length]);
        tier.setCrc32c(entry, (int) crc.getValue());
        tier.commit(null, entry, Hash256.ZERO, -1, 0, 0);
    }

    private static Hash256 key(final long number) {
        return new Hash256(number, 0, 0, 0);
    }

    private void areDurable(final int from, final int end) {
        for (int number = from; number < end; number++) {
            durable.add((long) number);
        }
    }

    private static Set<Long> numbers(final int from, final int end) {
        final Set<Long> numbers = new TreeSet<>();
        for (long number = from; number < end; number++) {
            numbers.add(number);
        }
        return numbers;
    }

    @Test
    void shouldGiveUpWhatIsOnSsdBeforeWhatIsNowhereElse() {
        areDurable(2 * IN_REGION, 3 * IN_REGION);
        store(1000, MIB);
        assertEquals(numbers(2 * IN_REGION, 3 * IN_REGION), removed);
    }

    @Test
    void shouldLoseNothingWhereWhatIsOnSsdMakesEnoughSpace() {
        areDurable(IN_REGION, 2 * IN_REGION - 1);
        areDurable(2 * IN_REGION, 2 * IN_REGION + 3);
        store(1000, MIB);
        final Set<Long> expected = numbers(IN_REGION, 2 * IN_REGION - 1);
        expected.add(2L * IN_REGION);
        assertEquals(expected, removed);
        for (long number = 0; number < REGIONS * IN_REGION; number++) {
            assertEquals(expected.contains(number), tier.find(NAMESPACE, key(number), SHARD) == DramTier.NONE);
        }
        SlotShadow.compare(tier);
    }

    @Test
    void shouldLoseAsLittleAsItCan() {
        areDurable(IN_REGION, 2 * IN_REGION - 3);
        areDurable(2 * IN_REGION, 2 * IN_REGION + 2);
        store(1000, MIB);
        assertTrue(removed.size() <= IN_REGION + 2, "removed: " + removed);
        final Set<Long> lost = new TreeSet<>(removed);
        lost.removeAll(durable);
        assertTrue(lost.size() <= 3, "lost: " + lost);
    }

    @Test
    void shouldGiveUpTheColdestWhenThereIsNoTierBelow() {
        hasTierBelow = false;
        store(1000, MIB);
        assertEquals(numbers(0, IN_REGION), removed);
    }

    private final class Removals implements TierListener {
        @Override
        public void leaving(final TierKind tier, final String tenant, final ObjectId id, final int uses) {
            removed.add(id.key().a());
        }
    }
}
