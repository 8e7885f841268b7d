package io.kvasir.storage;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.index.ObjectTable;
import io.kvasir.storage.lookup.LookupAnswer;
import io.kvasir.storage.lookup.LookupQuery;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.RegionInfo;
import io.kvasir.storage.object.SlotRecord;
import io.kvasir.storage.object.SlotStatus;
import io.kvasir.storage.object.TierKind;
import io.kvasir.storage.policy.PolicyKind;
import io.kvasir.storage.tenant.Tenant;
import io.kvasir.storage.tenant.TenantShare;
import io.kvasir.storage.tier.AddressableTier;
import io.kvasir.storage.tier.ReservedSlots;
import io.kvasir.storage.tier.TierListener;
import io.kvasir.storage.tier.dram.AccountShadow;
import io.kvasir.storage.tier.dram.IndexShadow;
import io.kvasir.storage.tier.dram.SlotShadow;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import java.util.zip.CRC32C;
import org.agrona.concurrent.CachedEpochClock;
import org.agrona.concurrent.CachedNanoClock;

/**
 * The real store, without SSD, driven step by step beside a simple truth: its clocks, its workers and its random numbers
 * are the simulation's, so a seed gives the same run each time. Several engines reserve, commit, look up, lease, die and
 * fall silent; the node is killed, and memory is damaged while it is down. The truth knows what is reserved, leased,
 * removed, expired or damaged; it does not know eviction, so that a miss is always right.
 *
 * <p>What must hold: a hit has the bytes of its key; a leased object stays; a slot has one owner, and a stamp never comes
 * again; the capacity is kept; a restart loses nothing; who waits is woken; in the end nothing is left leased, reserved,
 * quarantined or held, and the whole capacity can be had.
 */
final class StoreSimulation implements AutoCloseable {
    enum Step {
        RESERVE,
        COMMIT,
        COMMIT_TWICE,
        ABORT,
        TOO_LATE,
        LOOKUP,
        LEASE,
        HEAT,
        RENEW,
        RELEASE,
        COPY,
        REMOVE,
        PIN,
        COPIED,
        TIME,
        WORK,
        BACKGROUND,
        DEPART,
        SILENCE,
        END,
        QUIESCE,
        LAPSE,
        RESTART,
        DAMAGE
    }

    private static final List<Step> FAULTS = List.copyOf(
            EnumSet.of(Step.DEPART, Step.SILENCE, Step.END, Step.QUIESCE, Step.LAPSE, Step.RESTART, Step.DAMAGE));
    private static final List<Step> USUAL = List.copyOf(EnumSet.complementOf(EnumSet.copyOf(FAULTS)));
    private static final int KIB = 1024;
    private static final long CAPACITY = 1 << 20;
    /** Space for a few of the objects, so that they drive each other out. */
    private static final long DEVICE_CAPACITY = 384L * KIB;

    private static final int OBJECTS = 60;
    private static final int ENGINES = 3;
    private static final int[] LENGTHS = {1, 4 * KIB, 5 * KIB, 64 * KIB, 100 * KIB, 48 * KIB};
    private static final long LEASE_NS = TimeUnit.SECONDS.toNanos(30);
    private static final Duration RESERVE = Duration.ofSeconds(8);
    /** From a deadline until the store has seen it, when it works. */
    private static final long SEEN_NS = TimeUnit.MILLISECONDS.toNanos(200);

    private static final int ROUNDS = 2_000;

    private final SplittableRandom random;
    private final Path directory;
    private final PolicyKind policy;
    private final Map<String, TenantShare> shares;
    private final CachedNanoClock nanoClock = new CachedNanoClock();
    private final CachedEpochClock clock = new CachedEpochClock();
    private final byte[][] contents = new byte[OBJECTS][];
    private final List<ObjectId> ids =
            IntStream.range(0, OBJECTS).mapToObj(StoreSimulation::id).toList();
    private final List<SimulatedEngine> engines = new ArrayList<>();
    /** Their connection is gone, their process is not. */
    private final List<SimulatedEngine> silent = new ArrayList<>();

    private final Set<Integer> committed = new HashSet<>();
    private final Map<Integer, Long> expiry = new HashMap<>();
    private final Set<Integer> summed = new HashSet<>();
    private final Map<Long, Long> lastStamp = new HashMap<>();
    private final List<HandDrivenWorker> workers = new ArrayList<>();
    /** Every other seed has a tier above DRAM. */
    private final boolean hasDevice;

    private FakeDeviceTier device;
    private int deviceHits;
    private StoreAgent store;
    private Tenant tenant;
    private int waits;
    private int woken;
    private int faults;

    StoreSimulation(final long seed, final Path directory) throws IOException {
        this.directory = directory;
        random = new SplittableRandom(seed);
        hasDevice = (seed & 1) != 0;
        policy = List.of(PolicyKind.values()).get(random.nextInt(PolicyKind.values().length));
        shares = switch (random.nextInt(3)) {
            case 0 -> Map.of();
            case 1 -> Map.of("tests", new TenantShare(CAPACITY / 2, CAPACITY, 0, Long.MAX_VALUE, Integer.MAX_VALUE));
            default -> Map.of("tests", new TenantShare(0, CAPACITY / 2, 0, Long.MAX_VALUE, Integer.MAX_VALUE));
        };
        for (int object = 0; object < OBJECTS; object++) {
            contents[object] = StoreFixture.content(object, LENGTHS[object % LENGTHS.length]);
        }
        nanoClock.update(1_000_000_000L);
        clock.update(1_000_000_000_000L);
        start();
    }

    private void start() throws IOException {
        workers.clear();
        store = new StoreAgent(new StoreContext()
                .dramDirectory(directory.resolve("arena"))
                .dramCapacity(CAPACITY)
                .tenantShares(shares)
                .regionBytes(64 * KIB)
                .reserveDeadline(RESERVE)
                .policy(policy::create)
                .clock(clock)
                .nanoClock(nanoClock)
                .random(random.split())
                .device(hasDevice ? this::openDevice : null)
                .workers(name -> {
                    final HandDrivenWorker worker = new HandDrivenWorker();
                    workers.add(worker);
                    return worker;
                }));
        tenant = store.engines().openTenant("tests", -1);
        for (int i = 0; i < ENGINES; i++) {
            engines.add(new SimulatedEngine(store, tenant, random.nextBoolean()));
        }
    }

    private AddressableTier openDevice(final ObjectTable table, final TierListener listener) {
        device = new FakeDeviceTier(table, listener, clock, DEVICE_CAPACITY);
        return device;
    }

    /** Engines that have copied from the device tier. */
    int deviceHits() {
        return deviceHits;
    }

    /** Faults so far: deaths, silences, restarts and damages. */
    int faults() {
        return faults;
    }

    void step() throws IOException {
        final int dice = random.nextInt(1000);
        // Faults come one in twenty steps.
        final Step step =
                dice < 50 ? FAULTS.get(random.nextInt(FAULTS.size())) : USUAL.get(random.nextInt(USUAL.size()));
        step(step, random.nextInt(OBJECTS));
    }

    void step(final Step step, final int object) throws IOException {
        final SimulatedEngine engine = engines.get(random.nextInt(engines.size()));
        switch (step) {
            case RESERVE -> reserve(engine, object);
            case COMMIT -> commit(engine, any(engine));
            case COMMIT_TWICE -> commitTwice(engine, any(engine));
            case ABORT -> abort(engine, any(engine));
            case TOO_LATE -> tooLate(engine);
            case LOOKUP -> load(engine, object);
            case LEASE -> lease(engine, object);
            case HEAT -> heat(engine, object);
            case RENEW -> renew(engine);
            case RELEASE -> release(engine);
            case COPY -> copy(engine);
            case REMOVE -> remove(object);
            case PIN ->
                store.engines().pin(engine.holder, StoreFixture.NAMESPACE, StoreFixture.key(object), 500_000_000L, 0);
            case COPIED -> store.peers().copied(id(object), random.nextBoolean());
            case TIME -> pass(random.nextLong(2_000_000_000L));
            case WORK -> store.doWork();
            case BACKGROUND -> workers.get(random.nextInt(workers.size())).runOne();
            case DEPART -> depart(engine, true);
            case SILENCE -> depart(engine, false);
            case END -> end();
            case QUIESCE -> quiesce();
            case LAPSE -> lapse();
            case RESTART -> restart(List.of());
            case DAMAGE -> restart(List.of(object, (object + 7) % OBJECTS));
        }
        faults += FAULTS.contains(step) ? 1 : 0;
        assertTrue(store.admin().dramUsedBytes() <= store.admin().dramCapacityBytes(), "capacity");
        IndexShadow.compare(store.dram(), ids, hasDevice ? device.onlyHere() : 0);
        if (hasDevice) {
            device.check();
            assertTrue(device.regionBytes() <= DEVICE_CAPACITY, "the device's capacity");
        }
        AccountShadow.compare(store.dram(), store.admin().accounts());
        SlotShadow.compare(store.dram());
        assertEquals(engines.size(), store.admin().accounts().of("tests").connections(), "connections");
        assertTrue(
                store.admin().accounts().of("tests").regionBytes()
                        <= shares.getOrDefault("tests", TenantShare.NONE).dramMax(),
                "the maximum");
    }

    private void pass(final long ns) {
        nanoClock.update(nanoClock.nanoTime() + ns);
        clock.update(clock.time() + ns / 1_000_000);
    }

    private int any(final SimulatedEngine engine) {
        final List<Integer> mine = List.copyOf(engine.reserved.keySet());
        return mine.isEmpty() ? -1 : mine.get(random.nextInt(mine.size()));
    }

    // ---- writing

    private void reserve(final SimulatedEngine engine, final int object) {
        final ReservedSlots result = tryReserve(engine, object);
        final byte[] slots = result.slots();
        switch (slots[SlotRecord.STATUS]) {
            case SlotStatus.GRANTED -> {
                for (final SimulatedEngine other : engines) {
                    final SimulatedEngine.Reserved theirs = other.reserved.remove(object);
                    if (theirs != null) {
                        assertTrue(isOver(theirs), "one writer");
                        other.overdue.add(theirs);
                    }
                }
                claim(slots);
                engine.reserved.put(
                        object, new SimulatedEngine.Reserved(object, slots, nanoClock.nanoTime() + RESERVE.toNanos()));
            }
            case SlotStatus.EXISTS -> assertTrue(committed.contains(object), "what exists was committed");
            case SlotStatus.NO_ROOM -> {
                waits++;
                assertTrue(store.engines().whenRoom(0, () -> woken++) != 0);
            }
            case SlotStatus.IN_FLIGHT, SlotStatus.QUOTA -> {
                // Another engine writes it, or it is removed and still leased; or this engine has enough.
            }
            default -> throw new AssertionError("status " + slots[SlotRecord.STATUS]);
        }
    }

    private ReservedSlots tryReserve(final SimulatedEngine engine, final int object) {
        return store.engines()
                .reserve(
                        engine.attachment,
                        StoreFixture.NAMESPACE,
                        StoreFixture.SHARD,
                        StoreFixture.key(object),
                        new long[] {contents[object].length},
                        0);
    }

    private boolean isReserved(final int object) {
        return engines.stream().anyMatch(engine -> engine.reserved.containsKey(object));
    }

    private boolean isOver(final SimulatedEngine.Reserved reserved) {
        return reserved.untilNs() <= nanoClock.nanoTime();
    }

    /** The slot is nobody else's, and its stamp is newer than any before. */
    private void claim(final byte[] slots) {
        final long place = place(slots);
        for (final List<SimulatedEngine> some : List.of(engines, silent)) {
            for (final SimulatedEngine other : some) {
                for (final SimulatedEngine.Reserved theirs : other.reserved.values()) {
                    assertTrue(place != place(theirs.slots()), "a reserved slot was given away");
                }
                for (final SimulatedEngine.Reserved theirs : other.overdue) {
                    assertTrue(place != place(theirs.slots()), "a quarantined slot was given away");
                }
                for (final SimulatedEngine.Leased theirs : other.leased) {
                    assertTrue(
                            place != place(theirs.slots()) || !isKept(other, theirs), "a leased slot was given away");
                }
            }
        }
        final long stamp = StoreFixture.record(slots, 0).getLong(SlotRecord.STAMP);
        final Long before = lastStamp.put(place, stamp);
        assertTrue(before == null || before < stamp, "a stamp came again");
    }

    private static long place(final byte[] slots) {
        final ByteBuffer record = StoreFixture.record(slots, 0);
        return Integer.toUnsignedLong(record.getInt(SlotRecord.REGION)) << 32
                | Integer.toUnsignedLong(record.getInt(SlotRecord.SLOT));
    }

    private void commit(final SimulatedEngine engine, final int object) throws IOException {
        if (object < 0) {
            return;
        }
        final SimulatedEngine.Reserved reserved = engine.reserved.remove(object);
        final byte[] slots = reserved.slots();
        engine.write(region(slots), slots, contents[object]);
        final boolean sum = random.nextBoolean();
        final byte[] crc = sum ? crc(contents[object]) : new byte[0];
        final long ttlNs = random.nextInt(4) == 0 ? 3_000_000_000L : 0;
        final byte[] parent = object % 8 == 0 ? new byte[0] : StoreFixture.key(object - 1);
        final byte[] status = store.engines()
                .commit(engine.attachment, slots, parent, crc, new int[] {object % 8}, random.nextInt(5) - 2, ttlNs);
        if (isOver(reserved) && status[0] == SlotStatus.NOT_RESERVED) {
            return;
        }
        assertEquals(SlotStatus.COMMITTED, status[0]);
        committed.add(object);
        summed.remove(object);
        expiry.remove(object);
        if (sum) {
            summed.add(object);
        }
        if (ttlNs != 0) {
            expiry.put(object, clock.time() + ttlNs / 1_000_000);
        }
    }

    private static byte[] crc(final byte[] bytes) {
        final CRC32C crc = new CRC32C();
        crc.update(bytes);
        return ByteBuffer.allocate(4)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putInt((int) crc.getValue())
                .array();
    }

    private void commitTwice(final SimulatedEngine engine, final int object) throws IOException {
        if (object >= 0) {
            final byte[] slots = engine.reserved.get(object).slots();
            commit(engine, object);
            assertEquals(
                    SlotStatus.NOT_RESERVED,
                    store.engines().commit(engine.attachment, slots, new byte[0], new byte[0], new int[0], 0, 0)[0]);
            assertEquals(SlotStatus.NOT_RESERVED, store.engines().abort(engine.attachment, slots)[0]);
        }
    }

    private void abort(final SimulatedEngine engine, final int object) {
        if (object >= 0) {
            final SimulatedEngine.Reserved reserved = engine.reserved.remove(object);
            final byte status = store.engines().abort(engine.attachment, reserved.slots())[0];
            assertTrue(
                    status == SlotStatus.ABORTED || (isOver(reserved) && status == SlotStatus.NOT_RESERVED),
                    "status " + status);
        }
    }

    /** An engine goes on to write what it does not know to be quarantined, and says so at last. */
    private void tooLate(final SimulatedEngine engine) throws IOException {
        if (!engine.overdue.isEmpty()) {
            final SimulatedEngine.Reserved one = engine.overdue.removeFirst();
            engine.write(region(one.slots()), one.slots(), contents[(one.object() + 1) % OBJECTS]);
            final long quarantined = store.admin().quarantinedBytes();
            final byte[] status = random.nextBoolean()
                    ? store.engines().abort(engine.attachment, one.slots())
                    : store.engines()
                            .commit(engine.attachment, one.slots(), new byte[0], new byte[0], new int[0], 0, 0);
            assertEquals(SlotStatus.NOT_RESERVED, status[0]);
            assertTrue(
                    store.admin().quarantinedBytes() < quarantined, "who says that it has stopped gives the slot back");
        }
    }

    // ---- reading

    private LookupAnswer lookup(final SimulatedEngine engine, final int object, final boolean peek) {
        final LookupQuery query = new LookupQuery(
                StoreFixture.NAMESPACE, StoreFixture.key(object), new int[0], LEASE_NS, peek, false, 0, 0);
        final boolean mayHit = mayHit(object);
        final LookupAnswer found = store.engines().lookup(engine.holder, query);
        if (found.hitChunks() == 1) {
            assertTrue(mayHit, "a hit of what was never committed, was removed or has expired: " + object);
        }
        if (found.pendingChunks() == 1 && store.engines().whenSettled(engine.holder, query, () -> woken++) != 0) {
            waits++;
        }
        return found;
    }

    /** What has expired stays while it is held: by a lease, or by the node while it is summed. */
    private boolean mayHit(final int object) {
        return committed.contains(object)
                && (!hasExpired(object) || store.admin().heldObjects() > 0);
    }

    private boolean hasExpired(final int object) {
        final Long until = expiry.get(object);
        return until != null && until <= clock.time();
    }

    private void load(final SimulatedEngine engine, final int object) throws IOException {
        final LookupAnswer found = lookup(engine, object, false);
        if (found.hitChunks() == 1) {
            assertBytes(engine, object, found.slots());
            assertTrue(store.engines().release(engine.holder, found.lease(), new int[0]));
        }
    }

    private void lease(final SimulatedEngine engine, final int object) {
        final LookupAnswer found = lookup(engine, object, false);
        if (found.hitChunks() == 1) {
            engine.leased.add(
                    new SimulatedEngine.Leased(object, found.lease(), found.slots(), nanoClock.nanoTime() + LEASE_NS));
        }
    }

    /** An object is used often enough for a second copy, and then once more. */
    private void heat(final SimulatedEngine engine, final int object) throws IOException {
        work();
        work();
        for (int use = 0; use < SecondCopies.USES; use++) {
            load(engine, object);
        }
        work();
        work();
        if (random.nextBoolean()) {
            lease(engine, object);
        } else {
            load(engine, object);
        }
    }

    private void renew(final SimulatedEngine engine) {
        if (!engine.leased.isEmpty()) {
            final SimulatedEngine.Leased one = engine.leased.removeFirst();
            final boolean valid = one.untilNs() > nanoClock.nanoTime();
            assertEquals(
                    valid, StoreFixture.resolve(store, engine.holder, one.lease()) != null, "a lease and its time");
            assertEquals(valid, store.engines().renew(engine.holder, one.lease(), LEASE_NS), "a lease and its time");
            final SimulatedEngine.Leased renewed = valid
                    ? new SimulatedEngine.Leased(
                            one.object(), one.lease(), one.slots(), nanoClock.nanoTime() + LEASE_NS)
                    : one;
            engine.leased.add(renewed);
        }
    }

    private void release(final SimulatedEngine engine) throws IOException {
        if (!engine.leased.isEmpty()) {
            final SimulatedEngine.Leased one = engine.leased.removeFirst();
            final boolean kept = isKept(engine, one);
            if (kept) {
                assertBytes(engine, one.object(), one.slots());
            }
            if (engine.copiesUnder(one)) {
                engine.endCopy();
            }
            assertTrue(store.engines().release(engine.holder, one.lease(), new int[0]) || !kept, "a lease was lost");
            assertFalse(store.engines().release(engine.holder, one.lease(), new int[0]), "a lease was released twice");
        }
    }

    /** One copy at a time, which may take longer than its lease. */
    private void copy(final SimulatedEngine engine) throws IOException {
        if (engine.copying != null) {
            assertBytes(engine, engine.copying.object(), engine.copying.slots());
            engine.endCopy();
        } else if (!engine.leased.isEmpty()) {
            final SimulatedEngine.Leased one = engine.leased.getFirst();
            engine.beginCopy(one);
            if (one.untilNs() <= nanoClock.nanoTime()) {
                engine.endCopy();
            }
        }
    }

    /** A lease whose time is over ends when its process says that it copies nothing. */
    private boolean isKept(final SimulatedEngine engine, final SimulatedEngine.Leased lease) {
        return lease.untilNs() > nanoClock.nanoTime() || !engine.marks || engine.copiesUnder(lease);
    }

    private void assertBytes(final SimulatedEngine engine, final int object, final byte[] slots) throws IOException {
        deviceHits += isOnDevice(slots) ? 1 : 0;
        assertArrayEquals(contents[object], engine.read(region(slots), slots), "wrong bytes for object " + object);
    }

    private static boolean isOnDevice(final byte[] slots) {
        return slots[SlotRecord.TIER] == TierKind.DEVICE.code();
    }

    private RegionInfo region(final byte[] slots) {
        final RegionInfo region =
                store.engines().region(StoreFixture.record(slots, 0).getInt(SlotRecord.REGION));
        assertNotNull(region, "a region with a reserved or leased slot is gone");
        return region;
    }

    private void remove(final int object) {
        if (!isReserved(object)) {
            store.admin().remove(id(object));
            committed.remove(object);
        }
    }

    private static ObjectId id(final int object) {
        return new ObjectId(StoreFixture.NAMESPACE, Hash256.read(StoreFixture.key(object), 0), StoreFixture.SHARD);
    }

    // ---- faults

    /** The connection is gone; the process too, or it goes on holding its lock. */
    private void depart(final SimulatedEngine engine, final boolean dead) throws IOException {
        if (dead) {
            engine.die();
        }
        store.engines().closeAttachment(engine.attachment);
        store.engines().closeHolder(engine.holder);
        engines.remove(engine);
        if (!dead) {
            silent.add(engine);
        }
        engines.add(new SimulatedEngine(store, tenant, random.nextBoolean()));
    }

    /** A silent process ends at last, after it has looked at what it had leased. */
    private void end() throws IOException {
        if (!silent.isEmpty()) {
            final SimulatedEngine engine = silent.remove(random.nextInt(silent.size()));
            for (final SimulatedEngine.Leased one : engine.leased) {
                if (isKept(engine, one)) {
                    assertBytes(engine, one.object(), one.slots());
                }
            }
            engine.die();
        }
    }

    /** A silent process says that its copies have stopped, and lives on. */
    private void quiesce() throws IOException {
        if (!silent.isEmpty()) {
            final SimulatedEngine engine = silent.remove(random.nextInt(silent.size()));
            store.engines().quiesced(tenant, engine.attachment.secret());
            engine.die();
        }
    }

    /** Everybody sleeps past the deadlines of all that is reserved. */
    private void lapse() {
        pass(RESERVE.toNanos() + SEEN_NS);
        store.doWork();
        for (final SimulatedEngine engine : engines) {
            for (final SimulatedEngine.Reserved one : List.copyOf(engine.reserved.values())) {
                final SimulatedEngine other = engines.get(random.nextInt(engines.size()));
                final byte status = tryReserve(other, one.object()).slots()[SlotRecord.STATUS];
                assertTrue(status != SlotStatus.IN_FLIGHT, "a stuck writer keeps others out");
            }
        }
    }

    /** The node is killed and starts again; bytes of some objects are damaged while it is down. */
    private void restart(final List<Integer> damaged) throws IOException {
        final Map<Integer, byte[]> there = new HashMap<>();
        for (int object = 0; object < OBJECTS; object++) {
            final LookupAnswer seen = lookup(engines.getFirst(), object, true);
            if (seen.hitChunks() == 1) {
                there.put(object, seen.slots());
            }
        }
        final Map<Integer, RegionInfo> places = new HashMap<>();
        there.forEach((object, slots) -> places.put(object, region(slots)));
        final String path = tenant.directory();
        store.shutdown(TimeUnit.SECONDS.toNanos(5));
        final Set<Integer> lost = new HashSet<>();
        for (final int object : damaged) {
            if (there.containsKey(object) && summed.contains(object) && !isOnDevice(there.get(object))) {
                flip(Path.of(path, places.get(object).dataFile()), places.get(object), there.get(object));
                lost.add(object);
            }
        }
        for (final SimulatedEngine engine : engines) {
            if (random.nextBoolean()) {
                engine.die();
            } else {
                // It lives on with its lock, and what it had reserved stays its own.
                engine.leased.clear();
                silent.add(engine);
            }
        }
        silent.forEach(engine -> engine.leased.clear());
        engines.clear();
        // Waits end with the node that they were made at.
        waits = 0;
        woken = 0;
        start();
        for (final int object : there.keySet()) {
            final SimulatedEngine reader = engines.getFirst();
            LookupAnswer found = lookup(reader, object, false);
            for (int round = 0; round < ROUNDS && found.pendingChunks() > 0; round++) {
                work();
                found = lookup(reader, object, false);
            }
            assertEquals(0, found.pendingChunks(), "an adopted object is never verified");
            if (lost.contains(object)) {
                assertEquals(0, found.hitChunks(), "damaged bytes were offered: object " + object);
                committed.remove(object);
            } else if (found.hitChunks() == 1) {
                assertBytes(reader, object, found.slots());
                assertTrue(store.engines().release(reader.holder, found.lease(), new int[0]));
            } else {
                assertTrue(hasExpired(object), "lost by a restart: object " + object);
            }
        }
    }

    private void flip(final Path file, final RegionInfo region, final byte[] slots) throws IOException {
        final ByteBuffer record = StoreFixture.record(slots, 0);
        final long at = region.slotBytes() * record.getInt(SlotRecord.SLOT)
                + random.nextLong(record.getLong(SlotRecord.LENGTH));
        try (RandomAccessFile bytes = new RandomAccessFile(file.toFile(), "rw")) {
            bytes.seek(at);
            final int before = bytes.read();
            bytes.seek(at);
            bytes.write(before ^ 1 << random.nextInt(8));
        }
    }

    // ---- the end

    private void work() {
        store.doWork();
        workers.forEach(HandDrivenWorker::runOne);
        pass(10_000_000);
    }

    /** Everybody goes; then nothing may be left, and the whole capacity can be had within bounded work. */
    void finish() throws IOException {
        for (final SimulatedEngine engine : List.copyOf(engines)) {
            while (!engine.leased.isEmpty()) {
                release(engine);
            }
            depart(engine, true);
        }
        while (!silent.isEmpty()) {
            end();
        }
        for (int object = 0; object < OBJECTS; object++) {
            store.engines().unpin(engines.getFirst().holder, StoreFixture.NAMESPACE, StoreFixture.key(object));
        }
        for (int round = 0; round < ROUNDS && (waits > woken || isInUse()); round++) {
            work();
        }
        assertEquals(waits, woken, "who waits is woken once");
        assertEquals(0, store.admin().leases(), "leaked leases");
        assertEquals(0, store.admin().leasedBytes(), "leaked leases");
        assertEquals(0, store.admin().quarantinedBytes(), "leaked quarantine");
        assertEquals(0, store.admin().heldObjects(), "leaked holds");
        assertEquals(0, hasDevice ? device.heldObjects() : 0, "leaked holds on the device");
        for (int object = 0; object < OBJECTS; object++) {
            store.admin().remove(id(object));
        }
        assertEquals(0, store.admin().dramUsedBytes(), "leaked slots");
        assertEquals(0, hasDevice ? device.objects() : 0, "second copies without first ones");
        for (int object = 0; object < OBJECTS; object++) {
            final SimulatedEngine engine = engines.get(object % engines.size());
            ReservedSlots result = tryReserve(engine, object);
            for (int round = 0; round < ROUNDS && result.noRoom() > 0; round++) {
                work();
                result = tryReserve(engine, object);
            }
            assertEquals(SlotStatus.GRANTED, result.slots()[SlotRecord.STATUS], "no room in an empty store");
            engine.reserved.put(object, new SimulatedEngine.Reserved(object, result.slots(), Long.MAX_VALUE));
            commit(engine, object);
        }
    }

    private boolean isInUse() {
        return (hasDevice && device.heldObjects() > 0)
                || store.admin().heldObjects() > 0
                || store.admin().leases() > 0
                || store.admin().quarantinedBytes() > 0;
    }

    @Override
    public void close() throws IOException {
        store.close();
        for (final List<SimulatedEngine> some : List.of(engines, silent)) {
            for (final SimulatedEngine engine : some) {
                engine.die();
            }
        }
    }
}
