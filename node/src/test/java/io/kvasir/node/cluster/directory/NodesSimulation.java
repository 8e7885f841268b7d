package io.kvasir.node.cluster.directory;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.lookup.LookupAnswer;
import io.kvasir.storage.lookup.LookupQuery;
import io.kvasir.storage.object.RegionInfo;
import io.kvasir.storage.object.SlotRecord;
import io.kvasir.storage.object.SlotStatus;
import io.kvasir.storage.policy.PolicyKind;
import io.kvasir.storage.tier.ReservedSlots;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;

/**
 * Three nodes with DRAM, SSD, leases, slots and the directory between them, on one clock and one seed: engines reserve,
 * commit, look up, lease, die and fall silent at each of them; lookups pull from other nodes; messages are lost and late,
 * directory entries vanish, nodes are killed and start again on what they left.
 *
 * <p>What must hold: a hit has the bytes of its key, whichever tier or node they came from; what is leased stays; a slot
 * has one owner, and its stamp never comes again; a restart loses nothing; requests that wait are woken; when the faults
 * end, the directory says exactly what the stores hold; in the end nothing is left leased, reserved, held or listed.
 */
final class NodesSimulation implements AutoCloseable {
    private static final long MS = 1_000_000;
    private static final int NODES = 3;
    /** Of a thousand messages, so many meet a fault. */
    private static final int FAULTY = 100;

    private static final long LEASE_NS = TimeUnit.SECONDS.toNanos(30);
    private static final int ROUNDS = 4000;
    private static final byte[] NO_BYTES = {};
    private static final int[] NO_INTS = {};

    final SimulatedCluster cluster;
    final PolicyKind policy;
    /** As {@code StoreContext#ssdInFlight} takes it. */
    final long ssdInFlight;
    /** By holder: another one for each life of a node. */
    final Map<Long, SimulatedNode> nodes = new TreeMap<>();

    private final Path directory;
    private final Map<Long, Integer> places = new HashMap<>();
    private final Set<Integer> committed = new HashSet<>();
    private long nextHolder = 1;
    private long trace;
    private long hits;
    private long fromSsd;
    private long pulled;
    private long restarts;
    private long late;

    /**
     * @param inTurn each node's SSD has one copy on its way at a time, so that its threads answer in one order: then a run
     *     follows from the seed alone
     */
    NodesSimulation(final long seed, final Path directory, final boolean inTurn) throws IOException {
        this.directory = directory;
        ssdInFlight = inTurn ? 1 : 0;
        cluster = new SimulatedCluster(seed);
        policy = List.of(PolicyKind.values()).get(cluster.random.nextInt(PolicyKind.values().length));
        for (int place = 0; place < NODES; place++) {
            start(place);
        }
    }

    private void start(final int place) throws IOException {
        final long holder = nextHolder++;
        places.put(holder, place);
        nodes.put(holder, new SimulatedNode(this, holder, directory.resolve("node-" + place)));
    }

    long delay() {
        return cluster.random.nextLong(100_000, 2 * MS);
    }

    boolean fault() {
        final boolean met = cluster.random.nextInt(1000) < cluster.faulty;
        cluster.faults += met ? 1 : 0;
        return met;
    }

    /** Equal for two runs of one seed. */
    long trace() {
        return trace;
    }

    private void trace(final long value) {
        trace = (trace ^ value) * 0x9e3779b97f4a7c15L;
        trace ^= trace >>> 29;
    }

    /** How often what a simulation is for has happened, by name. */
    Map<String, Long> seen() {
        return new TreeMap<>(Map.of(
                "hits", hits,
                "promoted", fromSsd,
                "pulled", pulled,
                "writers too late", late,
                "restarts", restarts,
                "faults", cluster.faults));
    }

    // ---- steps

    void step() throws IOException {
        cluster.faulty = FAULTY;
        final List<SimulatedNode> all = List.copyOf(nodes.values());
        final SimulatedNode node = all.get(cluster.random.nextInt(all.size()));
        final SimulatedProcess process = node.processes.get(cluster.random.nextInt(node.processes.size()));
        // Few chains are asked for often, the others seldom.
        final int chains = SimulatedObjects.COUNT / SimulatedObjects.CHAIN;
        final int chain = cluster.random.nextInt(cluster.random.nextInt(chains) + 1);
        final int object = chain * SimulatedObjects.CHAIN + cluster.random.nextInt(SimulatedObjects.CHAIN);
        final int dice = cluster.random.nextInt(1000);
        trace(dice);
        if (dice < 100) {
            compute(node, process, chain);
        } else if (dice < 250) {
            reserve(node, process, object);
        } else if (dice < 450) {
            commit(node, process, any(process));
        } else if (dice < 480) {
            abort(node, process);
        } else if (dice < 800) {
            load(node, process, chain, dice < 600);
        } else if (dice < 850) {
            release(node, process);
        } else if (dice < 880) {
            renew(node, process);
        } else if (dice < 950) {
            node.background();
        } else if (dice < 970) {
            cluster.sweep(nodes::containsKey, announcers());
        } else if (dice < 980) {
            depart(node, process, dice < 975);
        } else if (dice < 985) {
            end(node);
        } else if (dice < 988) {
            cluster.loseSome();
        } else if (dice < 990) {
            node.announcer.joined(cluster, new long[0]);
        } else if (dice < 991) {
            restart(node);
        } else {
            cluster.pass(cluster.random.nextLong(500 * MS));
        }
        nodes.values().forEach(SimulatedNode::settle);
        cluster.pass(cluster.random.nextLong(3 * MS));
        for (final SimulatedNode each : nodes.values()) {
            each.work();
            assertTrue(
                    each.store.admin().dramUsedBytes() <= each.store.admin().dramCapacityBytes(), "capacity of DRAM");
            assertTrue(
                    each.store.admin().ssd().usedBytes()
                            <= each.store.admin().ssd().capacityBytes(),
                    "capacity of the SSD");
            trace(each.store.admin().dramUsedBytes() * 31
                    + each.store.admin().ssd().objects());
        }
    }

    private Map<Long, Announcer> announcers() {
        final Map<Long, Announcer> all = new HashMap<>();
        nodes.forEach((holder, node) -> all.put(holder, node.announcer));
        return all;
    }

    private static ReservedSlots tryReserve(
            final SimulatedNode node, final SimulatedProcess process, final int object) {
        return node.store
                .engines()
                .reserve(
                        process.attachment,
                        SimulatedObjects.NAMESPACE,
                        SimulatedObjects.SHARD,
                        SimulatedObjects.keys(object, 1),
                        new long[] {SimulatedObjects.content(object).length},
                        0);
    }

    private void reserve(final SimulatedNode node, final SimulatedProcess process, final int object) {
        final byte[] slots = tryReserve(node, process, object).slots();
        final byte status = slots[SlotRecord.STATUS];
        trace(status);
        if (status == SlotStatus.GRANTED) {
            claim(node, slots);
            process.reserved.put(
                    object,
                    new SimulatedProcess.Reserved(slots, cluster.clock().nanoTime() + SimulatedNode.RESERVE_NS));
        } else if (status == SlotStatus.EXISTS) {
            assertTrue(committed.contains(object), "what exists was committed");
        } else if (status == SlotStatus.NO_ROOM) {
            node.waits++;
            assertTrue(node.store.engines().whenRoom(0, () -> node.woken++) != 0);
        }
    }

    /** The slot is nobody else's, and its stamp is newer than any before. */
    private static void claim(final SimulatedNode node, final byte[] slots) {
        final long place = place(SimulatedProcess.record(slots, 0));
        for (final List<SimulatedProcess> some : List.of(node.processes, node.silent)) {
            for (final SimulatedProcess other : some) {
                for (final SimulatedProcess.Reserved theirs : other.reserved.values()) {
                    assertTrue(
                            place != place(SimulatedProcess.record(theirs.slots(), 0)),
                            "a reserved slot was given away");
                }
                for (final SimulatedProcess.Leased theirs : other.leased) {
                    for (int i = 0; i < theirs.count(); i++) {
                        assertTrue(
                                place != place(SimulatedProcess.record(theirs.slots(), i)),
                                "a leased slot was given away");
                    }
                }
            }
        }
        final Long before =
                node.stamps.put(place, SimulatedProcess.record(slots, 0).getLong(SlotRecord.STAMP));
        assertTrue(before == null || before < node.stamps.get(place), "a stamp came again");
    }

    private static long place(final ByteBuffer record) {
        return (long) record.getInt(SlotRecord.REGION) << 32 | record.getInt(SlotRecord.SLOT);
    }

    private int any(final SimulatedProcess process) {
        final List<Integer> mine = List.copyOf(process.reserved.keySet());
        return mine.isEmpty() ? -1 : mine.get(cluster.random.nextInt(mine.size()));
    }

    /** An engine stores a chain at once, as after a prefill: what is there already or has no space is left out. */
    private void compute(final SimulatedNode node, final SimulatedProcess process, final int chain) throws IOException {
        for (int i = 0; i < SimulatedObjects.CHAIN; i++) {
            final int object = chain * SimulatedObjects.CHAIN + i;
            if (!process.reserved.containsKey(object)) {
                reserve(node, process, object);
                commit(node, process, process.reserved.containsKey(object) ? object : -1);
            }
        }
    }

    private void commit(final SimulatedNode node, final SimulatedProcess process, final int object) throws IOException {
        if (object >= 0) {
            final SimulatedProcess.Reserved reserved = process.reserved.remove(object);
            final byte[] slots = reserved.slots();
            final ByteBuffer record = SimulatedProcess.record(slots, 0);
            process.write(region(node, record), record, SimulatedObjects.content(object));
            final byte[] status = node.store
                    .engines()
                    .commit(
                            process.attachment,
                            slots,
                            SimulatedObjects.parent(object),
                            NO_BYTES,
                            new int[] {object % SimulatedObjects.CHAIN},
                            0,
                            0);
            trace(status[0]);
            if (status[0] == SlotStatus.COMMITTED) {
                committed.add(object);
            } else {
                assertTooLate(reserved, status[0]);
            }
        }
    }

    private void abort(final SimulatedNode node, final SimulatedProcess process) {
        final int object = any(process);
        if (object >= 0) {
            final SimulatedProcess.Reserved reserved = process.reserved.remove(object);
            final byte status = node.store.engines().abort(process.attachment, reserved.slots())[0];
            if (status != SlotStatus.ABORTED) {
                assertTooLate(reserved, status);
            }
        }
    }

    /** A writer that was silent for too long learns so at its commit or abort, which gives the slot back. */
    private void assertTooLate(final SimulatedProcess.Reserved reserved, final byte status) {
        assertEquals(SlotStatus.NOT_RESERVED, status);
        assertTrue(reserved.untilNs() <= cluster.clock().nanoTime(), "a reservation ended before its time");
        late++;
    }

    private void load(final SimulatedNode node, final SimulatedProcess process, final int chain, final boolean keeps)
            throws IOException {
        final int first = chain * SimulatedObjects.CHAIN;
        final LookupQuery query = new LookupQuery(
                SimulatedObjects.NAMESPACE,
                SimulatedObjects.keys(first, SimulatedObjects.CHAIN),
                NO_INTS,
                LEASE_NS,
                false,
                false,
                0,
                0);
        final LookupAnswer found = node.store.engines().lookup(process.holder, query);
        trace(found.hitChunks() * 16L + found.pendingChunks());
        hits += found.hitChunks();
        if (found.pendingChunks() > 0
                && node.store.engines().whenSettled(process.holder, query, () -> node.woken++) != 0) {
            node.waits++;
        }
        if (found.hitChunks() > 0) {
            final SimulatedProcess.Leased leased =
                    new SimulatedProcess.Leased(first, found.hitChunks(), found.lease(), found.slots());
            check(node, process, leased);
            if (keeps) {
                process.leased.add(leased);
            } else {
                assertTrue(node.store.engines().release(process.holder, found.lease(), NO_INTS));
            }
        }
    }

    private void check(final SimulatedNode node, final SimulatedProcess process, final SimulatedProcess.Leased leased)
            throws IOException {
        for (int i = 0; i < leased.count(); i++) {
            final ByteBuffer record = SimulatedProcess.record(leased.slots(), i);
            final int object = leased.first() + i;
            assertTrue(committed.contains(object), "a hit of what was never committed: " + object);
            assertArrayEquals(
                    SimulatedObjects.content(object),
                    process.read(region(node, record), record),
                    "wrong bytes for object " + object);
        }
    }

    private static RegionInfo region(final SimulatedNode node, final ByteBuffer record) {
        final RegionInfo region = node.store.engines().region(record.getInt(SlotRecord.REGION));
        assertNotNull(region, "a region with a reserved or leased slot is gone");
        return region;
    }

    private void release(final SimulatedNode node, final SimulatedProcess process) throws IOException {
        if (!process.leased.isEmpty()) {
            final SimulatedProcess.Leased one = process.leased.removeFirst();
            check(node, process, one);
            assertTrue(node.store.engines().release(process.holder, one.lease(), NO_INTS), "a lease was lost");
            assertFalse(
                    node.store.engines().release(process.holder, one.lease(), NO_INTS), "a lease was released twice");
        }
    }

    private void renew(final SimulatedNode node, final SimulatedProcess process) {
        if (!process.leased.isEmpty()) {
            final SimulatedProcess.Leased one = process.leased.removeFirst();
            trace(node.store.engines().renew(process.holder, one.lease(), LEASE_NS) ? 1 : 2);
            process.leased.add(one);
        }
    }

    // ---- faults

    /** The connection is gone; the process too, or it goes on holding its lock. */
    private void depart(final SimulatedNode node, final SimulatedProcess process, final boolean dead)
            throws IOException {
        if (dead) {
            process.die();
        } else {
            node.silent.add(process);
        }
        node.store.engines().closeAttachment(process.attachment);
        node.store.engines().closeHolder(process.holder);
        node.processes.set(node.processes.indexOf(process), new SimulatedProcess(node.store, node.tenant));
    }

    /** A silent process ends at last, after it has looked at what it had leased. */
    private void end(final SimulatedNode node) throws IOException {
        if (!node.silent.isEmpty()) {
            final SimulatedProcess process = node.silent.removeFirst();
            for (final SimulatedProcess.Leased one : process.leased) {
                check(node, process, one);
            }
            process.die();
        }
    }

    /** The node is killed, its engines with it; another life of it finds all that was readable, on both tiers. */
    private void restart(final SimulatedNode node) throws IOException {
        restarts++;
        node.settle();
        count(node);
        final Set<Integer> readable = Set.copyOf(node.held.keySet());
        node.kill();
        nodes.remove(node.holder);
        for (final List<SimulatedProcess> some : List.of(node.processes, node.silent)) {
            for (final SimulatedProcess process : some) {
                process.die();
            }
        }
        start(places.remove(node.holder));
        final SimulatedNode again = nodes.get(nextHolder - 1);
        for (final int object : readable) {
            assertTrue(again.store.peers().holds(SimulatedObjects.id(object)), "lost by a restart: object " + object);
        }
    }

    private void count(final SimulatedNode node) {
        fromSsd += node.store.admin().counters().promoted.sum();
        pulled += node.store.admin().counters().pulled.sum();
    }

    // ---- what must hold when all is quiet

    /** The faults end; time passes, and the nodes do what they always do. */
    void converge() {
        cluster.faulty = 0;
        for (int i = 0; i < 30; i++) {
            for (int turn = 0; turn < 20; turn++) {
                pass(6 * MS);
            }
            cluster.sweep(nodes::containsKey, announcers());
        }
        pass(20_000 * MS);
        for (int turn = 0; turn < 100; turn++) {
            cluster.sweep(nodes::containsKey, announcers());
            pass(20 * MS);
        }
        // What time has moved between the tiers is told as well.
        for (int turn = 0; turn < 100; turn++) {
            pass(2 * MS);
        }
        DirectoryCheck.assertSame(cluster, nodes);
    }

    private void pass(final long ns) {
        cluster.pass(ns);
        for (final SimulatedNode node : nodes.values()) {
            node.allBackground();
            node.work();
        }
    }

    /** All engines go; then nothing may be left, in any node or in the directory. */
    void finish() throws IOException {
        converge();
        for (final SimulatedNode node : nodes.values()) {
            for (final SimulatedProcess process : List.copyOf(node.processes)) {
                while (!process.leased.isEmpty()) {
                    check(node, process, process.leased.removeFirst());
                }
                depart(node, process, true);
            }
            while (!node.silent.isEmpty()) {
                end(node);
            }
        }
        for (int round = 0; round < ROUNDS && nodes.values().stream().anyMatch(NodesSimulation::isBusy); round++) {
            pass(10 * MS);
        }
        for (final SimulatedNode node : nodes.values()) {
            count(node);
            assertEquals(node.waits, node.woken, "each wait ends once");
            assertEquals(0, node.store.admin().leases(), "leaked leases");
            assertEquals(0, node.store.admin().quarantinedBytes(), "leaked quarantine");
            assertEquals(0, node.store.admin().heldObjects(), "leaked holds");
            for (int object = 0; object < SimulatedObjects.COUNT; object++) {
                node.store.admin().remove(SimulatedObjects.id(object));
            }
        }
        converge();
        for (final SimulatedNode node : nodes.values()) {
            assertTrue(node.store.admin().ssd().flush(TimeUnit.SECONDS.toNanos(30)), "removals do not end");
            assertEquals(0, node.store.admin().dramUsedBytes(), "leaked slots");
            assertEquals(0, node.store.admin().ssd().objects(), "leaked objects on the SSD");
            assertEquals(0, node.store.admin().ssd().usedBytes(), "leaked places on the SSD");
        }
        assertTrue(cluster.entries.isEmpty(), "leaked entries");
    }

    private static boolean isBusy(final SimulatedNode node) {
        return node.waits > node.woken
                || node.store.admin().heldObjects() > 0
                || node.store.admin().leases() > 0
                || node.store.admin().quarantinedBytes() > 0;
    }

    @Override
    public void close() throws IOException {
        final List<SimulatedProcess> all = new ArrayList<>();
        for (final SimulatedNode node : nodes.values()) {
            node.kill();
            all.addAll(node.processes);
            all.addAll(node.silent);
        }
        for (final SimulatedProcess process : all) {
            process.die();
        }
    }
}
