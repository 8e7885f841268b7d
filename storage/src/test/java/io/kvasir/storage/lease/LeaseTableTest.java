package io.kvasir.storage.lease;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import io.kvasir.storage.HandDrivenWorker;
import io.kvasir.storage.budget.StoreLimits;
import io.kvasir.storage.tenant.TenantAccount;
import io.kvasir.storage.tenant.TenantAccounts;
import io.kvasir.storage.tenant.TenantShare;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import org.junit.jupiter.api.Test;

/** Leases over entries that are only numbers, beside a reference that keeps them as lists. */
class LeaseTableTest {
    private static final int ENTRIES = 60;
    private static final long SLOT = 10;
    private static final long DRAM = 1000;
    private static final int NONE = LeaseTable.NONE;
    private static final int[] ALL_SHARDS = {};

    private final Map<Integer, Integer> holds = new HashMap<>();
    private final LeaseTable.Slots slots = new LeaseTable.Slots() {
        @Override
        public long slotBytes(final int entry) {
            return SLOT;
        }

        @Override
        public void hold(final int entry) {
            holds.merge(entry, 1, Integer::sum);
        }

        @Override
        public void unhold(final int entry) {
            assertTrue(holds.containsKey(entry), "held");
            holds.computeIfPresent(entry, (key, count) -> count == 1 ? null : count - 1);
        }
    };

    private static TenantAccount tenant(final long min, final long minOfOthers) {
        final Map<String, TenantShare> shares = new HashMap<>();
        shares.put("ours", new TenantShare(min, Long.MAX_VALUE, 0, Long.MAX_VALUE, Integer.MAX_VALUE));
        shares.put("others", new TenantShare(minOfOthers, Long.MAX_VALUE, 0, Long.MAX_VALUE, Integer.MAX_VALUE));
        return new TenantAccounts(shares, DRAM, SLOT).of("ours");
    }

    private static TenantAccount tenant() {
        return tenant(0, 0);
    }

    private LeaseTable table(final int cells, final long all, final long session) {
        return new LeaseTable(
                slots,
                cells,
                all,
                session,
                0x1234_5678_9abc_def0L,
                new TimerWheel(0),
                new HandDrivenWorker(),
                Runnable::run,
                () -> 0);
    }

    private static long lease(
            final LeaseTable table, final SessionLeases session, final int shards, final int... entries) {
        assertTrue(fits(table, session, entries));
        assertTrue(table.hasSpace(session, entries.length, shards));
        final int lease = table.begin(session, entries.length, shards, claim(table, session, entries), 100);
        for (final int entry : entries) {
            table.add(lease, entry);
        }
        return table.seal(lease);
    }

    private static long claim(final LeaseTable table, final SessionLeases session, final int... entries) {
        return IntStream.of(entries)
                .filter(entry -> entry != NONE)
                .mapToLong(entry -> table.chargedBytes(session, entry))
                .sum();
    }

    private static boolean fits(final LeaseTable table, final SessionLeases session, final int... entries) {
        final long more = IntStream.of(entries)
                .filter(entry -> entry != NONE)
                .mapToLong(table::newlyChargedBytes)
                .sum();
        return claim(table, session, entries) <= table.leasableBytes(session)
                && more <= table.newlyLeasableBytes(session);
    }

    private static List<Integer> cells(final LeaseTable table, final SessionLeases session, final long id) {
        final List<Integer> found = new ArrayList<>();
        final LeaseReading reading = table.reading(session, id);
        while (!reading.read(7, found::add)) {
            // Goes on where it stopped.
        }
        return found;
    }

    private static final class Reference {
        final SessionLeases session;
        final long id;
        final int shards;
        final int[] entries;
        final boolean[] released;
        long expiresNs = 100;

        Reference(final SessionLeases session, final long id, final int shards, final int[] entries) {
            this.session = session;
            this.id = id;
            this.shards = shards;
            this.entries = entries;
            released = new boolean[shards];
        }

        boolean release(final int[] named) {
            for (final int shard :
                    named.length == 0 ? IntStream.range(0, shards).toArray() : named) {
                released[shard] = true;
            }
            for (int i = 0; i < entries.length; i++) {
                if (released[i % shards]) {
                    entries[i] = NONE;
                }
            }
            return IntStream.range(0, shards).allMatch(shard -> released[shard]);
        }
    }

    /** Sessions of two tenants grant, renew, release and end; what is to be given back later is so in small parts. */
    @Property(tries = 300)
    void keepsAndCountsWhatALeaseHas(@ForAll final long seed) {
        holds.clear();
        final SplittableRandom random = new SplittableRandom(seed);
        final TenantAccounts accounts = new TenantAccounts(Map.of(), DRAM, SLOT);
        try (LeaseTable table = table(2000, DRAM * 3 / 4, DRAM / 2)) {
            final List<SessionLeases> sessions = new ArrayList<>();
            final List<Reference> leases = new ArrayList<>();
            long nowNs = 0;
            for (int step = 0; step < 200; step++) {
                if (sessions.size() < 4) {
                    final SessionLeases opened = table.open(accounts.of(random.nextBoolean() ? "a" : "b"));
                    table.join(opened, step, Path.of("of a process that is never asked"));
                    sessions.add(opened);
                }
                final SessionLeases session = sessions.get(random.nextInt(sessions.size()));
                final Reference one = leases.isEmpty() ? null : leases.get(random.nextInt(leases.size()));
                switch (random.nextInt(one == null ? 3 : 7)) {
                    case 0, 1 -> {
                        final int shards = 1 + random.nextInt(random.nextInt(8) == 0 ? 70 : 3);
                        // An object is one tenant's.
                        final int first = session.tenant.number() * ENTRIES;
                        final int[] entries = random.ints((1 + random.nextInt(40)) * (long) shards, NONE, ENTRIES)
                                .map(entry -> entry == NONE ? NONE : first + entry)
                                .toArray();
                        if (fits(table, session, entries) && table.hasSpace(session, entries.length, shards)) {
                            leases.add(new Reference(session, lease(table, session, shards, entries), shards, entries));
                        }
                    }
                    case 2 -> table.doWork(1 + random.nextInt(30));
                    case 3 -> {
                        final int[] named = random.nextBoolean()
                                ? ALL_SHARDS
                                : random.ints(1 + random.nextInt(3), 0, one.shards)
                                        .toArray();
                        assertTrue(table.release(one.session, one.id, named));
                        if (one.release(named)) {
                            leases.remove(one);
                            assertFalse(table.release(one.session, one.id, named), "it has ended");
                        }
                    }
                    case 4 -> {
                        final long until = nowNs + random.nextInt(200);
                        final boolean valid = one.expiresNs > nowNs;
                        assertEquals(valid, table.renew(one.session, one.id, until, nowNs));
                        one.expiresNs = valid ? Math.max(one.expiresNs, until) : one.expiresNs;
                        assertEquals(valid, table.findValid(one.session, one.id, nowNs) != NONE);
                    }
                    case 5 -> nowNs += random.nextInt(50);
                    default -> {
                        if (random.nextInt(4) == 0) {
                            sessions.remove(session);
                            table.close(session);
                            table.attachmentEnded(attachment(session));
                            leases.removeIf(lease -> lease.session == session);
                        }
                    }
                }
                check(table, leases);
            }
            sessions.forEach(session -> {
                table.close(session);
                table.attachmentEnded(attachment(session));
            });
            while (table.doWork(1 + random.nextInt(30)) > 0) {
                // To the end.
            }
            assertEquals(0, table.count());
            assertEquals(0, table.heldBytes());
            assertEquals(Map.of(), holds);
            for (final TenantAccount account : accounts.all()) {
                assertEquals(0, account.leasedBytes());
                assertEquals(0, account.leases());
                assertEquals(0, account.leaseNumbers());
            }
        }
    }

    private static long attachment(final SessionLeases session) {
        return session.processes.keySet().iterator().nextLong();
    }

    private void check(final LeaseTable table, final List<Reference> leases) {
        for (final Reference lease : leases) {
            assertEquals(
                    IntStream.of(lease.entries).boxed().toList(), cells(table, lease.session, lease.id), "its cells");
            IntStream.of(lease.entries)
                    .filter(entry -> entry != NONE)
                    .forEach(entry -> assertTrue(holds.containsKey(entry), "leased, and not held"));
        }
        assertTrue(holds.values().stream().allMatch(count -> count == 1), "held once for all leases");
        assertEquals(holds.size() * SLOT, table.heldBytes());
        assertTrue(table.heldBytes() <= DRAM * 3 / 4, "the bound of all");
    }

    @Test
    void shouldCountBytesOnceThatASessionLeasesTwice() {
        try (LeaseTable table = table(1000, DRAM, DRAM / 2)) {
            final SessionLeases session = table.open(tenant());
            final long first = lease(table, session, 1, 1, 2, 3);
            final long left = table.leasableBytes(session);
            final long second = lease(table, session, 1, 1, 2, 3);
            assertNotEquals(first, second);
            assertEquals(left, table.leasableBytes(session));
            assertEquals(3 * SLOT, table.heldBytes());
            table.release(session, first, ALL_SHARDS);
            assertEquals(Map.of(1, 1, 2, 1, 3, 1), holds, "the other lease has them still");
            assertEquals(List.of(1, 2, 3), cells(table, session, second));
            table.release(session, second, ALL_SHARDS);
            assertEquals(DRAM / 2, table.leasableBytes(session));
            assertEquals(Map.of(), holds);
        }
    }

    @Test
    void shouldKeepEachOfTheThreeBounds() {
        try (LeaseTable table = table(1000, 600, 300)) {
            final TenantAccount tenant = tenant(0, 500);
            final SessionLeases one = table.open(tenant);
            final SessionLeases two = table.open(tenant);
            final SessionLeases three = table.open(new TenantAccounts(Map.of(), DRAM, SLOT).of("third"));
            lease(table, one, 1, IntStream.range(0, 30).toArray());
            assertEquals(0, table.leasableBytes(one), "a session's 300");
            assertEquals(200, table.newlyLeasableBytes(two), "its tenant's 500");
            assertEquals(300, table.newlyLeasableBytes(three), "all have 600");
            lease(table, three, 1, IntStream.range(30, 55).toArray());
            assertEquals(50, table.newlyLeasableBytes(two), "what is left of 600");
            lease(table, two, 1, IntStream.range(0, 30).toArray());
            assertEquals(0, table.leasableBytes(two), "a session's 300, whoever leased them before");
            assertEquals(50, table.newlyLeasableBytes(two), "what another session has leased counts once");
        }
    }

    /** What a lookup is not charged for may be given back by its session before that lookup has leased it. */
    @Test
    void shouldKeepTheBoundOfAllWhenWhatCostsNothingIsGivenBackMeanwhile() {
        try (LeaseTable table = table(1000, 100, 100)) {
            final SessionLeases one = table.open(tenant());
            final SessionLeases two = table.open(one.tenant);
            final int[] all = IntStream.range(0, 10).toArray();
            final long first = lease(table, one, 1, all);
            assertEquals(0, table.newlyLeasableBytes(two));
            assertTrue(fits(table, two, all), "it costs nothing");
            final int lease = table.begin(two, all.length, 1, claim(table, two, all), 100);
            table.release(one, first, ALL_SHARDS);
            assertEquals(0, table.heldBytes());
            assertEquals(0, table.newlyLeasableBytes(one), "it is claimed");
            for (final int entry : all) {
                table.add(lease, entry);
            }
            table.seal(lease);
            assertEquals(100, table.heldBytes());
        }
    }

    @Test
    void shouldLeaveATenantWhatItIsGuaranteed() {
        try (LeaseTable table = table(1000, 600, 600)) {
            final Map<String, TenantShare> shares =
                    Map.of("small", new TenantShare(200, Long.MAX_VALUE, 0, Long.MAX_VALUE, Integer.MAX_VALUE));
            final TenantAccounts accounts = new TenantAccounts(shares, DRAM, SLOT);
            final SessionLeases greedy = table.open(accounts.of("greedy"));
            final SessionLeases small = table.open(accounts.of("small"));
            lease(table, greedy, 1, IntStream.range(0, 60).toArray());
            assertEquals(0, table.newlyLeasableBytes(greedy));
            assertEquals(200, table.newlyLeasableBytes(small));
        }
    }

    /** However many tiny leases one session takes, and however many sessions its tenant has. */
    @Test
    void shouldKeepMemoryForOthers() {
        try (LeaseTable table = table(300_000, Long.MAX_VALUE, Long.MAX_VALUE)) {
            final TenantAccount greedy = tenant();
            for (int i = 0; i < 40; i++) {
                final SessionLeases session = table.open(greedy);
                for (int n = 0; n < StoreLimits.LEASES && table.hasSpace(session, 1, 1); n++) {
                    lease(table, session, 1, 1);
                }
            }
            assertTrue(table.count() >= StoreLimits.LEASES * 3 / 4 - 1, "they are of use");
            assertTrue(table.count() <= StoreLimits.LEASES * 3 / 4, "a tenant's part");
            final SessionLeases other = table.open(new TenantAccounts(Map.of(), DRAM, SLOT).of("other"));
            assertTrue(table.hasSpace(other, 4096, 1));
        }
    }

    @Test
    void shouldGiveBackAWideLeaseInParts() {
        try (LeaseTable table = table(300_000, Long.MAX_VALUE, Long.MAX_VALUE)) {
            final SessionLeases session = table.open(tenant());
            final SessionLeases other = table.open(tenant());
            final long id = lease(table, session, 1, IntStream.range(0, 131_072).toArray());
            final long beside =
                    lease(table, other, 1, IntStream.range(131_072, 140_000).toArray());
            assertTrue(table.release(session, id, ALL_SHARDS));
            assertTrue(table.release(other, beside, ALL_SHARDS));
            assertEquals(NONE, table.find(session, id), "nobody's at once");
            assertTrue(holds.size() > 137_000, "a call gives back a part");
            assertTrue(table.doWork(1000) <= 1000);
            assertFalse(table.letGo(session, 1000));
            int rounds = 0;
            while (!table.letGo(other, 1000)) {
                assertTrue(++rounds < 20, "others wait for nobody's lease");
            }
            while (table.doWork(1000) > 0) {
                // To the end.
            }
            assertEquals(0, table.count());
            assertEquals(Map.of(), holds);
        }
    }

    /** A lookup in slices is granted its cells bit by bit, and nobody takes meanwhile what it was promised. */
    @Test
    void shouldClaimBytesUntilItIsSealed() {
        try (LeaseTable table = table(1000, DRAM, 100)) {
            final SessionLeases session = table.open(tenant());
            final int lease = table.begin(session, 8, 1, 80, 100);
            assertEquals(20, table.leasableBytes(session));
            table.add(lease, 1);
            table.add(lease, 1);
            assertEquals(20, table.leasableBytes(session));
            table.abandon(lease);
            assertEquals(100, table.leasableBytes(session));
            assertEquals(0, table.count());
            final int again = table.begin(session, 3, 1, 30, 100);
            table.add(again, 1);
            table.close(session);
            table.add(again, 2);
            table.add(again, NONE);
            table.seal(again);
            table.doWork(100);
            assertEquals(0, table.count(), "its session had gone");
            assertEquals(Map.of(), holds);
        }
    }

    @Test
    void shouldNotShortenALeaseByRenewingIt() {
        try (LeaseTable table = table(1000, DRAM, DRAM)) {
            final SessionLeases session = table.open(tenant());
            final long id = lease(table, session, 1, 1);
            assertTrue(table.renew(session, id, 50, 10));
            assertEquals(100, table.expiresNs(table.findValid(session, id, 60)));
            assertTrue(table.renew(session, id, 150, 60));
            assertNotEquals(NONE, table.findValid(session, id, 149));
            assertFalse(table.renew(session, id, 300, 150), "its time is over");
        }
    }

    @Test
    void shouldKnowNoLeaseOfAnotherSession() {
        try (LeaseTable table = table(1000, DRAM, DRAM)) {
            final SessionLeases session = table.open(tenant());
            final SessionLeases other = table.open(tenant());
            final long id = lease(table, session, 1, 1);
            assertEquals(NONE, table.find(other, id));
            assertFalse(table.release(other, id, ALL_SHARDS));
            for (long any = id - 200_000; any < id + 200_000; any++) {
                assertTrue(any == id || table.find(session, any) == NONE);
            }
            assertEquals(NONE, table.find(session, 0));
        }
    }

    @Test
    void shouldTakeNoHeapForALease() {
        try (LeaseTable table = table(1000, Long.MAX_VALUE, Long.MAX_VALUE)) {
            final SessionLeases session = table.open(tenant());
            final LeaseTable unheld = table;
            final int[] entries = IntStream.range(0, 100).toArray();
            for (int i = 0; i < 20_000; i++) {
                grantAndRelease(unheld, session, entries);
            }
            final ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
            holds.clear();
            long least = Long.MAX_VALUE;
            for (int round = 0; round < 20; round++) {
                final long before = threads.getCurrentThreadAllocatedBytes();
                grantAndRelease(unheld, session, entries);
                least = Math.min(least, threads.getCurrentThreadAllocatedBytes() - before);
            }
            assertTrue(least < 100L * Long.BYTES * 20, "bytes of a lease: " + least);
        }
    }

    private static void grantAndRelease(final LeaseTable table, final SessionLeases session, final int[] entries) {
        final int lease = table.begin(session, entries.length, 1, 0, 100);
        for (final int entry : entries) {
            table.add(lease, entry);
        }
        table.release(session, table.seal(lease), ALL_SHARDS);
    }
}
