package io.kvasir.node.engine;

import com.google.protobuf.UnsafeByteOperations;
import io.kvasir.node.engine.v1.Error;
import io.kvasir.node.engine.v1.Release;
import io.kvasir.node.engine.v1.ReleaseResult;
import io.kvasir.node.engine.v1.Renew;
import io.kvasir.node.engine.v1.RenewResult;
import io.kvasir.node.engine.v1.Request;
import io.kvasir.node.engine.v1.Resolve;
import io.kvasir.node.engine.v1.ResolveResult;
import io.kvasir.node.engine.v1.Response;
import io.kvasir.storage.EngineStore;
import io.kvasir.storage.lookup.LookupAnswer;
import io.kvasir.storage.lookup.Resolution;
import io.kvasir.storage.object.SlotRecord;
import java.util.concurrent.TimeUnit;

/** Resolve, Renew and Release. */
final class ReadCalls {
    private static final int MAX_LEASES = 65_536;

    /** What is left of a budget for writing the answer. */
    static final long ANSWER_NS = TimeUnit.MILLISECONDS.toNanos(2);

    private final EngineContext ctx;
    private final Turns turns;
    private final EngineStore store;

    ReadCalls(final EngineContext ctx, final Turns turns, final EngineStore store) {
        this.ctx = ctx;
        this.turns = turns;
        this.store = store;
    }

    Response.Builder resolve(final Connection connection, final Request request, final long arrivedNs) {
        final Session session = Calls.session(connection);
        final Resolve resolve = request.getResolve();
        final int[] shards =
                Check.shards(resolve.getShardsList(), session.shards().shards().size());
        final long asked = shards.length == 0 ? session.shards().shards().size() : shards.length;
        final long records = store.leasedChunks(session.holder, resolve.getLease()) * asked;
        Check.answerFits(records, ctx.maxFrameBytes());
        final Resolution resolution = store.resolve(session.holder, resolve.getLease(), shards);
        if (resolution == null) {
            throw unknownLease(resolve.getLease());
        }
        return turns.work(connection, new Sliced(request, arrivedNs, 0, 1, (int) records * SlotRecord.BYTES) {
            @Override
            boolean step() {
                return resolution.step();
            }

            @Override
            void items(final int from, final int to) {
                throw new AssertionError("a lease is read by its own steps");
            }

            @Override
            Response.Builder answer() {
                return answerOf(connection, resolve.getLease(), resolution.result());
            }
        });
    }

    private Response.Builder answerOf(final Connection connection, final long lease, final LookupAnswer result) {
        if (result == null) {
            throw unknownLease(lease);
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
                        // One in a step: a lease may have many objects.
                        Integer.MAX_VALUE,
                        release.getLeasesCount() * Long.BYTES + shards.length * Integer.BYTES) {
                    @Override
                    boolean step() {
                        // What was released counts no more when the connection's next request looks up.
                        final boolean last = super.step();
                        return store.letGo(session.holder) && last;
                    }

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
}
