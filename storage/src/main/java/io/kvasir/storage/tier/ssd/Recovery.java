package io.kvasir.storage.tier.ssd;

import static io.kvasir.storage.tier.ssd.SlotHeader.INT;

import io.kvasir.storage.index.SipHash;
import io.kvasir.storage.object.SizeClass;
import io.kvasir.storage.policy.EvictionPolicy;
import io.kvasir.storage.posix.Posix;
import io.kvasir.storage.posix.PosixException;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import org.rocksdb.RocksDBException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Finds what a directory holds when the tier opens: extents by their superblocks, places by RocksDB; and when RocksDB is
 * damaged, places by the extents' header tables, into a new RocksDB beside the old one, which is kept for people.
 *
 * <p>A rebuild may bring back objects that were deleted and whose slot was not used again: right bytes under the right
 * id, so a hit on them is a true one.
 */
final class Recovery implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(Recovery.class);
    /** Objects that the listener hears of in one go, and batches that wait for it at most: what they take is bounded. */
    private static final int REPORTED_AT_ONCE = 256;

    private static final int REPORTS_WAITING = 16;
    private static final long CLOSED_EVERY_MS = 10;

    private final SsdTier.Context context;
    private final TierState state;
    private final Path extents;
    private final Path placesDirectory;
    private final boolean direct;
    private final BooleanSupplier closed;
    /** What may be told before the listener has taken what it was told. */
    private final Semaphore reports = new Semaphore(REPORTS_WAITING);

    private final FoundObjects found = new FoundObjects();
    /** What {@link #report} tells, in that order. */
    private EntrySort told;

    private long payloadBytes;
    private long droppedPlaces;

    Recovery(
            final SsdTier.Context context,
            final TierState state,
            final Path extents,
            final Path placesDirectory,
            final boolean direct,
            final BooleanSupplier closed) {
        this.context = context;
        this.state = state;
        this.extents = extents;
        this.placesDirectory = placesDirectory;
        this.direct = direct;
        this.closed = closed;
    }

    /** Fills the state; the store that it answers is open. {@link #report} follows. */
    PlaceStore run() throws IOException, RocksDBException {
        openExtents();
        PlaceStore places = null;
        try {
            places = new PlaceStore(placesDirectory);
            if (places.isComplete()) {
                load(places);
                return ready(places);
            }
            if (!hasCutExtents()) {
                places.markComplete();
                return ready(places);
            }
            LOG.warn("ssd {}: RocksDB knows nothing of the extents; its places are rebuilt", context.directory());
        } catch (final RocksDBException e) {
            LOG.error(
                    "ssd {}: RocksDB is damaged; it is moved aside and rebuilt from the extents",
                    context.directory(),
                    e);
        }
        if (places != null) {
            places.close();
        }
        context.metrics().rebuilt.increment();
        moveAside();
        forgetLoaded();
        places = new PlaceStore(placesDirectory);
        try {
            rebuild(places);
            return ready(places);
        } catch (final IOException | RocksDBException e) {
            places.close();
            throw e;
        }
    }

    private boolean hasCutExtents() {
        return state.pool.all().stream().anyMatch(extent -> extent.slotBytes != 0);
    }

    private PlaceStore ready(final PlaceStore places) throws IOException, RocksDBException {
        for (final Extent extent : List.copyOf(state.pool.all())) {
            if (extent.slotBytes < 0) {
                LOG.warn("ssd {}: {} has no valid superblock and no places; it is used anew", extents, extent.path);
                extent.shape(0, 0);
            }
            // Groups follow the sizes, which are known only now.
            state.pool.add(extent);
        }
        state.findOrder(found::sequence);
        if (!places.reconcile(state.objects(), payloadBytes)) {
            LOG.warn(
                    "ssd {}: the stored accounting is not what is there; it is {} objects, {} bytes",
                    context.directory(),
                    state.objects(),
                    payloadBytes);
        }
        if (droppedPlaces > 0) {
            LOG.warn("ssd {}: {} places name slots that are not there; dropped", context.directory(), droppedPlaces);
            context.metrics().dropped.add(droppedPlaces);
        }
        new LoweredCapacity(context, state, places, found).enforce();
        state.ids.collect();
        collect();
        return places;
    }

    private void openExtents() throws IOException {
        try (DirectoryStream<Path> files = Files.newDirectoryStream(extents)) {
            for (final Path file : files) {
                final String name = file.getFileName().toString();
                if (name.endsWith(".new")) {
                    Files.delete(file);
                } else if (name.matches("[0-9]{8}\\.extent")) {
                    final Extent extent = Extent.open(file, direct);
                    state.pool.claimFound(extent.fileBytes);
                    state.pool.find(extent);
                }
            }
        }
    }

    private void load(final PlaceStore places) throws RocksDBException {
        final PlaceLoader loader = new PlaceLoader(places, state.lock, Looker::new);
        loader.run();
        final List<byte[]> homeless = loader.refused();
        droppedPlaces = homeless.size();
        if (!homeless.isEmpty()) {
            try (PlaceStore.Batch batch = places.batch()) {
                for (final byte[] id : homeless) {
                    batch.delete(id, 0);
                }
                batch.commit();
            }
        }
    }

    /** Looks at places that one thread has read. */
    private final class Looker implements PlaceLoader.Taker {
        private final SipHash hasher = state.hasher();

        @Override
        public PlaceLoader.Taken look(final MemorySegment places, final int count) {
            final List<TierState.Found> looked = new ArrayList<>(count);
            for (int i = 0; i < count; i++) {
                looked.add(found(places, i * PlaceLoader.BYTES, body(i * PlaceLoader.BYTES), hasher));
            }
            state.expect(looked);
            return (bytes, i) -> load(bytes, i * PlaceLoader.BYTES, looked.get(i));
        }
    }

    private TierState.Found found(final MemorySegment bytes, final long id, final long body, final SipHash hasher) {
        final StoredObject object = SlotHeader.readObject(bytes, body);
        return state.found(SlotHeader.readId(bytes, id), object.length(), object.parent(), hasher);
    }

    /** Where the body would begin whose parts behind the id lie in the value of the place at {@code from}. */
    private static long body(final long from) {
        return from + PlaceStore.PLACE_BYTES;
    }

    /** Holds the lock. The id at {@code from}, the value behind it. */
    private boolean load(final MemorySegment places, final long from, final TierState.Found object) {
        if (object == null) {
            return false;
        }
        final long value = from + SlotHeader.ID_BYTES;
        final Extent extent = state.pool.get(places.get(INT, value));
        final int cut = places.get(INT, value + 8);
        final long slotBytes = places.get(INT, value + 12) * SizeClass.PAGE;
        if (extent != null && extent.slotBytes < 0 && slotBytes > 0) {
            LOG.warn("ssd {}: the superblock of {} is damaged; its places tell its shape", extents, extent.path);
            extent.shape(slotBytes, cut);
        }
        if (extent == null || slotBytes <= 0 || extent.cut != cut || extent.slotBytes != slotBytes) {
            state.forget(object);
            return false;
        }
        return take(extent, places.get(INT, value + 4), places, body(from), object);
    }

    /**
     * Holds the lock.
     *
     * @param body where the body would begin whose parts behind the id lie there
     */
    private boolean take(
            final Extent extent,
            final int slot,
            final MemorySegment bytes,
            final long body,
            final TierState.Found object) {
        if (object.length() < 1 || object.length() > extent.slotBytes) {
            state.forget(object);
            return false;
        }
        final int entry = state.recover(extent, slot, object);
        if (entry < 0) {
            return false;
        }
        found.put(entry, bytes, body);
        state.sawSequence(found.sequence(entry));
        payloadBytes += object.length();
        return true;
    }

    /** A header that was found, to be taken newest first. */
    private record Header(long sequence, Extent extent, int slot, byte[] body) {}

    private void rebuild(final PlaceStore places) throws IOException, RocksDBException {
        final List<Header> headers = new ArrayList<>();
        for (final Extent extent : state.pool.all()) {
            if (extent.slotBytes > 0) {
                readTable(extent, headers);
            }
        }
        headers.sort((a, b) -> Long.compare(b.sequence(), a.sequence()));
        final SipHash hasher = state.hasher();
        PlaceStore.Batch batch = places.batch();
        try {
            int batched = 0;
            for (final Header header : headers) {
                final MemorySegment body = MemorySegment.ofArray(header.body());
                final TierState.Found object = found(body, 0, 0, hasher);
                if (object != null && take(header.extent(), header.slot(), body, 0, object)) {
                    batch.put(
                            Arrays.copyOf(header.body(), SlotHeader.ID_BYTES),
                            PlaceStore.value(header.extent(), header.slot(), body),
                            body.get(SlotHeader.LONG, SlotHeader.LENGTH));
                    if (++batched % 10_000 == 0) {
                        batch.commit();
                        batch.close();
                        batch = places.batch();
                    }
                }
            }
            batch.commit();
        } finally {
            batch.close();
        }
        places.markComplete();
        LOG.info("ssd {}: {} objects found in the extents", context.directory(), state.objects());
    }

    private static void readTable(final Extent extent, final List<Header> found) throws PosixException {
        try (Arena arena = Arena.ofConfined()) {
            final MemorySegment table = arena.allocate(extent.tableBytes(), SizeClass.PAGE);
            Posix.read(extent.fd, table, SizeClass.PAGE);
            for (int slot = 0; slot < extent.slotCount; slot++) {
                final long at = (long) slot * SlotHeader.BYTES;
                if (SlotHeader.isSealed(table, at, extent.cut, slot)) {
                    final byte[] body = new byte[SlotHeader.BODY_BYTES];
                    MemorySegment.copy(table, at + SlotHeader.BODY, MemorySegment.ofArray(body), 0, body.length);
                    found.add(new Header(
                            MemorySegment.ofArray(body).get(SlotHeader.LONG, SlotHeader.SEQUENCE), extent, slot, body));
                }
            }
        }
    }

    /** What a damaged RocksDB gave before the damage showed. */
    private void forgetLoaded() {
        for (final Extent extent : state.pool.all()) {
            for (int slot = 0; slot < extent.slotCount; slot++) {
                if (extent.owner(slot) >= 0) {
                    state.forget(extent.owner(slot));
                }
            }
        }
        payloadBytes = 0;
        droppedPlaces = 0;
    }

    private void moveAside() throws IOException {
        if (Files.exists(placesDirectory)) {
            Path aside;
            int number = 0;
            do {
                aside = placesDirectory.resolveSibling("places.damaged-" + ++number);
            } while (Files.exists(aside));
            Files.move(placesDirectory, aside);
            LOG.warn("ssd {}: the damaged RocksDB is kept as {}; delete it when you like", extents, aside);
        }
    }

    /** What there is, parents before their children: whoever groups chains by their beginning hears of that first. */
    private void collect() {
        told = new EntrySort(state.objects(), found::chunkIndex);
        final EvictionPolicy.Scan scan = state.policy.scan();
        scan.restart();
        for (int e = scan.next(); e != EvictionPolicy.NONE; e = scan.next()) {
            told.add(e);
        }
        told.sort();
    }

    /**
     * Tells the listener what was found, and waits for it when that is much. Objects that it has heard of may be read and
     * dropped meanwhile; nothing is written yet.
     */
    void report() {
        try (EntrySort all = told) {
            for (long from = 0; from < all.size(); from += REPORTED_AT_ONCE) {
                if (!mayReport()) {
                    return;
                }
                tell(all, from);
            }
            if (mayReport()) {
                context.completions().execute(context.listener()::warm);
            }
        }
    }

    private void tell(final EntrySort all, final long from) {
        final List<SsdListener.Found> batch = new ArrayList<>(REPORTED_AT_ONCE);
        state.lock.lock();
        try {
            for (long i = from; i < Math.min(all.size(), from + REPORTED_AT_ONCE); i++) {
                final int entry = all.get(i);
                if (state.entries.state(entry) == EntryTable.DURABLE) {
                    // The object may leave before the listener hears of it.
                    state.ids.hold(state.entries.number(entry));
                    batch.add(new SsdListener.Found(
                            state.entries.number(entry),
                            state.entries.id(entry),
                            state.entries.length(entry),
                            found.parent(entry),
                            found.chunkIndex(entry)));
                }
            }
            // Under the lock: a removal that begins right after is told after this.
            context.completions().execute(() -> hear(batch));
        } finally {
            state.lock.unlock();
        }
    }

    private void hear(final List<SsdListener.Found> batch) {
        reports.release();
        context.listener().recovered(batch);
        for (final SsdListener.Found each : batch) {
            state.ids.release(each.number());
        }
    }

    /** Waits until the listener has taken most of what it was told; false when the tier is closed meanwhile. */
    private boolean mayReport() {
        try {
            while (!reports.tryAcquire(CLOSED_EVERY_MS, TimeUnit.MILLISECONDS)) {
                if (closed.getAsBoolean()) {
                    return false;
                }
            }
            return true;
        } catch (final InterruptedException e) {
            Thread.currentThread().interrupt();
            return false;
        }
    }

    @Override
    public void close() {
        found.close();
    }
}
