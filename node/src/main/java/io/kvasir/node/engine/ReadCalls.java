package io.kvasir.node.engine;

import com.google.protobuf.ByteString;
import com.google.protobuf.UnsafeByteOperations;
import io.kvasir.node.engine.v1.Error;
import io.kvasir.node.engine.v1.Lookup;
import io.kvasir.node.engine.v1.LookupResult;
import io.kvasir.node.engine.v1.PlanRange;
import io.kvasir.node.engine.v1.Release;
import io.kvasir.node.engine.v1.ReleaseResult;
import io.kvasir.node.engine.v1.Renew;
import io.kvasir.node.engine.v1.RenewResult;
import io.kvasir.node.engine.v1.Request;
import io.kvasir.node.engine.v1.Resolve;
import io.kvasir.node.engine.v1.ResolveResult;
import io.kvasir.node.engine.v1.Response;
import io.kvasir.node.engine.v1.Tier;
import io.kvasir.storage.Hash256;
import io.kvasir.storage.ObjectStore;
import io.kvasir.storage.ObjectStore.LookupQuery;
import io.kvasir.storage.SlotStatus;
import io.kvasir.storage.StoreLimits;
import java.util.concurrent.TimeUnit;

/** Lookup, Resolve, Renew and Release. */
final class ReadCalls {
    private static final int[] ALL_SHARDS = {};
    private static final int MAX_LEASES = 65_536;
    private static final byte[] NO_KEYS = {};
    /** Worth to be used again, in bytes. */
    private static final int LONG_KEYS = 64 * 1024;

    /** What is left of a budget for writing the answer. */
    static final long ANSWER_NS = TimeUnit.MILLISECONDS.toNanos(2);

    private final EngineContext ctx;
    private final EngineServer server;
    private final Turns turns;
    private final ObjectStore store;
    private final HeldRequests held;
    private final EngineMetrics metrics;
    /** Of a lookup before, for one of as many keys: arrays of megabytes fill the young generation soon. */
    private byte[] spareKeys = NO_KEYS;

    ReadCalls(
            final EngineContext ctx,
            final EngineServer server,
            final Turns turns,
            final ObjectStore store,
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
            final Connection connection,
            final long id,
            final Lookup lookup,
            final long arrivedNs,
            final long deadlineNs) {
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
        final ObjectStore.LookupResult result = store.lookup(session.holder, query);
        if (result.pendingChunks() == 0) {
            if (!query.peek() && keys.length >= LONG_KEYS) {
                spareKeys = keys;
            }
            return answered(connection, result, query);
        }
        if (lookup.getWaitMs() == 0 || lookup.getPeek()) {
            return answered(connection, result, query);
        }
        final long waitNs = Math.min(
                worthWaitingNs(query, result.pendingChunks()),
                TimeUnit.MILLISECONDS.toNanos(Integer.toUnsignedLong(lookup.getWaitMs())));
        final long untilNs = Math.min(arrivedNs + waitNs, deadlineNs - ANSWER_NS);
        final HeldLookup waiting = new HeldLookup(connection, id, arrivedNs, untilNs, query, result, declared);
        if (!waiting.await()) {
            return answered(connection, waiting.again(), query);
        }
        if (!held.add(waiting)) {
            waiting.stop();
            return answered(connection, result, query);
        }
        return null;
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

    Response.Builder resolve(final Connection connection, final Resolve resolve) {
        final Session session = Calls.session(connection);
        final int[] shards =
                Check.shards(resolve.getShardsList(), session.shards().shards().size());
        final long asked = shards.length == 0 ? session.shards().shards().size() : shards.length;
        Check.answerFits(store.leasedChunks(session.holder, resolve.getLease()) * asked, ctx.maxFrameBytes());
        final ObjectStore.LookupResult result = store.resolve(session.holder, resolve.getLease(), shards);
        if (result == null) {
            throw unknownLease(resolve.getLease());
        }
        final ResolveResult.Builder answer = ResolveResult.newBuilder()
                .setSlots(UnsafeByteOperations.unsafeWrap(result.slots()))
                .setLeaseMs((int) TimeUnit.NANOSECONDS.toMillis(result.leaseNs()));
        for (final int region : result.regions()) {
            if (connection.learns(region)) {
                answer.addRegions(JoinCalls.region(store.region(region)));
            }
        }
        return Response.newBuilder().setResolve(answer);
    }

    Response.Builder renew(final Connection connection, final Request request, final long arrivedNs) {
        final Session session = Calls.session(connection);
        final Renew renew = request.getRenew();
        count(renew.getLeasesCount());
        final long leaseNs = Check.nanos(Integer.toUnsignedLong(renew.getLeaseMs()));
        final RenewResult.Builder answer = RenewResult.newBuilder();
        return turns.work(
                connection,
                new Sliced(request, arrivedNs, renew.getLeasesCount(), 1, renew.getLeasesCount() * 2 * Long.BYTES) {
                    @Override
                    void items(final int from, final int to) {
                        for (int i = from; i < to; i++) {
                            answer.addRenewed(store.renew(session.holder, renew.getLeases(i), leaseNs));
                        }
                    }

                    @Override
                    Response.Builder answer() {
                        return Response.newBuilder().setRenew(answer);
                    }
                });
    }

    Response.Builder release(final Connection connection, final Request request, final long arrivedNs) {
        final Session session = Calls.session(connection);
        final Release release = request.getRelease();
        count(release.getLeasesCount());
        final int[] shards =
                Check.shards(release.getShardsList(), session.shards().shards().size());
        Check.work(release.getLeasesCount(), Math.max(1, shards.length));
        final ReleaseResult.Builder answer = ReleaseResult.newBuilder();
        return turns.work(
                connection,
                new Sliced(
                        request,
                        arrivedNs,
                        release.getLeasesCount(),
                        Math.max(1, shards.length),
                        release.getLeasesCount() * Long.BYTES + shards.length * Integer.BYTES) {
                    @Override
                    void items(final int from, final int to) {
                        for (int i = from; i < to; i++) {
                            if (store.release(session.holder, release.getLeases(i), shards)) {
                                answer.setReleased(answer.getReleased() + 1);
                            }
                        }
                    }

                    @Override
                    Response.Builder answer() {
                        return Response.newBuilder().setRelease(answer);
                    }
                });
    }

    private static void count(final int leases) {
        if (leases > MAX_LEASES) {
            throw CallException.invalid("leases has " + leases + " entries; at most " + MAX_LEASES);
        }
    }

    private static CallException unknownLease(final long lease) {
        return new CallException(
                Error.Code.UNKNOWN_LEASE,
                "lease " + Long.toUnsignedString(lease) + " ended, or was never given to this session");
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

    private Response.Builder answered(
            final Connection connection, final ObjectStore.LookupResult result, final LookupQuery query) {
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
        for (final io.kvasir.storage.PlanRange range : result.plan()) {
            answer.addPlan(PlanRange.newBuilder()
                    .setFirstChunk(range.firstChunk())
                    .setChunks(range.chunks())
                    .setStatus(status(range.status()))
                    .setTier(
                            range.tier() == null
                                    ? Tier.TIER_UNSPECIFIED
                                    : Tier.forNumber(range.tier().code()))
                    .setExact(range instanceof io.kvasir.storage.PlanRange.Exact)
                    .setExpectedMs(expectedMs(range.expectedNs())));
        }
        if (!query.peek()) {
            count(result, query.keys().length / Hash256.BYTES);
            store.answered(connection.session.holder, result);
        }
        return Response.newBuilder().setLookup(answer);
    }

    private void count(final ObjectStore.LookupResult result, final int chunks) {
        int known = 0;
        for (final io.kvasir.storage.PlanRange range : result.plan()) {
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

        HeldLookup(
                final Connection connection,
                final long requestId,
                final long arrivedNs,
                final long untilNs,
                final LookupQuery query,
                final ObjectStore.LookupResult result,
                final int shards) {
            super(
                    connection,
                    requestId,
                    Request.CallCase.LOOKUP,
                    arrivedNs,
                    untilNs,
                    query.keys().length
                            + (long) StoreLimits.WAIT_BYTES
                                    * Math.min(StoreLimits.WAITS, (long) result.pendingChunks() * shards));
            this.query = query;
            lease = result.lease();
        }

        /** False when nothing is pending any more. */
        boolean await() {
            wait = store.whenSettled(connection.session.holder, query, () -> {
                wait = 0;
                held.wake(this);
            });
            return wait != 0;
        }

        /** Gives back the earlier lease first, so that its quota is free; nothing is evicted in between. */
        ObjectStore.LookupResult again() {
            giveBack();
            final ObjectStore.LookupResult result = store.lookup(connection.session.holder, query);
            lease = result.lease();
            return result;
        }

        @Override
        void ready() {
            final ObjectStore.LookupResult result = again();
            if (result.pendingChunks() == 0 || !await()) {
                held.remove(this);
                server.answer(this, answered(connection, result, query));
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
            if (wait != 0) {
                store.cancelWait(wait);
                wait = 0;
            }
        }
    }
}
