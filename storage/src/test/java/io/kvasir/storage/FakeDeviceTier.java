package io.kvasir.storage;

import io.kvasir.storage.index.ObjectTable;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.RegionInfo;
import io.kvasir.storage.object.SizeClass;
import io.kvasir.storage.object.TierKind;
import io.kvasir.storage.tenant.Tenant;
import io.kvasir.storage.tier.AddressableTier;
import io.kvasir.storage.tier.SlotBytes;
import io.kvasir.storage.tier.TierListener;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.zip.CRC32C;
import org.agrona.concurrent.EpochClock;

/**
 * A tier as one of GPU memory would be, in files that simulated engines map: regions of slots with stamps, evicted least
 * recently used first, and gone with the node. What is in no slot is never what it was: memory that is free, or given to
 * another object, is overwritten.
 */
final class FakeDeviceTier implements AddressableTier {
    private static final long REGION_BYTES = 128 << 10;
    private static final int HEADERS = 4096;
    private static final int HEADER_BYTES = 256;
    private static final int MOST_ENTRIES = 1 << 20;

    private enum State {
        FREE,
        WRITING,
        READABLE,
        CONDEMNED
    }

    private static final class Region {
        final Arena arena = Arena.ofShared();
        final Tenant tenant;
        final RegionInfo info;
        final MemorySegment data;
        final MemorySegment headers;
        final Entry[] slots;

        Region(final Tenant tenant, final RegionInfo info, final long bytes) {
            this.tenant = tenant;
            this.info = info;
            data = map(info.dataFile(), bytes);
            headers = map(info.headerFile(), HEADERS + (long) HEADER_BYTES * info.slots());
            slots = new Entry[info.slots()];
        }

        private MemorySegment map(final String file, final long bytes) {
            try (FileChannel channel = FileChannel.open(
                    path(file), StandardOpenOption.CREATE_NEW, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
                return channel.map(FileChannel.MapMode.READ_WRITE, 0, bytes, arena)
                        .fill((byte) 0x5a);
            } catch (final IOException failure) {
                throw new UncheckedIOException(failure);
            }
        }

        private Path path(final String file) {
            return Path.of(tenant.directory(), file);
        }

        MemorySegment slot(final int slot) {
            return data.asSlice(slot * info.slotBytes(), info.slotBytes());
        }

        boolean isEmpty() {
            return Arrays.stream(slots).allMatch(entry -> entry == null);
        }

        void retire() {
            data.fill((byte) 0x5a);
            arena.close();
            try {
                Files.delete(path(info.dataFile()));
                Files.delete(path(info.headerFile()));
            } catch (final IOException failure) {
                throw new UncheckedIOException(failure);
            }
        }
    }

    private static final class Entry {
        final int number;
        int serial;
        State state = State.FREE;
        Region region;
        int slot;
        ObjectId id;
        int object;
        long length;
        int crc32c;
        long expiryUnixMs;
        int holds;
        int uses;
        long used;

        Entry(final int number) {
            this.number = number;
        }
    }

    private record Bytes(MemorySegment slot) implements SlotBytes {
        @Override
        public long byteSize() {
            return slot.byteSize();
        }

        @Override
        public void read(final long position, final MemorySegment into) {
            MemorySegment.copy(slot, position, into, 0, into.byteSize());
        }

        @Override
        public void write(final long position, final MemorySegment from) {
            MemorySegment.copy(from, 0, slot, position, from.byteSize());
        }

        @Override
        public int crc32c(final long length) {
            final CRC32C crc = new CRC32C();
            crc.update(slot.asSlice(0, length).asByteBuffer());
            return (int) crc.getValue();
        }
    }

    private static final AtomicInteger INCARNATIONS = new AtomicInteger();

    private final int incarnation = INCARNATIONS.incrementAndGet();
    private final ObjectTable table;
    private final TierListener listener;
    private final EpochClock clock;
    private final long capacity;
    private final List<Region> regions = new ArrayList<>();
    private final List<Entry> entries = new ArrayList<>();
    private final ArrayDeque<Entry> free = new ArrayDeque<>();
    private final Map<Integer, Entry> byObject = new HashMap<>();
    private long regionBytes;
    private int regionsMade;
    private long generation;
    private long uses;

    FakeDeviceTier(final ObjectTable table, final TierListener listener, final EpochClock clock, final long capacity) {
        this.table = table;
        this.listener = listener;
        this.clock = clock;
        this.capacity = capacity;
    }

    @Override
    public TierKind kind() {
        return TierKind.DEVICE;
    }

    @Override
    public int entryLimit() {
        return MOST_ENTRIES;
    }

    // ---- index

    @Override
    public int entry(final int object) {
        if (object < 0 || !table.isIn(object, TierKind.DEVICE)) {
            return NONE;
        }
        final Entry entry = byObject.get(object);
        if (entry.state == State.READABLE && entry.expiryUnixMs != 0 && entry.expiryUnixMs <= clock.time()) {
            dropOrCondemn(entry.number);
        }
        return entry.state == State.FREE ? NONE : entry.number;
    }

    @Override
    public int object(final int entry) {
        return entries.get(entry).object;
    }

    @Override
    public int serial(final int entry) {
        return entries.get(entry).serial;
    }

    @Override
    public boolean isReadable(final int entry) {
        return entries.get(entry).state == State.READABLE;
    }

    @Override
    public boolean isWriting(final int entry) {
        return entries.get(entry).state == State.WRITING;
    }

    @Override
    public boolean isCondemned(final int entry) {
        return entries.get(entry).state == State.CONDEMNED;
    }

    // ---- reading

    @Override
    public void hold(final int entry) {
        entries.get(entry).holds++;
    }

    @Override
    public void unhold(final int number) {
        final Entry entry = entries.get(number);
        if (--entry.holds < 0) {
            throw new AssertionError("a hold was given back twice");
        }
        if (entry.holds == 0) {
            if (entry.state == State.CONDEMNED) {
                forget(entry);
            }
            listener.spaceFreed(TierKind.DEVICE);
        }
    }

    @Override
    public void touch(final int entry) {
        entries.get(entry).used = ++uses;
        entries.get(entry).uses++;
    }

    @Override
    public int region(final int entry) {
        return entries.get(entry).region.info.region();
    }

    @Override
    public int slot(final int entry) {
        return entries.get(entry).slot;
    }

    @Override
    public long stamp(final int entry) {
        return header(entries.get(entry)).get(ValueLayout.JAVA_LONG, 0);
    }

    @Override
    public long length(final int entry) {
        return entries.get(entry).length;
    }

    @Override
    public long slotBytes(final int entry) {
        return entries.get(entry).region.info.slotBytes();
    }

    @Override
    public RegionInfo regionInfo(final int region) {
        return regions.stream()
                .map(each -> each.info)
                .filter(info -> info.region() == region)
                .findFirst()
                .orElse(null);
    }

    @Override
    public SlotBytes payload(final int number, final long bytes) {
        final Entry entry = entries.get(number);
        return new Bytes(entry.region.slot(entry.slot).asSlice(0, bytes));
    }

    // ---- writing

    @Override
    public int reserve(final Tenant tenant, final ObjectId id, final long length, final int codec) {
        final long slotBytes = SizeClass.slotBytes(length);
        if (slotBytes > capacity) {
            return NO_SPACE;
        }
        Region region = withSpace(tenant, slotBytes);
        for (Optional<Entry> coldest = coldest(); region == null && coldest.isPresent(); coldest = coldest()) {
            dropOrCondemn(coldest.get().number);
            region = withSpace(tenant, slotBytes);
        }
        if (region == null) {
            return NO_SPACE;
        }
        final int object = table.put(id);
        if (object < 0 || table.isIn(object, TierKind.DEVICE)) {
            throw new AssertionError("a second slot for an object");
        }
        final Entry entry = free.isEmpty() ? new Entry(entries.size()) : free.remove();
        if (entry.number == entries.size()) {
            entries.add(entry);
        }
        entry.serial++;
        entry.state = State.WRITING;
        entry.region = region;
        entry.slot = Arrays.asList(region.slots).indexOf(null);
        entry.id = id;
        entry.object = object;
        entry.length = length;
        entry.holds = 0;
        entry.uses = 0;
        entry.used = ++uses;
        region.slots[entry.slot] = entry;
        stamp(entry, 1);
        byObject.put(object, entry);
        table.in(object, TierKind.DEVICE, true);
        return entry.number;
    }

    private Region withSpace(final Tenant tenant, final long slotBytes) {
        for (final Region region : regions) {
            if (region.tenant.name().equals(tenant.name())
                    && region.info.slotBytes() == slotBytes
                    && Arrays.asList(region.slots).contains(null)) {
                return region;
            }
        }
        final long bytes = Math.max(REGION_BYTES, slotBytes);
        for (final Region region : List.copyOf(regions)) {
            if (regionBytes + bytes > capacity && region.isEmpty()) {
                regions.remove(region);
                regionBytes -= region.data.byteSize();
                region.retire();
            }
        }
        if (regionBytes + bytes > capacity) {
            return null;
        }
        final int id = Integer.MIN_VALUE + ++regionsMade;
        final Region region = new Region(
                tenant,
                new RegionInfo(
                        id,
                        slotBytes,
                        (int) (bytes / slotBytes),
                        name(regionsMade) + ".memory",
                        name(regionsMade) + ".stamps"),
                bytes);
        regions.add(region);
        regionBytes += bytes;
        return region;
    }

    /** Differs from that of an earlier node, whose memory may still be mapped. */
    private String name(final int number) {
        return "device-" + incarnation + "-" + number;
    }

    private Optional<Entry> coldest() {
        return entries.stream()
                .filter(entry -> entry.state == State.READABLE && entry.holds == 0)
                .min(Comparator.comparingLong(entry -> entry.used));
    }

    @Override
    public void commit(
            final int number,
            final int crc32c,
            final Hash256 parent,
            final int chunkIndex,
            final int priority,
            final long expiryUnixMs) {
        final Entry entry = entries.get(number);
        if (entry.state != State.WRITING) {
            throw new AssertionError("a commit of what is not reserved");
        }
        entry.crc32c = crc32c;
        entry.expiryUnixMs = expiryUnixMs;
        entry.state = State.READABLE;
        stamp(entry, 2);
        listener.present(TierKind.DEVICE, entry.region.tenant.name(), entry.id, entry.length, parent, chunkIndex);
    }

    @Override
    public void abort(final int number) {
        final Entry entry = entries.get(number);
        if (entry.state != State.WRITING) {
            throw new AssertionError("an abort of what is not reserved");
        }
        forget(entry);
        listener.spaceFreed(TierKind.DEVICE);
    }

    @Override
    public void dropOrCondemn(final int number) {
        final Entry entry = entries.get(number);
        if (entry.state != State.READABLE) {
            throw new AssertionError("a " + entry.state + " object is dropped");
        }
        entry.state = State.CONDEMNED;
        if (entry.holds == 0) {
            table.leave(entry.object, TierKind.DEVICE);
        }
        listener.leaving(TierKind.DEVICE, entry.region.tenant.name(), entry.id, entry.uses);
        if (entry.holds == 0) {
            free(entry);
        }
    }

    private void forget(final Entry entry) {
        table.leave(entry.object, TierKind.DEVICE);
        free(entry);
    }

    private void free(final Entry entry) {
        stamp(entry, 0);
        entry.region.slot(entry.slot).fill((byte) 0x5a);
        entry.region.slots[entry.slot] = null;
        byObject.remove(entry.object);
        entry.state = State.FREE;
        entry.serial++;
        free.add(entry);
    }

    private MemorySegment header(final Entry entry) {
        return entry.region.headers.asSlice(HEADERS + (long) HEADER_BYTES * entry.slot, HEADER_BYTES);
    }

    /** As in DRAM: a generation, and the state in the low byte. */
    private void stamp(final Entry entry, final int state) {
        header(entry).set(ValueLayout.JAVA_LONG, 0, ++generation << 8 | state);
    }

    // ---- for tests

    int objects() {
        return (int)
                entries.stream().filter(entry -> entry.state == State.READABLE).count();
    }

    int heldObjects() {
        return (int) entries.stream().filter(entry -> entry.holds > 0).count();
    }

    /** Objects that are nowhere else, and keep their slots because somebody holds them. */
    int onlyHere() {
        return (int) entries.stream()
                .filter(entry -> entry.state != State.FREE
                        && !table.isIn(entry.object, TierKind.DRAM)
                        && !table.isIn(entry.object, TierKind.SSD))
                .count();
    }

    long regionBytes() {
        return regionBytes;
    }

    boolean has(final ObjectId id) {
        final int object = table.find(id);
        final int entry = entry(object);
        return entry != NONE && isReadable(entry);
    }

    /** Fails when a second copy has no first one, or has not the bytes that were copied. */
    void check() {
        for (final Entry entry : entries) {
            if (entry.state == State.READABLE) {
                if (!table.isIn(entry.object, TierKind.DRAM) && !table.isIn(entry.object, TierKind.SSD)) {
                    throw new AssertionError("a second copy without a first one: " + entry.id);
                }
                if (!table.id(entry.object).equals(entry.id)) {
                    throw new AssertionError("another object than the table has: " + entry.id);
                }
                if (payload(entry.number, entry.length).byteSize() != entry.length
                        || new Bytes(entry.region.slot(entry.slot)).crc32c(entry.length) != entry.crc32c) {
                    throw new AssertionError("other bytes than were copied: " + entry.id);
                }
            }
        }
    }

    /** The memory is gone, as with the process that had it. */
    @Override
    public void close() {
        regions.forEach(Region::retire);
        regions.clear();
    }
}
