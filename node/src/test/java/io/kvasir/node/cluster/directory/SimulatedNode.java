package io.kvasir.node.cluster.directory;

import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.HandDrivenWorker;
import io.kvasir.storage.Lent;
import io.kvasir.storage.Reception;
import io.kvasir.storage.StoreAgent;
import io.kvasir.storage.StoreContext;
import io.kvasir.storage.move.MovePriority;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.Shard;
import io.kvasir.storage.object.SlotStatus;
import io.kvasir.storage.object.TierKind;
import io.kvasir.storage.tenant.Tenant;
import io.kvasir.storage.tier.Holdings;
import io.kvasir.storage.tier.remote.RemoteTier;
import io.kvasir.storage.tier.ssd.SsdTier;
import io.kvasir.storage.tier.ssd.StoredObject;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.zip.CRC32C;

/**
 * A node of a {@link NodesSimulation}: the real store with DRAM and SSD, the real announcer and locator. What the
 * simulation stands in for is the link to other nodes: a pull is a pin at the holder, two delays and a receive, and may be
 * lost or damaged.
 *
 * <p>The SSD tier has threads of its own. After each step the node waits until they have done all that they were asked.
 */
final class SimulatedNode implements RemoteTier, Holdings {
    /** From when a slot is reserved until it is quarantined. */
    static final long RESERVE_NS = 5_000_000_000L;

    private static final long MS = 1_000_000;
    private static final long LOOKED_UP_NS = 20 * MS;
    private static final long PULL_NS = 200 * MS;
    private static final long BOUND_NS = TimeUnit.SECONDS.toNanos(30);
    private static final int KIB = 1024;

    final long holder;
    final StoreAgent store;
    final Tenant tenant;
    final Announcer announcer;
    final List<SimulatedProcess> processes = new ArrayList<>();
    /** Their connection is gone, their process is not. */
    final List<SimulatedProcess> silent = new ArrayList<>();
    /** What the store said that it holds, by object. */
    final Map<Integer, Set<TierKind>> held = new TreeMap<>();
    /** The newest stamp of each slot that was reserved here. */
    final Map<Long, Long> stamps = new TreeMap<>();

    int waits;
    int woken;
    private final NodesSimulation world;
    private final Locator locator;
    private final List<HandDrivenWorker> workers = new ArrayList<>();
    private boolean alive = true;

    private record Copy(long holder, long bytes) implements Copies {}

    SimulatedNode(final NodesSimulation world, final long holder, final Path directory) throws IOException {
        this.world = world;
        this.holder = holder;
        final DirectoryCounters counters = new DirectoryCounters();
        announcer = new Announcer(
                holder,
                1024,
                new Announcer.Limits(100_000, 2 * MS, 500 * MS, 20 * MS),
                world.cluster.clock(),
                Runnable::run,
                counters);
        locator = new Locator(
                world.cluster.clock(),
                Runnable::run,
                other -> other != holder && world.nodes.containsKey(other),
                LOOKED_UP_NS,
                counters);
        store = new StoreAgent(new StoreContext()
                .dramDirectory(directory.resolve("arena"))
                .dramCapacity(1 << 20)
                .regionBytes(64 * KIB)
                .ssd(new SsdTier.Context()
                        .directory(directory.resolve("ssd"))
                        .capacityBytes(16 << 20)
                        .extentBytes(1 << 20)
                        .directIo(false)
                        .readThreads(1))
                .ssdInFlight(world.ssdInFlight)
                .reserveDeadline(Duration.ofNanos(RESERVE_NS))
                .policy(() -> world.policy.create())
                .holdings(this)
                .remote(this)
                .clock(() -> 1_000_000_000_000L + world.cluster.clock().nanoTime() / MS)
                .nanoClock(world.cluster.clock())
                .random(world.cluster.random.split())
                .workers(name -> {
                    final HandDrivenWorker worker = new HandDrivenWorker();
                    workers.add(worker);
                    return worker;
                }));
        tenant = store.engines().openTenant("tests", -1);
        assertTrue(store.engines().rememberNamespace(SimulatedObjects.NAMESPACE, tenant.name(), new byte[0]));
        // Recovery runs on a thread of its own: what it finds is taken in when all of it is there.
        assertTrue(store.admin().ssd().awaitWarm(BOUND_NS), "the SSD tier does not open");
        until("the SSD tier is warm", store.admin()::isSsdWarm);
        for (int i = 0; i < 2; i++) {
            processes.add(new SimulatedProcess(store, tenant));
        }
        announcer.joined(world.cluster, new long[0]);
    }

    private void until(final String what, final java.util.function.BooleanSupplier condition) {
        final long end = System.nanoTime() + BOUND_NS;
        while (!condition.getAsBoolean()) {
            if (store.doWork() == 0) {
                LockSupport.parkNanos(20_000);
            }
            assertTrue(
                    System.nanoTime() - end < 0,
                    what + ": not within 30 s; " + store.admin().describe());
        }
    }

    /** One round of everything that the node's threads do. */
    void work() {
        announcer.doWork();
        locator.doWork();
        store.doWork();
        settle();
    }

    /** One task of one of the store's slow threads. */
    void background() {
        workers.get(world.cluster.random.nextInt(workers.size())).runOne();
    }

    void allBackground() {
        workers.forEach(worker -> {
            while (worker.runOne()) {
                // Until there is nothing left.
            }
        });
    }

    /** Waits until the SSD's threads have answered all that the store asked of them. */
    void settle() {
        if (store.admin().ssdInFlight() > 0) {
            assertTrue(store.admin().ssd().flush(BOUND_NS), "writes to the SSD do not end");
            until("the SSD has answered", () -> store.admin().ssdInFlight() == 0);
        }
    }

    /** Killed: what it was doing for others is never finished. */
    void kill() {
        alive = false;
        store.shutdown(BOUND_NS);
    }

    // ---- what the store says

    @Override
    public void held(
            final ObjectId id, final TierKind tier, final long length, final Hash256 parent, final int chunkIndex) {
        held.computeIfAbsent(SimulatedObjects.number(id), object -> EnumSet.noneOf(TierKind.class))
                .add(tier);
        announcer.held(id, tier, length, parent, chunkIndex);
    }

    @Override
    public void gone(final ObjectId id, final TierKind tier) {
        held.computeIfPresent(SimulatedObjects.number(id), (object, tiers) -> {
            tiers.remove(tier);
            return tiers.isEmpty() ? null : tiers;
        });
        announcer.gone(id, tier);
    }

    @Override
    public void lost(final TierKind tier) {
        throw new AssertionError("the tier is out of use: " + tier);
    }

    // ---- other nodes, as the store sees them

    @Override
    public boolean isOpen() {
        return true;
    }

    @Override
    public long expectedNs(final Copies copies) {
        return 0;
    }

    @Override
    public int doWork(final long nowNs) {
        return 0;
    }

    @Override
    public void locate(
            final Hash256 namespace,
            final byte[] keys,
            final int from,
            final List<Shard> shards,
            final boolean sparse,
            final Finding finding) {
        locator.locate(world.cluster, namespace, keys, from, sparse, new Locator.Answer() {
            @Override
            public void found(final int chunk, final long other, final Entry.Reader record, final int member) {
                assertTrue(world.nodes.containsKey(other), "a holder that is gone was named");
                for (int i = 0; alive && i < record.shards(); i++) {
                    if (record.inDram(member, i) || record.onSsd(member, i)) {
                        finding.found(chunk, 0, new Copy(other, record.shardBytes(i)));
                    }
                }
            }

            @Override
            public void done(final boolean complete) {
                if (alive) {
                    finding.done(complete);
                }
            }
        });
    }

    @Override
    public void pull(final Tenant to, final List<? extends Wanted> objects) {
        for (final Wanted wanted : objects) {
            final Pull pull = new Pull(wanted);
            world.cluster.after(world.delay(), pull::ask);
            world.cluster.after(PULL_NS, () -> pull.end(false));
        }
    }

    private final class Pull {
        private final Wanted wanted;
        private boolean over;

        Pull(final Wanted wanted) {
            this.wanted = wanted;
        }

        private void end(final boolean here) {
            if (!over && alive) {
                over = true;
                wanted.ended(here);
            }
        }

        private void ask() {
            final SimulatedNode source = world.nodes.get(((Copy) wanted.copies()).holder);
            if (source != null && !world.fault()) {
                source.store
                        .peers()
                        .lend(
                                wanted.id(),
                                MovePriority.LOAD,
                                world.cluster.clock().nanoTime() + PULL_NS,
                                this::answer);
            }
        }

        private void answer(final Lent lent) {
            if (lent == null) {
                world.cluster.after(world.delay(), () -> end(false));
                return;
            }
            final StoredObject object = lent.object();
            final byte[] bytes = new byte[Math.toIntExact(object.length())];
            try (Arena arena = Arena.ofConfined()) {
                final MemorySegment copy = arena.allocate(bytes.length);
                lent.read(0, copy);
                MemorySegment.copy(copy, 0, MemorySegment.ofArray(bytes), 0, bytes.length);
            }
            assertTrue(lent.isUnchanged(), "a pinned object has changed");
            lent.giveBack();
            if (world.fault()) {
                bytes[world.cluster.random.nextInt(bytes.length)] ^= 1;
            }
            world.cluster.after(world.delay(), () -> receive(object, bytes));
        }

        private void receive(final StoredObject object, final byte[] bytes) {
            if (over || !alive) {
                return;
            }
            final CRC32C crc = new CRC32C();
            crc.update(bytes);
            if ((int) crc.getValue() != object.crc32c()) {
                end(false);
                return;
            }
            final Reception reception = store.peers().receive(tenant, wanted.id(), object, true, true);
            if (reception.status() == SlotStatus.GRANTED) {
                try (Arena arena = Arena.ofConfined()) {
                    final MemorySegment copy = arena.allocate(bytes.length);
                    copy.copyFrom(MemorySegment.ofArray(bytes));
                    reception.slot().write(0, copy);
                }
                reception.slot().commit();
            }
            end(reception.status() == SlotStatus.GRANTED || reception.status() == SlotStatus.EXISTS);
        }
    }
}
