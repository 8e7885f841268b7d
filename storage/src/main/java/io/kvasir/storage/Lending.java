package io.kvasir.storage;

import io.kvasir.storage.move.MovePriority;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.posix.PosixException;
import io.kvasir.storage.tier.Tier;
import io.kvasir.storage.tier.dram.DramTier;
import io.kvasir.storage.tier.dram.Payload;
import io.kvasir.storage.tier.dram.TenantArena;
import io.kvasir.storage.tier.ssd.StoredObject;
import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.util.ArrayDeque;
import java.util.concurrent.Executor;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.IntConsumer;

/**
 * Holds objects while they are sent to other nodes. What is on SSD comes to DRAM first, and nothing leaves the node
 * unsummed or unverified. Owned by {@link StoreAgent}.
 */
final class Lending {
    private static final int MOST_WAITING = 1 << 14;
    /** Requests that one turn looks at again; the others have their turn after them. */
    static final int LOOKED_AT_ONCE = 256;

    private record Waiting(ObjectId id, MovePriority priority, long deadlineNs, Consumer<Lent> answer) {}

    private final DramTier dram;
    private final SsdShelf ssd;
    private final IntConsumer verify;
    private final Function<Hash256, TenantArena> arena;
    private final Executor owner;
    private final ArrayDeque<Waiting> waiting = new ArrayDeque<>();

    /** @param arena of a namespace's tenant; null when it is not known here */
    Lending(
            final DramTier dram,
            final SsdShelf ssd,
            final IntConsumer verify,
            final Function<Hash256, TenantArena> arena,
            final Executor owner) {
        this.dram = dram;
        this.ssd = ssd;
        this.verify = verify;
        this.arena = arena;
        this.owner = owner;
    }

    /**
     * Answers once: null when the object is not here, or could not be made ready before the deadline.
     *
     * @param priority of its promotion, when it is on SSD
     */
    void lend(
            final ObjectId id,
            final MovePriority priority,
            final long deadlineNs,
            final Consumer<Lent> answer,
            final long nowNs) {
        final Waiting request = new Waiting(id, priority, deadlineNs, answer);
        if (!attempt(request, nowNs)) {
            if (waiting.size() >= MOST_WAITING) {
                answer.accept(null);
            } else {
                waiting.add(request);
            }
        }
    }

    int doWork(final long nowNs) {
        int done = 0;
        for (int left = Math.min(waiting.size(), LOOKED_AT_ONCE); left > 0; left--) {
            final Waiting request = waiting.poll();
            if (attempt(request, nowNs)) {
                done++;
            } else {
                waiting.add(request);
            }
        }
        return done;
    }

    /** False: it has to wait. */
    private boolean attempt(final Waiting request, final long nowNs) {
        if (nowNs - request.deadlineNs >= 0) {
            request.answer.accept(null);
            return true;
        }
        final ObjectId id = request.id;
        final int entry = dram.find(id.namespace(), id.key(), id.shard());
        if (entry == DramTier.NONE) {
            return promote(request, nowNs);
        }
        if (dram.isCondemned(entry)) {
            request.answer.accept(null);
            return true;
        }
        if (dram.isWriting(entry)) {
            return false;
        }
        if (dram.isUnverified(entry) || !dram.isSummed(entry)) {
            verify.accept(entry);
            return false;
        }
        request.answer.accept(hold(entry));
        return true;
    }

    private boolean promote(final Waiting request, final long nowNs) {
        final int object = ssd.find(request.id);
        final TenantArena tenant = ssd.has(object) ? arena.apply(request.id.namespace()) : null;
        if (tenant == null
                || ssd.promote(tenant, object, request.id, request.priority, request.deadlineNs, nowNs)
                        == Tier.NOT_HERE) {
            request.answer.accept(null);
            return true;
        }
        return false;
    }

    private Lent hold(final int entry) {
        dram.hold(entry);
        final long stamp = dram.stamp(entry);
        final java.util.function.LongSupplier stampNow = dram.stampReader(entry);
        final Payload bytes = dram.payload(entry, dram.length(entry));
        final int serial = dram.serial(entry);
        final StoredObject object = new StoredObject(
                dram.length(entry),
                dram.crc32c(entry),
                dram.codec(entry),
                dram.parent(entry),
                dram.chunkIndex(entry),
                dram.priority(entry),
                dram.expiry(entry));
        return new Lent() {
            @Override
            public StoredObject object() {
                return object;
            }

            @Override
            public void read(final long position, final MemorySegment into) {
                try {
                    bytes.read(position, into);
                } catch (final PosixException gone) {
                    owner.execute(() -> {
                        if (dram.is(entry, serial)) {
                            dram.inspect(entry);
                        }
                    });
                    throw new UncheckedIOException(gone);
                }
            }

            @Override
            public boolean isUnchanged() {
                return stampNow.getAsLong() == stamp;
            }

            @Override
            public void giveBack() {
                owner.execute(() -> dram.unhold(entry));
            }
        };
    }
}
