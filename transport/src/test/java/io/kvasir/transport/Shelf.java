package io.kvasir.transport;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.zip.CRC32C;

/**
 * A place for objects in tests: source and sink of a link, with one owner (the test's thread). Answers at once, or when
 * the test says so. Each byte that is handed out is off-heap and belongs to one object, so that a stray write shows.
 */
final class Shelf implements ObjectSource, ObjectSink {
    static final class Held {
        final MemorySegment bytes;
        ObjectVersion version;
        int leases;
        boolean changed;
        /** From here on the bytes are gone. */
        long goneFrom = Long.MAX_VALUE;

        Held(final MemorySegment bytes, final ObjectVersion version) {
            this.bytes = bytes;
            this.version = version;
        }
    }

    final Arena arena = Arena.ofShared();
    final Map<ObjectName, Held> held = new HashMap<>();
    final Map<ObjectName, Held> reserved = new HashMap<>();
    /** Slots that came back, and what their owner then wrote there. */
    final Map<MemorySegment, Long> returned = new HashMap<>();

    final List<ObjectName> reports = new ArrayList<>();
    final List<Outcome> failures = new ArrayList<>();
    final List<Runnable> later = new ArrayList<>();
    boolean answersLater;
    /** Nothing can be written into a slot. */
    boolean slotsAreGone;

    long room = Long.MAX_VALUE;
    int completed;

    static ObjectName name(final int number) {
        final SplittableRandom random = new SplittableRandom(number);
        return new ObjectName(1, 2, 3, 4, random.nextLong(), random.nextLong(), random.nextLong(), number, 5, 6);
    }

    Held put(final int number, final int length) {
        return put(name(number), length, number);
    }

    Held put(final ObjectName name, final int length, final long seed) {
        final MemorySegment bytes = arena.allocate(length, 64);
        fill(bytes, seed);
        final Held object = new Held(bytes, new ObjectVersion(length, crc(bytes), 0, 1, 2, 3, 4, (int) seed, 7, 8));
        held.put(name, object);
        return object;
    }

    static void fill(final MemorySegment bytes, final long seed) {
        final SplittableRandom random = new SplittableRandom(seed);
        final byte[] content = new byte[(int) bytes.byteSize()];
        random.nextBytes(content);
        MemorySegment.copy(content, 0, bytes, ValueLayout.JAVA_BYTE, 0, content.length);
    }

    static int crc(final MemorySegment bytes) {
        final CRC32C crc = new CRC32C();
        final ByteBuffer view = bytes.asByteBuffer();
        crc.update(view);
        return (int) crc.getValue();
    }

    @Override
    public void open(final ObjectName name, final long deadlineNs, final Priority priority, final SourceAnswer answer) {
        run(() -> {
            final Held object = held.get(name);
            if (object == null) {
                answer.refuse(Outcome.MISSING);
            } else {
                object.leases++;
                answer.ready(new Lease(object));
            }
        });
    }

    private record Lease(Held object) implements SourceObject {
        @Override
        public ObjectVersion version() {
            return object.version;
        }

        @Override
        public void read(final long position, final MemorySegment into) {
            if (position + into.byteSize() > object.goneFrom) {
                throw new IllegalStateException("the bytes are gone");
            }
            into.copyFrom(object.bytes.asSlice(position, into.byteSize()));
        }

        @Override
        public boolean unchanged() {
            return !object.changed;
        }

        @Override
        public void release() {
            object.leases--;
        }
    }

    @Override
    public void reportedCorrupt(final ObjectName name, final ObjectVersion version) {
        reports.add(name);
    }

    @Override
    public void offer(
            final ObjectName name,
            final ObjectVersion version,
            final Peer from,
            final long deadlineNs,
            final Priority priority,
            final SinkAnswer answer) {
        run(() -> {
            if (held.containsKey(name)) {
                answer.refuse(Outcome.ALREADY_THERE);
            } else if (version.length() > room || reserved.containsKey(name)) {
                answer.refuse(Outcome.REFUSED);
            } else {
                room -= version.length();
                final Held slot = new Held(arena.allocate(version.length(), 64), version);
                reserved.put(name, slot);
                answer.accept(new Slot(this, name, slot));
            }
        });
    }

    private record Slot(Shelf shelf, ObjectName name, Held slot) implements Reservation {
        @Override
        public void write(final long position, final MemorySegment from) {
            if (shelf.slotsAreGone) {
                throw new IllegalStateException("the slot is gone");
            }
            MemorySegment.copy(from, 0, slot.bytes, position, from.byteSize());
        }

        @Override
        public void complete() {
            if (!shelf.reserved.remove(name, slot)) {
                throw new AssertionError("reservation ended twice");
            }
            shelf.held.put(name, slot);
            shelf.completed++;
        }

        @Override
        public void failed(final Outcome reason) {
            if (!shelf.reserved.remove(name, slot)) {
                throw new AssertionError("reservation ended twice");
            }
            shelf.room += slot.version.length();
            shelf.failures.add(reason);
            fill(slot.bytes, ~name.key3());
            shelf.returned.put(slot.bytes, ~name.key3());
        }
    }

    @Override
    public void flush() {}

    /** What is held has its version's bytes, and what was given back has only its owner's. */
    void checkEveryByte() {
        held.forEach((name, object) -> check(object.bytes, object.version.chunkIndex(), "held " + name));
        returned.forEach((slot, seed) -> check(slot, seed, "a slot that was given back"));
    }

    private static void check(final MemorySegment bytes, final long seed, final String what) {
        try (Arena confined = Arena.ofConfined()) {
            final MemorySegment right = confined.allocate(bytes.byteSize());
            fill(right, seed);
            final long at = bytes.mismatch(right);
            if (at != -1) {
                throw new AssertionError("wrong byte at " + at + " of " + bytes.byteSize() + " in " + what);
            }
        }
    }

    private void run(final Runnable answer) {
        if (answersLater) {
            later.add(answer);
        } else {
            answer.run();
        }
    }

    void answerNow() {
        final List<Runnable> now = List.copyOf(later);
        later.clear();
        now.forEach(Runnable::run);
    }

    int leases() {
        return held.values().stream().mapToInt(object -> object.leases).sum();
    }

    boolean has(final int number, final Shelf original) {
        final Held mine = held.get(name(number));
        final Held theirs = original.held.get(name(number));
        return mine != null && theirs != null && mine.bytes.mismatch(theirs.bytes) == -1;
    }
}
