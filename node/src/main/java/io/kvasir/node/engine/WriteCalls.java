package io.kvasir.node.engine;

import com.google.protobuf.UnsafeByteOperations;
import io.kvasir.node.engine.v1.AbortResult;
import io.kvasir.node.engine.v1.Commit;
import io.kvasir.node.engine.v1.CommitResult;
import io.kvasir.node.engine.v1.Error;
import io.kvasir.node.engine.v1.Pin;
import io.kvasir.node.engine.v1.PinResult;
import io.kvasir.node.engine.v1.Request;
import io.kvasir.node.engine.v1.Reserve;
import io.kvasir.node.engine.v1.ReserveResult;
import io.kvasir.node.engine.v1.Response;
import io.kvasir.node.engine.v1.Unpin;
import io.kvasir.node.engine.v1.UnpinResult;
import io.kvasir.storage.EngineStore;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.Shard;
import io.kvasir.storage.object.SlotRecord;
import io.kvasir.storage.object.SlotStatus;
import io.kvasir.storage.tier.ReservedSlots;
import java.io.ByteArrayOutputStream;
import java.util.Arrays;
import java.util.concurrent.TimeUnit;

/** Reserve, Commit, Abort, Pin and Unpin. */
final class WriteCalls {
    private static final int MAX_CODEC = 0xffff;
    private static final int MAX_BLOCKS = 4096;

    private final EngineContext ctx;
    private final EngineServer server;
    private final Turns turns;
    private final EngineStore store;
    private final HeldRequests held;

    WriteCalls(
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
        final ReservedSlots result =
                store.reserve(connection.attachment, wanted.namespace, wanted.shard, keys, lengths, wanted.codec);
        if (result.noRoom() == 0) {
            return answered(connection, result);
        }
        final long waitNs = reserve.getWaitMs() == 0
                ? ctx.defaultDeadline().toNanos()
                : TimeUnit.MILLISECONDS.toNanos(Integer.toUnsignedLong(reserve.getWaitMs()));
        final long untilNs = Math.min(arrivedNs + waitNs, deadlineNs - ReadCalls.ANSWER_NS);
        final HeldReserve waiting = new HeldReserve(connection, id, arrivedNs, untilNs, wanted, result);
        if (!held.add(waiting)) {
            return answered(connection, result);
        }
        waiting.await();
        return null;
    }

    Response.Builder commit(final Connection connection, final Request request, final long arrivedNs) {
        Calls.session(connection);
        final Commit commit = request.getCommit();
        final byte[] slots = Check.slots(commit.getSlots());
        final int count = slots.length / SlotRecord.BYTES;
        final int blocks = commit.getBlocks();
        if (blocks < 0 || blocks > MAX_BLOCKS) {
            throw CallException.invalid(
                    "blocks is " + Integer.toUnsignedString(blocks) + "; it must be 0 to " + MAX_BLOCKS);
        }
        final byte[] parents = Check.optional("parents", commit.getParents(), count, Hash256.BYTES);
        final byte[] crc32c = Check.optional("crc32c", commit.getCrc32C(), count, Integer.BYTES);
        Check.size("block_hashes", commit.getBlockHashes(), count, blocks * Hash256.BYTES);
        final int[] chunkIndex = Check.chunkIndex(commit.getChunkIndexList(), count);
        final int priority = commit.getPriority();
        final long ttlNs = Check.nanos(commit.getTtlMs());
        final byte[] statuses = new byte[count];
        final int bytes = slots.length + parents.length + crc32c.length + Integer.BYTES * chunkIndex.length + count;
        return turns.work(connection, new Sliced(request, arrivedNs, count, 1, bytes) {
            @Override
            void items(final int from, final int to) {
                final byte[] done = store.commit(
                        connection.attachment,
                        part(slots, from, to, count),
                        part(parents, from, to, count),
                        part(crc32c, from, to, count),
                        indices(chunkIndex, from, to, count),
                        priority,
                        ttlNs);
                System.arraycopy(done, 0, statuses, from, done.length);
            }

            @Override
            Response.Builder answer() {
                return Response.newBuilder()
                        .setCommit(CommitResult.newBuilder().setStatuses(UnsafeByteOperations.unsafeWrap(statuses)));
            }
        });
    }

    Response.Builder abort(final Connection connection, final Request request, final long arrivedNs) {
        Calls.session(connection);
        final byte[] slots = Check.slots(request.getAbort().getSlots());
        final int count = slots.length / SlotRecord.BYTES;
        final byte[] statuses = new byte[count];
        return turns.work(connection, new Sliced(request, arrivedNs, count, 1, slots.length + count) {
            @Override
            void items(final int from, final int to) {
                final byte[] done = store.abort(connection.attachment, part(slots, from, to, count));
                System.arraycopy(done, 0, statuses, from, done.length);
            }

            @Override
            Response.Builder answer() {
                return Response.newBuilder()
                        .setAbort(AbortResult.newBuilder().setStatuses(UnsafeByteOperations.unsafeWrap(statuses)));
            }
        });
    }

    Response.Builder pin(
            final Connection connection, final Request request, final long arrivedNs, final long deadlineNs) {
        final Session session = Calls.session(connection);
        final Pin pin = request.getPin();
        final Session.Opened namespace = Calls.namespace(session, pin.getNamespace());
        if (pin.getTtlMs() == 0) {
            throw CallException.invalid("ttl_ms is 0; a pin must have an end");
        }
        final int shards = session.shards().shards().size();
        final int count = Check.countKeys(pin.getKeys());
        Check.work(count, shards);
        final byte[] keys = Check.keys(pin.getKeys());
        final long ttlNs = Check.nanos(pin.getTtlMs());
        final int priority = pin.getPriority();
        final PinResult.Builder answer = PinResult.newBuilder();
        return turns.work(connection, new Sliced(request, arrivedNs, count, shards, keys.length) {
            @Override
            void items(final int from, final int to) {
                answer.setPinned(answer.getPinned()
                        + store.pin(session.holder, namespace.id(), part(keys, from, to, count), ttlNs, priority));
            }

            @Override
            Response.Builder answer() {
                final Response.Builder response =
                        Response.newBuilder().setPin(answer.setMissing(count - answer.getPinned()));
                return answer.getPinned() == 0
                        ? response
                        : whenKept(new HeldPin(connection, request, arrivedNs, deadlineNs, response));
            }
        });
    }

    Response.Builder unpin(
            final Connection connection, final Request request, final long arrivedNs, final long deadlineNs) {
        final Session session = Calls.session(connection);
        final Unpin unpin = request.getUnpin();
        final Session.Opened namespace = Calls.namespace(session, unpin.getNamespace());
        final int shards = session.shards().shards().size();
        final int count = Check.countKeys(unpin.getKeys());
        Check.work(count, shards);
        final byte[] keys = Check.keys(unpin.getKeys());
        final UnpinResult.Builder answer = UnpinResult.newBuilder();
        return turns.work(connection, new Sliced(request, arrivedNs, count, shards, keys.length) {
            @Override
            void items(final int from, final int to) {
                answer.setUnpinned(answer.getUnpinned()
                        + store.unpin(session.holder, namespace.id(), part(keys, from, to, count)));
            }

            @Override
            Response.Builder answer() {
                final Response.Builder response = Response.newBuilder().setUnpin(answer);
                return answer.getUnpinned() == 0
                        ? response
                        : whenKept(new HeldPin(connection, request, arrivedNs, deadlineNs, response));
            }
        });
    }

    /** The bytes of items {@code from} to {@code to - 1} of {@code count}. */
    private static byte[] part(final byte[] bytes, final int from, final int to, final int count) {
        if (to - from == count) {
            return bytes;
        }
        final int each = bytes.length / count;
        return Arrays.copyOfRange(bytes, from * each, to * each);
    }

    /** None, the index of item {@code from}, or one for each item. */
    private static int[] indices(final int[] indices, final int from, final int to, final int count) {
        return indices.length == 0 || to - from == count
                ? indices
                : indices.length == count ? Arrays.copyOfRange(indices, from, to) : new int[] {indices[0] + from};
    }

    /** The answer when the catalog has it, so that it survives this node; null while that takes a moment. */
    private Response.Builder whenKept(final HeldPin pin) {
        if (!store.whenPinsAreKept(() -> held.wake(pin))) {
            return pin.answer;
        }
        held.add(pin);
        return null;
    }

    /** Waits until the catalog has what was pinned or unpinned. */
    private final class HeldPin extends Held {
        private static final long ANSWER_BYTES = 256;

        private final Response.Builder answer;

        HeldPin(
                final Connection connection,
                final Request request,
                final long arrivedNs,
                final long deadlineNs,
                final Response.Builder answer) {
            super(
                    connection,
                    request.getId(),
                    request.getCallCase(),
                    arrivedNs,
                    deadlineNs - ReadCalls.ANSWER_NS,
                    ANSWER_BYTES);
            this.answer = answer;
        }

        @Override
        void ready() {
            held.remove(this);
            server.answer(this, answer);
        }

        @Override
        void expire() {
            throw new CallException(
                    Error.Code.DEADLINE_EXCEEDED,
                    "done in this node, but the catalog's disk has not taken it yet: a restart may not know of it");
        }

        @Override
        void drop() {}
    }

    private Response.Builder answered(final Connection connection, final ReservedSlots result) {
        if (result.noRoom() + result.tooLong() > 0) {
            store.answeredNoRoom();
        }
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
        private ReservedSlots result;
        private long wait;
        /** Among those that wait for room. */
        private long place;

        HeldReserve(
                final Connection connection,
                final long requestId,
                final long arrivedNs,
                final long untilNs,
                final Wanted wanted,
                final ReservedSlots result) {
            super(
                    connection,
                    requestId,
                    Request.CallCase.RESERVE,
                    arrivedNs,
                    untilNs,
                    wanted.keys.length + result.slots().length + (long) Long.BYTES * wanted.lengths.length);
            this.wanted = wanted;
            this.result = result;
        }

        void await() {
            if (result.unfinished()) {
                held.wake(this);
                return;
            }
            wait = store.whenRoom(place, () -> {
                wait = 0;
                held.wake(this);
            });
            place = wait;
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
