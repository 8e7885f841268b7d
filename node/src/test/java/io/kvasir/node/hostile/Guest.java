package io.kvasir.node.hostile;

import com.google.protobuf.ByteString;
import io.kvasir.node.engine.v1.Attach;
import io.kvasir.node.engine.v1.AttachResult;
import io.kvasir.node.engine.v1.CreateSession;
import io.kvasir.node.engine.v1.GroupRule;
import io.kvasir.node.engine.v1.Hello;
import io.kvasir.node.engine.v1.HelloResult;
import io.kvasir.node.engine.v1.Namespace;
import io.kvasir.node.engine.v1.OpenNamespace;
import io.kvasir.node.engine.v1.Region;
import io.kvasir.node.engine.v1.Request;
import io.kvasir.node.engine.v1.Reserve;
import io.kvasir.node.engine.v1.ReserveResult;
import io.kvasir.node.engine.v1.Response;
import io.kvasir.node.engine.v1.Shard;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.HashMap;
import java.util.Map;
import java.util.Random;

/** An attached engine: it holds its lock, has a session of its own, and namespace 1 open. */
public final class Guest implements AutoCloseable {
    public static final int KEY_BYTES = 32;
    /** Of a tenant's good engine and its hostile ones: other namespaces, so that they never store one object. */
    public static final String HOSTILE_MODEL = "hostile";

    public final Wire wire;
    public final HelloResult hello;
    public final AttachResult session;
    public final Map<Integer, Region> regions = new HashMap<>();
    private final FileChannel lock;

    private Guest(final Wire wire, final HelloResult hello, final AttachResult session, final FileChannel lock) {
        this.wire = wire;
        this.hello = hello;
        this.session = session;
        this.lock = lock;
        session.getRegionsList().forEach(region -> regions.put(region.getRegion(), region));
    }

    public static Guest attach(final Target target, final int shards) throws IOException {
        return attach(target, CreateSession.newBuilder().setName("hostile"), shards, HOSTILE_MODEL);
    }

    /** A session whose only KV group needs the last {@code window} chunks. */
    public static Guest withWindow(final Target target, final int shards, final int window) throws IOException {
        final GroupRule.Builder rule =
                GroupRule.newBuilder().setHit(GroupRule.Hit.TRAILING_WINDOW).setWindowChunks(window);
        return attach(target, CreateSession.newBuilder().setName("hostile").addGroups(rule), shards, HOSTILE_MODEL);
    }

    /** An IOException says that the node refused, or did not answer in time. */
    public static Guest attach(
            final Target target, final CreateSession.Builder create, final int shards, final String model)
            throws IOException {
        final Wire wire = new Wire(target.socket());
        FileChannel lock = null;
        try {
            final HelloResult hello =
                    answered(wire.call(hello(target.token()), target.endNs())).getHello();
            lock = FileChannel.open(Path.of(hello.getDirectory(), hello.getLockFile()), StandardOpenOption.WRITE);
            lock.lock();
            for (int i = 0; i < shards; i++) {
                create.addShards(shard(i));
            }
            final AttachResult session = answered(wire.call(
                            Request.newBuilder().setAttach(Attach.newBuilder().setCreate(create)), target.endNs()))
                    .getAttach();
            answered(wire.call(
                    Request.newBuilder()
                            .setOpenNamespace(OpenNamespace.newBuilder()
                                    .setNamespace(Namespace.newBuilder()
                                            .setModel(model)
                                            .setChunkTokens(256))),
                    target.endNs()));
            return new Guest(wire, hello, session, lock);
        } catch (final IOException | RuntimeException e) {
            wire.close();
            if (lock != null) {
                lock.close();
            }
            throw e;
        }
    }

    public static Request.Builder hello(final String token) {
        return Request.newBuilder()
                .setHello(Hello.newBuilder()
                        .setProtocol(1)
                        .setClient("hostile")
                        .setToken(ByteString.copyFromUtf8(token)));
    }

    static Shard.Builder shard(final int index) {
        return Shard.newBuilder()
                .setLayerBegin(index)
                .setLayerEnd(index + 1)
                .setHeadEnd(1)
                .setPpSize(1)
                .setCpSize(1);
    }

    private static Response answered(final Response response) throws IOException {
        if (response == null) {
            throw new IOException("no answer in time");
        }
        if (response.hasError()) {
            throw new IOException(
                    response.getError().getCode() + ": " + response.getError().getMessage());
        }
        return response;
    }

    public static ByteString keys(final Random random, final int count) {
        final byte[] keys = new byte[count * KEY_BYTES];
        random.nextBytes(keys);
        return ByteString.copyFrom(keys);
    }

    public static Request.Builder reserving(final ByteString keys, final long length, final int waitMs) {
        return Request.newBuilder()
                .setDeadlineMs(waitMs + 1_000)
                .setReserve(Reserve.newBuilder()
                        .setNamespace(1)
                        .setKeys(keys)
                        .addLengths(length)
                        .setWaitMs(waitMs));
    }

    /** Null when the node refused or did not answer in time. */
    public ReserveResult reserve(final ByteString keys, final long length, final int waitMs, final long untilNs)
            throws IOException {
        final Response response = wire.call(reserving(keys, length, waitMs), untilNs);
        if (response == null || !response.hasReserve()) {
            return null;
        }
        response.getReserve().getRegionsList().forEach(region -> regions.put(region.getRegion(), region));
        return response.getReserve();
    }

    /** Gives the lock up although the connection stays. */
    public void dropLock() throws IOException {
        lock.close();
    }

    @Override
    public void close() throws IOException {
        wire.close();
        lock.close();
    }
}
