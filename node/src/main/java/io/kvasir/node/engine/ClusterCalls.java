package io.kvasir.node.engine;

import com.google.protobuf.UnsafeByteOperations;
import io.kvasir.node.engine.v1.Error;
import io.kvasir.node.engine.v1.Handoff;
import io.kvasir.node.engine.v1.HandoffResult;
import io.kvasir.node.engine.v1.NodeScore;
import io.kvasir.node.engine.v1.Request;
import io.kvasir.node.engine.v1.Response;
import io.kvasir.node.engine.v1.Scores;
import io.kvasir.node.engine.v1.ScoresResult;
import io.kvasir.storage.EngineStore;
import io.kvasir.storage.lookup.LookupAnswer;
import io.kvasir.storage.lookup.LookupQuery;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.PlanRange;
import io.kvasir.storage.object.Shard;
import io.kvasir.storage.object.SlotStatus;
import io.kvasir.storage.object.TierKind;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** Scores and Handoff: what concerns other nodes. */
final class ClusterCalls {
    private static final long DEFAULT_TTL_NS = TimeUnit.SECONDS.toNanos(60);
    private static final int[] NO_SHARDS = {};
    /** What a question to the directory keeps of each chunk: its hash, its places in maps, its holders' shards. */
    private static final int QUESTION_BYTES = 96;

    private final EngineContext ctx;
    private final EngineServer server;
    private final Turns turns;
    private final EngineStore store;
    private final HeldRequests held;

    ClusterCalls(
            final EngineContext ctx,
            final EngineServer server,
            final Turns turns,
            final EngineStore store,
            final HeldRequests held) {
        this.ctx = ctx;
        this.server = server;
        this.turns = turns;
        this.store = store;
        this.held = held;
    }

    private Neighbours neighbours() {
        if (ctx.neighbours() == null) {
            throw new CallException(Error.Code.UNSUPPORTED, "this node is in no cluster; cluster.seeds names none");
        }
        return ctx.neighbours();
    }

    Response.Builder handoff(final Connection connection, final Request request, final long arrivedNs) {
        final Neighbours neighbours = neighbours();
        final Session session = Calls.session(connection);
        final Handoff handoff = request.getHandoff();
        final Session.Opened namespace = Calls.namespace(session, handoff.getNamespace());
        final List<Shard> shards = session.shards().shards();
        final int count = Check.countKeys(handoff.getKeys());
        Check.work(count, shards.size());
        final byte[] keys = Check.keys(handoff.getKeys());
        final long ttlNs = handoff.getTtlMs() == 0 ? DEFAULT_TTL_NS : Check.nanos(handoff.getTtlMs());
        final String target = handoff.getTarget();
        return turns.work(connection, new Sliced(request, arrivedNs, count, shards.size(), keys.length) {
            @Override
            void items(final int from, final int to) {
                final byte[] part = Arrays.copyOfRange(keys, from * Hash256.BYTES, to * Hash256.BYTES);
                neighbours.handoff(namespace.id(), part, shards, target, ttlNs);
            }

            @Override
            Response.Builder answer() {
                return Response.newBuilder()
                        .setHandoff(HandoffResult.newBuilder().setAccepted(count));
            }
        });
    }

    Response.Builder scores(
            final Connection connection,
            final long id,
            final Scores scores,
            final long arrivedNs,
            final long deadlineNs) {
        final Neighbours neighbours = neighbours();
        final Session session = Calls.session(connection);
        final Session.Opened namespace = Calls.namespace(session, scores.getNamespace());
        final int chunks = Check.countKeys(scores.getKeys());
        Check.work(chunks, session.shards().shards().size());
        final byte[] keys = Check.keys(scores.getKeys());
        final LookupAnswer own =
                store.lookup(session.holder, new LookupQuery(namespace.id(), keys, NO_SHARDS, 0, true, false, 0, 0));
        final HeldScores waiting = new HeldScores(
                connection,
                id,
                arrivedNs,
                deadlineNs - ReadCalls.ANSWER_NS,
                keys.length + (long) chunks * QUESTION_BYTES);
        if (!held.add(waiting)) {
            throw new CallException(
                    Error.Code.RESOURCE_EXHAUSTED,
                    "the requests that are held take all of their memory; ask for the scores again later");
        }
        neighbours.scores(namespace.id(), keys, session.shards().shards(), ownPrefix(own), waiting::came);
        return null;
    }

    /** What lies here or on this node's SSD; not what its lookups know to be elsewhere. */
    private static int ownPrefix(final LookupAnswer own) {
        int chunks = 0;
        for (final PlanRange range : own.plan()) {
            if (range.status() == SlotStatus.MISS || range.tier() == TierKind.REMOTE) {
                break;
            }
            chunks += range.chunks();
        }
        return chunks;
    }

    private final class HeldScores extends Held {
        private List<Neighbours.Score> scores = List.of();
        private boolean complete;

        HeldScores(
                final Connection connection,
                final long requestId,
                final long arrivedNs,
                final long untilNs,
                final long bytes) {
            super(connection, requestId, Request.CallCase.SCORES, arrivedNs, untilNs, bytes);
        }

        void came(final List<Neighbours.Score> found, final boolean all) {
            scores = found;
            complete = all;
            held.wake(this);
        }

        @Override
        void ready() {
            held.remove(this);
            expire();
        }

        @Override
        void expire() {
            final ScoresResult.Builder result = ScoresResult.newBuilder().setComplete(complete);
            for (final Neighbours.Score score : scores) {
                result.addNodes(NodeScore.newBuilder()
                        .setNode(score.node())
                        .setIncarnation(UnsafeByteOperations.unsafeWrap(score.incarnation()))
                        .setPrefixChunks(score.prefixChunks())
                        .setFreeBytes(score.freeBytes())
                        .setQueuedBytes(score.queuedBytes())
                        .setLeasedBytes(score.leasedBytes()));
            }
            server.answer(this, Response.newBuilder().setScores(result));
        }

        @Override
        void drop() {
            // Nothing was got.
        }
    }
}
