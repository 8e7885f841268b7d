package io.kvasir.storage.tier.dram;

import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.Shard;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.VarHandle;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * One slot of a real header table for each stress test, with its payload. The files are mapped twice, as they are in a
 * node and in an engine: the node's side writes through one mapping, the engine's reads through the other.
 */
class StressedTable {
    static final Shard SHARD = new Shard(0, 1, 0, 1, 0, 0, 1, 0, 1);
    static final int WORDS = 4;
    static final long OLD = 0x1111_1111_1111_1111L;
    static final long NEW = 0x2222_2222_2222_2222L;
    static final long OLD_GENERATION = 2;
    static final long OLD_STAMP = HeaderTable.stamp(OLD_GENERATION, HeaderTable.COMMITTED);

    /** Far more than the tests that jcstress has under way at a time. */
    private static final int SLOTS = 1 << 16;

    private static final int SLOT_BYTES = WORDS * Long.BYTES;
    private static final AtomicInteger NEXT = new AtomicInteger();
    private static final MemorySegment[] HEADERS = mapTwice(HeaderTable.fileBytes(SLOTS));
    private static final MemorySegment[] PAYLOAD = mapTwice((long) SLOTS * SLOT_BYTES);

    /** The node's side. */
    final HeaderTable node = new HeaderTable(HEADERS[0]);
    /** The engine's side. */
    final HeaderTable engine = new HeaderTable(HEADERS[1]);

    final int slot = (NEXT.getAndIncrement() & Integer.MAX_VALUE) % SLOTS;

    private static MemorySegment[] mapTwice(final long bytes) {
        try {
            final Path file = Files.createTempFile(Path.of("/dev/shm"), "kvasir-stress-", null);
            try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
                final MemorySegment writable = channel.map(FileChannel.MapMode.READ_WRITE, 0, bytes, Arena.global());
                return new MemorySegment[] {
                    writable, channel.map(FileChannel.MapMode.READ_ONLY, 0, bytes, Arena.global())
                };
            } finally {
                Files.delete(file);
            }
        } catch (final IOException e) {
            throw new UncheckedIOException("/dev/shm cannot be used", e);
        }
    }

    static Hash256 hash(final long word) {
        return new Hash256(word, word, word, word);
    }

    /** As {@code DramTier} does: the fields, the reserved stamp, payload, the sealed header, and the stamp last. */
    void commit(final long word, final long generation) {
        reserve(word, generation - 1);
        write(word);
        node.seal(slot, hash(word), 0, 0, 0, generation);
        node.setStamp(slot, HeaderTable.stamp(generation, HeaderTable.COMMITTED));
    }

    void reserve(final long word, final long generation) {
        node.describe(slot, hash(word), hash(word), SHARD, word, word, 0);
        node.setStamp(slot, HeaderTable.stamp(generation, HeaderTable.RESERVED));
        // The bytes are written by another process or thread, which learns of the slot by a system call or a queue.
        VarHandle.fullFence();
    }

    void write(final long word) {
        for (int i = 0; i < WORDS; i++) {
            PAYLOAD[0].set(ValueLayout.JAVA_LONG, at(i), word);
        }
    }

    /** What an engine copies: {@link #OLD} or {@link #NEW} when all words are, 0 when they are mixed. */
    long copy() {
        final long first = PAYLOAD[1].get(ValueLayout.JAVA_LONG, at(0));
        boolean whole = true;
        for (int i = 1; i < WORDS; i++) {
            whole &= PAYLOAD[1].get(ValueLayout.JAVA_LONG, at(i)) == first;
        }
        return whole ? first : 0;
    }

    private long at(final int word) {
        return (long) slot * SLOT_BYTES + (long) word * Long.BYTES;
    }
}
