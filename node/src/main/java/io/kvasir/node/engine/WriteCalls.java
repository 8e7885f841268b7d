package io.kvasir.node.engine;

import com.google.protobuf.UnsafeByteOperations;
import io.kvasir.node.engine.v1.Abort;
import io.kvasir.node.engine.v1.AbortResult;
import io.kvasir.node.engine.v1.Commit;
import io.kvasir.node.engine.v1.CommitResult;
import io.kvasir.node.engine.v1.Pin;
import io.kvasir.node.engine.v1.PinResult;
import io.kvasir.node.engine.v1.Request;
import io.kvasir.node.engine.v1.Reserve;
import io.kvasir.node.engine.v1.ReserveResult;
import io.kvasir.node.engine.v1.Response;
import io.kvasir.node.engine.v1.Unpin;
import io.kvasir.node.engine.v1.UnpinResult;
import io.kvasir.storage.Hash256;
import io.kvasir.storage.ObjectStore;
import io.kvasir.storage.Shard;
import io.kvasir.storage.SlotRecord;
import io.kvasir.storage.SlotStatus;
import java.io.ByteArrayOutputStream;
import java.util.concurrent.TimeUnit;

/** Reserve, Commit, Abort, Pin and Unpin. */
final class WriteCalls {
    private static final int MAX_CODEC = 0xffff;
    private static final int MAX_BLOCKS = 4096;

    private final EngineContext ctx;
    private final EngineServer server;
    private final ObjectStore store;
    private final HeldRequests held;

    WriteCalls(final EngineContext ctx, final EngineServer server, final ObjectStore store, final HeldRequests held) {
        this.ctx = ctx;
        this.server = server;
        this.store = store;
        this.held = held;
    }

    Response.Builder reserve(
            final Connection connection,
            final long id,
            final Reserve reserve,
            final long arrivedNs,
            final long deadlineNs) {
        final Session session = Calls.session(connection);
        final Session.Opened namespace = Calls.namespace(session, reserve.getNamespace());
        final int shard =
                Check.shard(reserve.getShard(), session.shards().shards().size());
        final byte[] keys = Check.keys(reserve.getKeys());
        final int count = keys.length / Hash256.BYTES;
        Check.answerFits(count, ctx.maxFrameBytes());
        if (count == 0) {
            return Response.newBuilder().setReserve(ReserveResult.getDefaultInstance());
        }
        final long[] lengths = Check.lengths(reserve.getLengthsList(), count);
        if (reserve.getCodec() < 0 || reserve.getCodec() > MAX_CODEC) {
            throw CallException.invalid(
                    "codec is " + Integer.toUnsignedString(reserve.getCodec()) + "; it must be 0 to " + MAX_CODEC);
        }
        final Wanted wanted =
                new Wanted(namespace.id(), session.shards().shards().get(shard), keys, lengths, reserve.getCodec());
        final ObjectStore.ReserveResult result =
                store.reserve(connection.attachment, wanted.namespace, wanted.shard, keys, lengths, wanted.codec);
        if (result.noRoom() == 0) {
            return answered(connection, result);
        }
        final long waitNs = reserve.getWaitMs() == 0
                ? ctx.defaultDeadline().toNanos()
                : TimeUnit.MILLISECONDS.toNanos(Integer.toUnsignedLong(reserve.getWaitMs()));
        final long untilNs = Math.min(arrivedNs + waitNs, deadlineNs - ReadCalls.ANSWER_NS);
        final HeldReserve waiting = new HeldReserve(connection, id, arrivedNs, untilNs, wanted, result);
        held.add(waiting);
        waiting.await();
        return null;
    }

    Response.Builder commit(final Connection connection, final Commit commit) {
        Calls.session(connection);
        final byte[] slots = Check.slots(commit.getSlots());
        final int count = slots.length / SlotRecord.BYTES;
        final int blocks = commit.getBlocks();
        if (blocks < 0 || blocks > MAX_BLOCKS) {
            throw CallException.invalid(
                    "blocks is " + Integer.toUnsignedString(blocks) + "; it must be 0 to " + MAX_BLOCKS);
        }
        final byte[] parents = Check.optional("parents", commit.getParents(), count, Hash256.BYTES);
        final byte[] crc32c = Check.optional("crc32c", commit.getCrc32C(), count, Integer.BYTES);
        Check.optional("block_hashes", commit.getBlockHashes(), count, blocks * Hash256.BYTES);
        final int[] chunkIndex = Check.chunkIndex(commit.getChunkIndexList(), count);
        final byte[] statuses = store.commit(
                connection.attachment,
                slots,
                parents,
                crc32c,
                chunkIndex,
                commit.getPriority(),
                Check.nanos(commit.getTtlMs()));
        return Response.newBuilder()
                .setCommit(CommitResult.newBuilder().setStatuses(UnsafeByteOperations.unsafeWrap(statuses)));
    }

    Response.Builder abort(final Connection connection, final Abort abort) {
        Calls.session(connection);
        final byte[] statuses = store.abort(connection.attachment, Check.slots(abort.getSlots()));
        return Response.newBuilder()
                .setAbort(AbortResult.newBuilder().setStatuses(UnsafeByteOperations.unsafeWrap(statuses)));
    }

    Response.Builder pin(final Connection connection, final Pin pin) {
        final Session session = Calls.session(connection);
        final Session.Opened namespace = Calls.namespace(session, pin.getNamespace());
        if (pin.getTtlMs() == 0) {
            throw CallException.invalid("ttl_ms is 0; a pin must have an end");
        }
        final byte[] keys = Check.keys(pin.getKeys());
        final int pinned =
                store.pin(session.holder, namespace.id(), keys, Check.nanos(pin.getTtlMs()), pin.getPriority());
        return Response.newBuilder()
                .setPin(PinResult.newBuilder().setPinned(pinned).setMissing(keys.length / Hash256.BYTES - pinned));
    }

    Response.Builder unpin(final Connection connection, final Unpin unpin) {
        final Session session = Calls.session(connection);
        final Session.Opened namespace = Calls.namespace(session, unpin.getNamespace());
        final int unpinned = store.unpin(session.holder, namespace.id(), Check.keys(unpin.getKeys()));
        return Response.newBuilder().setUnpin(UnpinResult.newBuilder().setUnpinned(unpinned));
    }

    private Response.Builder answered(final Connection connection, final ObjectStore.ReserveResult result) {
        final ReserveResult.Builder answer =
                ReserveResult.newBuilder().setSlots(UnsafeByteOperations.unsafeWrap(result.slots()));
        for (final int region : result.regions()) {
            if (connection.learns(region)) {
                answer.addRegions(JoinCalls.region(store.region(region)));
            }
        }
        return Response.newBuilder().setReserve(answer);
    }

    private record Wanted(Hash256 namespace, Shard shard, byte[] keys, long[] lengths, int codec) {}

    /** Waits until there is room for the rest; what was granted before is kept. */
    private final class HeldReserve extends Held {
        private final Wanted wanted;
        private ObjectStore.ReserveResult result;
        private long wait;

        HeldReserve(
                final Connection connection,
                final long requestId,
                final long arrivedNs,
                final long untilNs,
                final Wanted wanted,
                final ObjectStore.ReserveResult result) {
            super(connection, requestId, Request.CallCase.RESERVE, arrivedNs, untilNs);
            this.wanted = wanted;
            this.result = result;
        }

        void await() {
            wait = store.whenRoom(() -> {
                wait = 0;
                held.wake(this);
            });
        }

        @Override
        void ready() {
            again();
            if (result.noRoom() == 0) {
                held.remove(this);
                server.answer(this, answered(connection, result));
            } else {
                await();
            }
        }

        @Override
        void expire() {
            stop();
            again();
            server.answer(this, answered(connection, result));
        }

        /** The engine was never told of the slots, so it does not write into them. */
        @Override
        void drop() {
            stop();
            final ByteArrayOutputStream granted = new ByteArrayOutputStream();
            for (int at = 0; at < result.slots().length; at += SlotRecord.BYTES) {
                if (result.slots()[at + SlotRecord.STATUS] == SlotStatus.GRANTED) {
                    granted.write(result.slots(), at, SlotRecord.BYTES);
                }
            }
            if (granted.size() > 0) {
                store.abort(connection.attachment, granted.toByteArray());
            }
        }

        private void again() {
            result = store.retryReserve(
                    connection.attachment,
                    wanted.namespace,
                    wanted.shard,
                    wanted.keys,
                    wanted.lengths,
                    wanted.codec,
                    result);
        }

        private void stop() {
            if (wait != 0) {
                store.cancelWait(wait);
                wait = 0;
            }
        }
    }
}
