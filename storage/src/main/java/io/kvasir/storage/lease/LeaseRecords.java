package io.kvasir.storage.lease;

import io.kvasir.storage.posix.Posix;
import io.kvasir.storage.posix.PosixException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.function.IntConsumer;

/**
 * The leases themselves, by numbers from 0 on: id, time, session, and in {@link LeaseBlocks} which shards were given back
 * and the entries of the cells. Off the heap. Part of {@link LeaseTable}.
 */
final class LeaseRecords {
    private static final int NONE = LeaseTable.NONE;

    private static final int ID = 0;
    private static final int EXPIRES = 8;
    private static final int CLAIM = 16;
    private static final int SESSION = 24;
    private static final int SHARDS = 28;
    /** Shards that were not given back. */
    private static final int LEFT = 32;

    private static final int CELLS = 36;
    private static final int FIRST_BLOCK = 40;
    private static final int LAST_BLOCK = 44;
    /** Numbers that are in the blocks; while it is swept, those that were looked at. */
    private static final int AT = 48;
    /** The block in which that number is. */
    private static final int AT_BLOCK = 52;

    private static final int OLDER = 56;
    private static final int NEWER = 60;
    /** Of a lease that is swept; of a free one the next free one. */
    private static final int NEXT = 64;

    private static final int FLAGS = 68;
    /** Numbers that are in the blocks, once it is sealed or abandoned. */
    private static final int END = 72;
    /** Which of its session's lists it is in. */
    private static final int LIST = 76;

    private static final int RECORD = 80;

    private static final int SEALED = 1;
    /** All of it is given back: it is nobody's. */
    private static final int ENDED = 2;
    /** It is among its session's leases to sweep. */
    private static final int SWEPT = 4;
    /** More was given back while it was swept. */
    private static final int AGAIN = 8;

    private final MemorySegment memory;
    private final LeaseBlocks blocks;
    private final int indexBits;
    private final long base;
    private long serial;
    private int free = NONE;
    private int used;
    /** Which shards of the lease that is looked at were given back. */
    private int[] released = new int[16];

    /** @param leases a power of two */
    LeaseRecords(final int leases, final int numbers, final long base, final Arena arena) throws PosixException {
        memory = Posix.zeroes((long) leases * RECORD, arena);
        blocks = new LeaseBlocks(blocks(leases, numbers), arena);
        indexBits = Integer.numberOfTrailingZeros(leases);
        this.base = base;
    }

    static long bytes(final int leases, final int numbers) {
        return (long) leases * RECORD + LeaseBlocks.bytes(blocks(leases, numbers));
    }

    /** Enough, however the numbers are spread over leases. */
    private static int blocks(final int leases, final int numbers) {
        return numbers / LeaseBlocks.NUMBERS + leases;
    }

    /** Numbers in blocks that such a lease takes. */
    static int numbers(final int cells, final int shards) {
        return cells + words(shards);
    }

    private static int words(final int shards) {
        return (shards + Integer.SIZE - 1) / Integer.SIZE;
    }

    int numbers(final int lease) {
        return numbers(cells(lease), shards(lease));
    }

    // ---- making

    /** A lease without its cells. */
    int take(final SessionLeases session, final int cells, final int shards, final long expiresNs) {
        final int lease;
        if (free == NONE) {
            lease = used++;
        } else {
            lease = free;
            free = get(lease, NEXT);
        }
        long id = 0;
        while (id == 0) {
            id = base + (serial++ << indexBits | lease);
        }
        setLong(lease, ID, id);
        setLong(lease, EXPIRES, expiresNs);
        setLong(lease, CLAIM, 0);
        set(lease, SESSION, session.number);
        set(lease, SHARDS, shards);
        set(lease, LEFT, shards);
        set(lease, CELLS, cells);
        set(lease, FLAGS, 0);
        set(lease, AT, 0);
        final int block = blocks.take();
        set(lease, FIRST_BLOCK, block);
        set(lease, LAST_BLOCK, block);
        for (int i = 0; i < words(shards); i++) {
            add(lease, 0);
        }
        return lease;
    }

    void add(final int lease, final int number) {
        final int at = get(lease, AT);
        assert at < numbers(lease) : "a lease has the cells that were asked for";
        int block = get(lease, LAST_BLOCK);
        if (at > 0 && at % LeaseBlocks.NUMBERS == 0) {
            final int next = blocks.take();
            blocks.next(block, next);
            set(lease, LAST_BLOCK, next);
            block = next;
        }
        blocks.set(block, at % LeaseBlocks.NUMBERS, number);
        set(lease, AT, at + 1);
    }

    /** From now on it is found, and one of its session's. */
    void seal(final SessionLeases session, final int lease) {
        flag(lease, SEALED);
        set(lease, END, get(lease, AT));
        link(session, lease, 0);
    }

    /** Takes it from one list of its session to another one. */
    void move(final SessionLeases session, final int lease, final int list) {
        unlink(session, lease);
        link(session, lease, list);
    }

    private void link(final SessionLeases session, final int lease, final int list) {
        final int older = session.newest[list];
        set(lease, LIST, list);
        set(lease, OLDER, older);
        set(lease, NEWER, NONE);
        if (older != NONE) {
            set(older, NEWER, lease);
        }
        session.newest[list] = lease;
    }

    private void unlink(final SessionLeases session, final int lease) {
        final int older = get(lease, OLDER);
        final int newer = get(lease, NEWER);
        if (older != NONE) {
            set(older, NEWER, newer);
        }
        if (newer != NONE) {
            set(newer, OLDER, older);
        } else {
            session.newest[get(lease, LIST)] = older;
        }
    }

    /** Takes the lease, which was swept, out of everything. */
    void give(final SessionLeases session, final int lease) {
        if (is(lease, SEALED)) {
            unlink(session, lease);
        }
        blocks.give(get(lease, FIRST_BLOCK), get(lease, LAST_BLOCK));
        setLong(lease, ID, 0);
        set(lease, FLAGS, 0);
        set(lease, NEXT, free);
        free = lease;
    }

    // ---- reading

    int find(final long id) {
        final int lease = (int) (id - base) & (1 << indexBits) - 1;
        return id != 0 && getLong(lease, ID) == id && is(lease, SEALED) && !is(lease, ENDED) ? lease : NONE;
    }

    long id(final int lease) {
        return getLong(lease, ID);
    }

    int session(final int lease) {
        return get(lease, SESSION);
    }

    int shards(final int lease) {
        return get(lease, SHARDS);
    }

    int cells(final int lease) {
        return get(lease, CELLS);
    }

    long expiresNs(final int lease) {
        return getLong(lease, EXPIRES);
    }

    void expiresNs(final int lease, final long ns) {
        setLong(lease, EXPIRES, ns);
    }

    long claim(final int lease) {
        return getLong(lease, CLAIM);
    }

    void claim(final int lease, final long bytes) {
        setLong(lease, CLAIM, bytes);
    }

    /** Where in a sealed lease its next cell is, for one that reads it in parts. */
    static final class Place {
        private int at;
        private int block = NONE;
    }

    /** Reads about so many cells behind the place; true when there are no more. */
    boolean read(final int lease, final Place place, final int most, final IntConsumer entry) {
        readReleased(lease);
        final int shards = shards(lease);
        final int words = words(shards);
        final int end = get(lease, END);
        int block = place.block == NONE ? get(lease, FIRST_BLOCK) : place.block;
        int at = place.at;
        for (int left = most; at < end && left > 0; at++, left--) {
            if (at > 0 && at % LeaseBlocks.NUMBERS == 0) {
                block = blocks.next(block);
            }
            if (at >= words) {
                entry.accept(isReleased((at - words) % shards) ? NONE : blocks.get(block, at % LeaseBlocks.NUMBERS));
            }
        }
        place.at = at;
        place.block = block;
        return at >= end;
    }

    // ---- giving back

    /** Marks shards as given back (none named: all). False when all of these were before. */
    boolean release(final int lease, final int[] shardIndices) {
        if (shardIndices.length == 0) {
            end(lease);
            return true;
        }
        boolean any = false;
        for (final int shard : shardIndices) {
            any |= shard >= 0 && shard < shards(lease) && release(lease, shard);
        }
        if (get(lease, LEFT) == 0) {
            end(lease);
        }
        return any;
    }

    private boolean release(final int lease, final int shard) {
        int at = shard / Integer.SIZE;
        int block = get(lease, FIRST_BLOCK);
        for (; at >= LeaseBlocks.NUMBERS; at -= LeaseBlocks.NUMBERS) {
            block = blocks.next(block);
        }
        final int word = blocks.get(block, at);
        if ((word & 1 << shard) != 0) {
            return false;
        }
        blocks.set(block, at, word | 1 << shard);
        set(lease, LEFT, get(lease, LEFT) - 1);
        return true;
    }

    boolean isEnded(final int lease) {
        return is(lease, ENDED);
    }

    void end(final int lease) {
        flag(lease, ENDED);
    }

    /** The lease is to be swept, from its beginning. True when it is among those already. */
    boolean sweepAgain(final int lease) {
        if (is(lease, SWEPT)) {
            flag(lease, AGAIN);
            return true;
        }
        flag(lease, SWEPT);
        set(lease, NEXT, NONE);
        if (!is(lease, SEALED)) {
            // It may have fewer cells than it was made for.
            set(lease, END, get(lease, AT));
        }
        set(lease, AT, 0);
        set(lease, AT_BLOCK, get(lease, FIRST_BLOCK));
        return false;
    }

    int nextToSweep(final int lease) {
        return get(lease, NEXT);
    }

    void nextToSweep(final int lease, final int next) {
        set(lease, NEXT, next);
    }

    /**
     * Goes on through the lease's cells, taking out what was given back.
     *
     * @return what is left of the limit; 0: it is to go on
     */
    int sweep(final int lease, final int most, final IntConsumer givenBack) {
        readReleased(lease);
        final boolean all = is(lease, ENDED);
        final int shards = shards(lease);
        final int words = words(shards);
        final int end = get(lease, END);
        int at = get(lease, AT);
        int block = get(lease, AT_BLOCK);
        // Also a lease without cells costs a step.
        int left = most - 1;
        while (left > 0) {
            if (at == end) {
                if (!is(lease, AGAIN)) {
                    return left;
                }
                unflag(lease, AGAIN);
                at = 0;
                block = get(lease, FIRST_BLOCK);
            }
            if (at > 0 && at % LeaseBlocks.NUMBERS == 0) {
                block = blocks.next(block);
            }
            final int place = at % LeaseBlocks.NUMBERS;
            if (at >= words && (all || isReleased((at - words) % shards))) {
                final int entry = blocks.get(block, place);
                if (entry != NONE) {
                    blocks.set(block, place, NONE);
                    givenBack.accept(entry);
                }
            }
            at++;
            left--;
        }
        set(lease, AT, at);
        set(lease, AT_BLOCK, block);
        return 0;
    }

    /** The sweep is over. True when the lease has ended. */
    boolean swept(final int lease) {
        unflag(lease, SWEPT);
        return is(lease, ENDED);
    }

    private void readReleased(final int lease) {
        final int words = words(shards(lease));
        if (released.length < words) {
            released = new int[words];
        }
        int block = get(lease, FIRST_BLOCK);
        for (int at = 0; at < words; at++) {
            if (at > 0 && at % LeaseBlocks.NUMBERS == 0) {
                block = blocks.next(block);
            }
            released[at] = blocks.get(block, at % LeaseBlocks.NUMBERS);
        }
    }

    private boolean isReleased(final int shard) {
        return (released[shard / Integer.SIZE] & 1 << shard) != 0;
    }

    private boolean is(final int lease, final int flag) {
        return (get(lease, FLAGS) & flag) != 0;
    }

    private void flag(final int lease, final int flag) {
        set(lease, FLAGS, get(lease, FLAGS) | flag);
    }

    private void unflag(final int lease, final int flag) {
        set(lease, FLAGS, get(lease, FLAGS) & ~flag);
    }

    private int get(final int lease, final int offset) {
        return memory.get(ValueLayout.JAVA_INT, (long) lease * RECORD + offset);
    }

    private void set(final int lease, final int offset, final int value) {
        memory.set(ValueLayout.JAVA_INT, (long) lease * RECORD + offset, value);
    }

    private long getLong(final int lease, final int offset) {
        return memory.get(ValueLayout.JAVA_LONG, (long) lease * RECORD + offset);
    }

    private void setLong(final int lease, final int offset, final long value) {
        memory.set(ValueLayout.JAVA_LONG, (long) lease * RECORD + offset, value);
    }
}
