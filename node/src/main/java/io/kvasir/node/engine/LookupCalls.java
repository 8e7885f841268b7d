package io.kvasir.node.engine;

import com.google.protobuf.ByteString;
import com.google.protobuf.UnsafeByteOperations;
import io.kvasir.node.engine.v1.Lookup;
import io.kvasir.node.engine.v1.LookupResult;
import io.kvasir.node.engine.v1.PlanRange;
import io.kvasir.node.engine.v1.Request;
import io.kvasir.node.engine.v1.Response;
import io.kvasir.node.engine.v1.Tier;
import io.kvasir.storage.EngineStore;
import io.kvasir.storage.budget.StoreLimits;
import io.kvasir.storage.lookup.LookupAnswer;
import io.kvasir.storage.lookup.LookupQuery;
import io.kvasir.storage.lookup.SlicedLookup;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.SlotStatus;
import java.util.concurrent.TimeUnit;
import java.util.function.ToLongFunction;

/** Lookup: in one piece or, of many objects, in slices; answered at once, or when what is pending is here. */
final class LookupCalls {
    private static final int[] ALL_SHARDS = {};
    private static final byte[] NO_KEYS = {};
    /** Worth to be used again, in bytes. */
    private static final int LONG_KEYS = 64 * 1024;

    /** Of a wide lookup that is made again: what it may take of a duty cycle. */
    private static final long SLICES_NS = TimeUnit.MICROSECONDS.toNanos(250);

    private final EngineContext ctx;
    private final EngineServer server;
    private final Turns turns;
    private final EngineStore store;
    private final HeldRequests held;
    private final EngineMetrics metrics;
    /** Of a lookup before, for one of as many keys: arrays of megabytes fill the young generation soon. */
    private byte[] spareKeys = NO_KEYS;

    LookupCalls(
            final EngineContext ctx,
            final EngineServer server,
            final Turns turns,
            final EngineStore store,
            final HeldRequests held,
            final EngineMetrics metrics) {
        this.ctx = ctx;
        this.server = server;
        this.turns = turns;
        this.store = store;
        this.held = held;
        this.metrics = metrics;
    }

    Response.Builder lookup(
            final Connection connection, final Request request, final long arrivedNs, final long deadlineNs) {
        final Lookup lookup = request.getLookup();
        final Session session = Calls.session(connection);
        final Session.Opened namespace = Calls.namespace(session, lookup.getNamespace());
        final int declared = session.shards().shards().size();
        final int chunks = Check.countKeys(lookup.getKeys());
        final int[] shards = Check.shards(lookup.getShardsList(), declared);
        final long asked = shards.length == 0 ? declared : shards.length;
        Check.answerFits(chunks * asked, ctx.maxFrameBytes());
        Check.work(chunks, declared);
        final byte[] keys = copied(lookup.getKeys());
        if (keys.length == 0) {
            return Response.newBuilder().setLookup(LookupResult.getDefaultInstance());
        }
        final LookupQuery query = new LookupQuery(
                namespace.id(),
                keys,
                shards,
                Check.nanos(Integer.toUnsignedLong(lookup.getLeaseMs())),
                lookup.getPeek(),
                lookup.getSparse(),
                lookup.getPriority(),
                recomputeNsPerChunk(namespace, lookup.getRecomputeTokensPerS()));
        final long waitNs =
                query.peek() ? 0 : TimeUnit.MILLISECONDS.toNanos(Integer.toUnsignedLong(lookup.getWaitMs()));
        if (isWide(query, declared)) {
            return turns.work(connection, new WideLookup(connection, request, arrivedNs, deadlineNs, waitNs, query));
        }
        final LookupAnswer result = store.lookup(session.holder, query);
        return answerOrHold(
                connection,
                request.getId(),
                arrivedNs,
                deadlineNs,
                waitNs,
                query,
                result,
                wake -> store.whenSettled(session.holder, query, wake));
    }

    private static boolean isWide(final LookupQuery query, final int shards) {
        return (long) (query.keys().length / Hash256.BYTES) * shards > StoreLimits.CELLS_IN_ONE_PIECE;
    }

    /** @param settled has a wake run when what is pending has settled; returns 0 when nothing is */
    private Response.Builder answerOrHold(
            final Connection connection,
            final long id,
            final long arrivedNs,
            final long deadlineNs,
            final long waitNs,
            final LookupQuery query,
            final LookupAnswer result,
            final ToLongFunction<Runnable> settled) {
        if (result.pendingChunks() == 0) {
            if (!query.peek() && query.keys().length >= LONG_KEYS) {
                spareKeys = query.keys();
            }
            return answered(connection, result, query);
        }
        if (waitNs == 0) {
            return answered(connection, result, query);
        }
        final long untilNs = Math.min(
                arrivedNs + Math.min(worthWaitingNs(query, result.pendingChunks()), waitNs),
                deadlineNs - ReadCalls.ANSWER_NS);
        final HeldLookup waiting = new HeldLookup(connection, id, arrivedNs, untilNs, query, result);
        if (!waiting.await(settled)) {
            return answered(connection, waiting.again(), query);
        }
        if (!held.add(waiting)) {
            waiting.stop();
            return answered(connection, result, query);
        }
        return null;
    }

    /** A lookup of so many objects that other connections have their turn in between. */
    private final class WideLookup extends Sliced {
        private final Connection connection;
        private final long deadlineNs;
        private final long waitNs;
        private final LookupQuery query;
        /** Null before it can begin. */
        private SlicedLookup lookup;

        WideLookup(
                final Connection connection,
                final Request request,
                final long arrivedNs,
                final long deadlineNs,
                final long waitNs,
                final LookupQuery query) {
            super(request, arrivedNs, 0, 1, query.keys().length);
            this.connection = connection;
            this.deadlineNs = deadlineNs;
            this.waitNs = waitNs;
            this.query = query;
        }

        @Override
        boolean isBlocked() {
            return lookup == null && !store.canSlice(connection.session.holder);
        }

        @Override
        boolean step() {
            if (lookup == null) {
                lookup = store.lookupInSlices(connection.session.holder, query, 0);
            }
            try {
                return lookup != null && lookup.step();
            } catch (final RuntimeException e) {
                drop();
                throw e;
            }
        }

        @Override
        void items(final int from, final int to) {
            throw new AssertionError("a lookup has no items");
        }

        @Override
        Response.Builder answer() {
            try {
                return answerOrHold(
                        connection,
                        requestId,
                        arrivedNs,
                        deadlineNs,
                        waitNs,
                        query,
                        lookup.result(),
                        lookup::whenSettled);
            } finally {
                drop();
            }
        }

        @Override
        void drop() {
            if (lookup != null) {
                lookup.close();
                lookup = null;
            }
        }
    }

    /** The keys as an array that nothing else uses; a long one is used again when nothing kept the one before. */
    private byte[] copied(final ByteString keys) {
        if (spareKeys.length != keys.size() || keys.isEmpty()) {
            return Check.keys(keys);
        }
        final byte[] array = spareKeys;
        spareKeys = NO_KEYS;
        keys.copyTo(array, 0);
        return array;
    }

    private static int shards(final Connection connection) {
        return connection.session.shards().shards().size();
    }

    /** 0 when the engine's speed is unknown. */
    private static long recomputeNsPerChunk(final Session.Opened namespace, final float tokensPerSecond) {
        if (!(tokensPerSecond > 0)) {
            return 0;
        }
        final double seconds = Integer.toUnsignedLong(namespace.chunkTokens()) / (double) tokensPerSecond;
        return Math.max(1, (long) Math.min(3600e9, seconds * 1e9));
    }

    /** Half of the time in which the engine computes what is pending; an unknown speed sets no bound. */
    private static long worthWaitingNs(final LookupQuery query, final int pendingChunks) {
        return query.recomputeNsPerChunk() == 0 ? Long.MAX_VALUE : query.recomputeNsPerChunk() * pendingChunks / 2;
    }

    private Response.Builder answered(final Connection connection, final LookupAnswer result, final LookupQuery query) {
        final LookupResult.Builder answer = LookupResult.newBuilder()
                .setLease(result.lease())
                .setLeaseMs((int) TimeUnit.NANOSECONDS.toMillis(result.leaseNs()))
                .setHitChunks(result.hitChunks())
                .setPendingChunks(result.pendingChunks())
                .setSlots(UnsafeByteOperations.unsafeWrap(result.slots()));
        for (final int region : result.regions()) {
            if (connection.learns(region)) {
                answer.addRegions(JoinCalls.region(store.region(region)));
            }
        }
        for (final io.kvasir.storage.object.PlanRange range : result.plan()) {
            answer.addPlan(PlanRange.newBuilder()
                    .setFirstChunk(range.firstChunk())
                    .setChunks(range.chunks())
                    .setStatus(status(range.status()))
                    .setTier(
                            range.tier() == null
                                    ? Tier.TIER_UNSPECIFIED
                                    : Tier.forNumber(range.tier().code()))
                    .setExact(range instanceof io.kvasir.storage.object.PlanRange.Exact)
                    .setExpectedMs(expectedMs(range.expectedNs())));
        }
        if (!query.peek()) {
            count(result, query.keys().length / Hash256.BYTES);
            store.answered(connection.session.holder, result);
        }
        return Response.newBuilder().setLookup(answer);
    }

    private void count(final LookupAnswer result, final int chunks) {
        int known = 0;
        for (final io.kvasir.storage.object.PlanRange range : result.plan()) {
            if (range.status() == SlotStatus.HIT) {
                metrics.hits(range.tier(), range.chunks());
                known += range.chunks();
            } else if (range.status() == SlotStatus.PENDING) {
                metrics.pending(range.tier(), range.chunks());
                known += range.chunks();
            }
        }
        metrics.misses(Math.max(0, chunks - known));
    }

    private static PlanRange.Status status(final byte status) {
        return switch (status) {
            case SlotStatus.HIT -> PlanRange.Status.HIT;
            case SlotStatus.PENDING -> PlanRange.Status.PENDING;
            default -> PlanRange.Status.MISS;
        };
    }

    /** Rounded up, so that what is expected soon does not read as "now". */
    private static int expectedMs(final long nanos) {
        return (int) Math.min(Integer.MAX_VALUE, (nanos + 999_999) / 1_000_000);
    }

    /** Waits until what is pending arrived; keeps the lease on what is here already. */
    private final class HeldLookup extends Held {
        private final LookupQuery query;
        /** Of what is here already; its records are looked up again at the end, so that they need not be kept. */
        private long lease;

        private long wait;

        /** A wide lookup that is made again, slice by slice; null: none is under way. */
        private SlicedLookup slices;

        HeldLookup(
                final Connection connection,
                final long requestId,
                final long arrivedNs,
                final long untilNs,
                final LookupQuery query,
                final LookupAnswer result) {
            super(
                    connection,
                    requestId,
                    Request.CallCase.LOOKUP,
                    arrivedNs,
                    untilNs,
                    query.keys().length
                            + (long) StoreLimits.WAIT_BYTES
                                    * Math.min(StoreLimits.WAITS, (long) result.pendingChunks() * shards(connection)));
            this.query = query;
            lease = result.lease();
        }

        /** False when nothing is pending any more. */
        boolean await(final ToLongFunction<Runnable> settled) {
            wait = settled.applyAsLong(() -> {
                wait = 0;
                held.wake(this);
            });
            return wait != 0;
        }

        /** Gives back the earlier lease first, so that its quota is free; nothing is evicted in between. */
        LookupAnswer again() {
            giveBack();
            final LookupAnswer result = store.lookup(connection.session.holder, query);
            lease = result.lease();
            return result;
        }

        @Override
        void ready() {
            if (isWide(query, shards(connection))) {
                readyInSlices();
            } else {
                answerOrWait(again(), wake -> store.whenSettled(connection.session.holder, query, wake));
            }
        }

        /** Goes on in the next duty cycle, until the lookup is done. */
        private void readyInSlices() {
            if (slices == null) {
                slices = store.lookupInSlices(connection.session.holder, query, lease);
            }
            final long endNs = server.readClock() + SLICES_NS;
            try {
                while (slices == null || !slices.step()) {
                    if (slices == null || server.readClock() - endNs >= 0) {
                        held.wake(this);
                        return;
                    }
                }
                final LookupAnswer result = slices.result();
                lease = result.lease();
                answerOrWait(result, slices::whenSettled);
                endSlices();
            } catch (final RuntimeException e) {
                endSlices();
                throw e;
            }
        }

        private void answerOrWait(final LookupAnswer result, final ToLongFunction<Runnable> settled) {
            if (result.pendingChunks() == 0 || !await(settled)) {
                held.remove(this);
                server.answer(this, answered(connection, result, query));
            }
        }

        private void endSlices() {
            if (slices != null) {
                slices.close();
                slices = null;
            }
        }

        @Override
        void expire() {
            stop();
            server.answer(this, answered(connection, again(), query));
        }

        @Override
        void drop() {
            stop();
            giveBack();
        }

        private void giveBack() {
            if (lease != 0) {
                store.release(connection.session.holder, lease, ALL_SHARDS);
                lease = 0;
            }
        }

        private void stop() {
            endSlices();
            if (wait != 0) {
                store.cancelWait(wait);
                wait = 0;
            }
        }
    }
}
