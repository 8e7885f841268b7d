package io.kvasir.node.engine;

import com.google.protobuf.ByteString;
import com.google.protobuf.UnsafeByteOperations;
import io.kvasir.node.engine.v1.Attach;
import io.kvasir.node.engine.v1.AttachResult;
import io.kvasir.node.engine.v1.CreateSession;
import io.kvasir.node.engine.v1.Error;
import io.kvasir.node.engine.v1.GroupRule;
import io.kvasir.node.engine.v1.Hello;
import io.kvasir.node.engine.v1.HelloResult;
import io.kvasir.node.engine.v1.JoinSession;
import io.kvasir.node.engine.v1.Namespace;
import io.kvasir.node.engine.v1.OpenNamespace;
import io.kvasir.node.engine.v1.OpenNamespaceResult;
import io.kvasir.node.engine.v1.Region;
import io.kvasir.node.engine.v1.Request;
import io.kvasir.node.engine.v1.Response;
import io.kvasir.storage.EngineStore;
import io.kvasir.storage.lease.LeaseHolder;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.HitRule;
import io.kvasir.storage.object.RegionInfo;
import io.kvasir.storage.object.Shard;
import io.kvasir.storage.object.ShardSet;
import io.kvasir.storage.object.StorageException;
import io.kvasir.storage.tenant.TenantAccount;
import java.io.IOException;
import java.security.MessageDigest;
import java.security.SecureRandom;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import org.agrona.collections.Long2ObjectHashMap;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Hello, Attach and OpenNamespace, and the sessions they make. */
final class JoinCalls {
    private static final Logger LOG = LoggerFactory.getLogger(JoinCalls.class);
    static final int PROTOCOL = 1;
    private static final int SECRET_BYTES = 16;
    private static final int MAX_TEXT = 1024;
    static final int MAX_NAMESPACE_BYTES = 64 * 1024;
    private static final int MAX_QUIESCED = 4096;

    /** Of those who wait for the name service; beyond it a Hello of a peer that is not known yet is refused. */
    private static final int ASKED_AT_ONCE = 16;

    private static final ThreadPoolExecutor ACCOUNTS = new ThreadPoolExecutor(
            0,
            ASKED_AT_ONCE,
            10,
            TimeUnit.SECONDS,
            new SynchronousQueue<>(),
            Thread.ofPlatform().daemon().name("kvasir-accounts-", 0).factory());

    private final EngineContext ctx;
    private final EngineServer server;
    private final EngineStore store;
    private final HeldRequests held;
    private final EngineMetrics metrics;
    private final SecureRandom random = new SecureRandom();
    private final Long2ObjectHashMap<Session> sessions = new Long2ObjectHashMap<>();
    /** Of all of them; see {@link Budget#SESSION_BYTES}. */
    private long sessionBytes;

    JoinCalls(
            final EngineContext ctx,
            final EngineServer server,
            final EngineStore store,
            final HeldRequests held,
            final EngineMetrics metrics) {
        this.ctx = ctx;
        this.server = server;
        this.store = store;
        this.held = held;
        this.metrics = metrics;
    }

    /** Null while the name service is asked who the peer is: only this Hello waits for that. */
    Response.Builder hello(
            final Connection connection,
            final long id,
            final Hello hello,
            final long arrivedNs,
            final long deadlineNs) {
        if (hello.getProtocol() != PROTOCOL) {
            throw new CallException(
                    Error.Code.UNSUPPORTED,
                    "the engine speaks protocol " + Integer.toUnsignedString(hello.getProtocol())
                            + ", this node speaks " + PROTOCOL);
        }
        text("client", hello.getClient());
        final PeerCredentials peer = peer(connection);
        final byte[] token = hello.getToken().toByteArray();
        if (ctx.tenants().isKnown(peer)) {
            return admitted(connection, id, hello, peer, ctx.tenants().admit(peer, token));
        }
        final HeldHello waiting = new HeldHello(connection, id, arrivedNs, deadlineNs, hello, peer);
        try {
            ACCOUNTS.execute(() -> {
                final Optional<TenantGrant> grant = ask(peer, token);
                store.execute(() -> {
                    waiting.grant = grant;
                    held.wake(waiting);
                });
            });
        } catch (final RejectedExecutionException busy) {
            throw unknown(peer);
        }
        held.add(waiting);
        return null;
    }

    /** Null when the name service failed. */
    private Optional<TenantGrant> ask(final PeerCredentials peer, final byte[] token) {
        try {
            return ctx.tenants().admit(peer, token);
        } catch (final RuntimeException failure) {
            LOG.warn("It cannot be found out who uid {} is: {}", peer.uid(), failure.toString());
            return null;
        }
    }

    private static CallException unknown(final PeerCredentials peer) {
        return new CallException(
                Error.Code.UNAVAILABLE,
                "this machine's name service did not tell who uid " + Integer.toUnsignedString(peer.uid())
                        + " is; try again, and look at nsswitch.conf");
    }

    /** Waits for the name service. */
    private final class HeldHello extends Held {
        private final Hello hello;
        private final PeerCredentials peer;
        private Optional<TenantGrant> grant;

        HeldHello(
                final Connection connection,
                final long requestId,
                final long arrivedNs,
                final long deadlineNs,
                final Hello hello,
                final PeerCredentials peer) {
            super(
                    connection,
                    requestId,
                    Request.CallCase.HELLO,
                    arrivedNs,
                    deadlineNs - ReadCalls.ANSWER_NS,
                    2L * MAX_TEXT);
            this.hello = hello;
            this.peer = peer;
        }

        @Override
        void ready() {
            held.remove(this);
            if (grant == null) {
                throw unknown(peer);
            }
            final Response.Builder answer = admitted(connection, requestId, hello, peer, grant);
            if (answer != null) {
                server.answer(this, answer);
            }
        }

        @Override
        void expire() {
            throw unknown(peer);
        }

        @Override
        void drop() {}
    }

    /** Null when the connection was refused, and ends. */
    private Response.Builder admitted(
            final Connection connection,
            final long id,
            final Hello hello,
            final PeerCredentials peer,
            final Optional<TenantGrant> grant) {
        if (connection.attachment != null) {
            throw CallException.invalid("Hello came already; a connection says it once");
        }
        if (grant.isEmpty()) {
            throw new CallException(
                    Error.Code.UNAUTHENTICATED,
                    "uid " + Integer.toUnsignedString(peer.uid()) + " with "
                            + (hello.getToken().isEmpty() ? "no token" : "this token")
                            + " belongs to no tenant of this node");
        }
        final TenantAccount account = store.account(grant.get().name());
        if (account.connections() >= account.share().maxConnections()) {
            // It ends: what has not said Hello counts for no tenant, but for all connections.
            server.breakOff(
                    connection,
                    id,
                    Fault.TENANT_CONNECTION_LIMIT,
                    Error.Code.RESOURCE_EXHAUSTED,
                    "tenant " + account.name() + " has " + account.connections()
                            + " connections, as many as max_connections of it in tenants allows");
            return null;
        }
        connection.tenant = grant.get();
        try {
            connection.storeTenant = store.openTenant(connection.tenant.name(), connection.tenant.gid());
            connection.attachment = store.openAttachment(connection.storeTenant);
        } catch (final StorageException e) {
            // No descriptors, no room for a file: it may work later, and the engine is not to blame.
            throw new CallException(Error.Code.UNAVAILABLE, e.getMessage());
        }
        LOG.atInfo()
                .addKeyValue("tenant", connection.tenant.name())
                .addKeyValue("attachment", Long.toHexString(connection.attachment.id()))
                .log("Hello from {}", hello.getClient());
        return Response.newBuilder()
                .setHello(HelloResult.newBuilder()
                        .setProtocol(PROTOCOL)
                        .setNode(ctx.nodeName())
                        .setTenant(connection.tenant.name())
                        .setDirectory(connection.storeTenant.directory())
                        .setAttachment(connection.attachment.secret())
                        .setLockFile(connection.attachment.lockFile())
                        .setMaxFrameBytes(ctx.maxFrameBytes()));
    }

    Response.Builder attach(final Connection connection, final Attach attach) {
        if (connection.attachment == null) {
            throw new CallException(Error.Code.NOT_ATTACHED, "Hello has to come first");
        }
        if (connection.session != null) {
            throw CallException.invalid("Attach came already; a connection belongs to one session");
        }
        if (attach.getQuiescedCount() > MAX_QUIESCED) {
            throw CallException.invalid(
                    "quiesced has " + attach.getQuiescedCount() + " entries; at most " + MAX_QUIESCED);
        }
        if (!store.isAlive(connection.attachment)) {
            throw CallException.invalid("nobody holds the lock on " + connection.attachment.lockFile()
                    + "; take an exclusive POSIX record lock over the whole file before Attach");
        }
        final Session session = switch (attach.getSessionCase()) {
            case CREATE -> create(connection, attach.getCreate());
            case JOIN -> find(connection, attach.getJoin());
            case SESSION_NOT_SET -> throw CallException.invalid("session is not set; it must be create or join");
        };
        for (int i = 0; i < attach.getQuiescedCount(); i++) {
            store.quiesced(connection.storeTenant, attach.getQuiesced(i));
        }
        store.joinHolder(session.holder, connection.attachment);
        session.connections.add(connection);
        connection.session = session;
        metrics.sessions.set(sessions.size());

        final AttachResult.Builder result = AttachResult.newBuilder()
                .setSession(session.id)
                .setSecret(UnsafeByteOperations.unsafeWrap(session.secret.clone()));
        session.shards().shards().forEach(shard -> result.addShards(EventRing.shard(shard)));
        for (final RegionInfo region : store.regions(connection.storeTenant)) {
            connection.learns(region.region());
            result.addRegions(region(region));
        }
        for (int i = 0; i < session.namespaces().size(); i++) {
            result.addNamespaces(OpenNamespaceResult.newBuilder()
                    .setHandle(i + 1)
                    .setId(bytes(session.namespaces().get(i).id())));
        }
        return Response.newBuilder().setAttach(result);
    }

    Response.Builder openNamespace(final Connection connection, final OpenNamespace call) {
        final Session session = Calls.session(connection);
        final Namespace namespace = call.getNamespace();
        if (namespace.getSerializedSize() > MAX_NAMESPACE_BYTES) {
            throw CallException.invalid(
                    "namespace has " + namespace.getSerializedSize() + " bytes; at most " + MAX_NAMESPACE_BYTES);
        }
        if (namespace.getModel().isEmpty()) {
            throw CallException.invalid("namespace.model is empty; it must name the model");
        }
        if (namespace.getChunkTokens() == 0) {
            throw CallException.invalid("namespace.chunk_tokens is 0; it must be at least 1");
        }
        final Hash256 id = NamespaceId.of(session.tenant.name(), namespace);
        if (!session.hasOpen(id)) {
            admit(Budget.NAMESPACE_BYTES, "another namespace");
        }
        final int before = session.namespaces().size();
        final int handle = session.open(id, namespace.getChunkTokens());
        if (handle == 0) {
            throw new CallException(
                    Error.Code.RESOURCE_EXHAUSTED, "a session opens at most " + Session.MAX_NAMESPACES + " namespaces");
        }
        sessionBytes += (session.namespaces().size() - before) * Budget.NAMESPACE_BYTES;
        if (!store.rememberNamespace(id, session.tenant.name(), namespace.toByteArray())) {
            throw new CallException(
                    Error.Code.RESOURCE_EXHAUSTED,
                    "the catalog's disk is behind with the namespaces it was given; try again later");
        }
        return Response.newBuilder()
                .setOpenNamespace(
                        OpenNamespaceResult.newBuilder().setHandle(handle).setId(bytes(id)));
    }

    void connectionEnded(final Connection connection) {
        final Session session = connection.session;
        if (connection.attachment != null) {
            store.closeAttachment(connection.attachment);
        }
        if (session != null && session.connections.remove(connection) && session.connections.isEmpty()) {
            sessions.remove(session.id);
            sessionBytes -= session.bytes();
            metrics.sessions.set(sessions.size());
            store.closeHolder(session.holder);
        }
    }

    static Region region(final RegionInfo region) {
        return Region.newBuilder()
                .setRegion(region.region())
                .setSlotBytes(region.slotBytes())
                .setSlots(region.slots())
                .setDataFile(region.dataFile())
                .setHeaderFile(region.headerFile())
                .build();
    }

    /** Refuses what would take more memory than all sessions together may have. */
    private void admit(final long bytes, final String what) {
        if (sessionBytes + bytes > Budget.SESSION_BYTES) {
            throw new CallException(
                    Error.Code.RESOURCE_EXHAUSTED,
                    what + " would take " + bytes + " bytes; the shards, hit rules and namespaces of " + sessions.size()
                            + " sessions take " + sessionBytes + " of the " + Budget.SESSION_BYTES
                            + " bytes that all have: declare fewer shards, or end sessions that are not needed");
        }
    }

    private Session create(final Connection connection, final CreateSession create) {
        text("create.name", create.getName());
        admit(
                create.getShardsCount() * Budget.SHARD_BYTES + create.getGroupsCount() * Budget.RULE_BYTES,
                "a session of " + create.getShardsCount() + " shards and " + create.getGroupsCount() + " hit rules");
        final List<Shard> shards = new ArrayList<>(create.getShardsCount());
        for (final io.kvasir.node.engine.v1.Shard shard : create.getShardsList()) {
            Check.part(shards.size(), shard);
            shards.add(new Shard(
                    shard.getLayerBegin(),
                    shard.getLayerEnd(),
                    shard.getHeadBegin(),
                    shard.getHeadEnd(),
                    shard.getKvGroup(),
                    shard.getPpRank(),
                    shard.getPpSize(),
                    shard.getCpRank(),
                    shard.getCpSize()));
        }
        final Map<Integer, HitRule> rules = new HashMap<>();
        for (final GroupRule rule : create.getGroupsList()) {
            final HitRule hit = switch (rule.getHit()) {
                case ALL_CHUNKS -> new HitRule.AllChunks();
                case TRAILING_WINDOW -> new HitRule.TrailingWindow(rule.getWindowChunks());
                case UNRECOGNIZED ->
                    throw CallException.invalid("groups.hit is " + rule.getHitValue() + ", no rule of this node");
            };
            if (rules.put(rule.getKvGroup(), hit) != null) {
                throw CallException.invalid("groups names KV group " + rule.getKvGroup() + " twice");
            }
        }
        final LeaseHolder holder = store.openHolder(connection.storeTenant, new ShardSet(shards, rules));
        final byte[] secret = new byte[SECRET_BYTES];
        random.nextBytes(secret);
        long id = random.nextLong();
        while (id == 0 || sessions.containsKey(id)) {
            id = random.nextLong();
        }
        final Session session = new Session(id, secret, create.getName(), connection.tenant, holder);
        sessions.put(id, session);
        sessionBytes += session.bytes();
        return session;
    }

    private Session find(final Connection connection, final JoinSession join) {
        final Session session = sessions.get(join.getSession());
        if (session == null
                || !session.tenant.name().equals(connection.tenant.name())
                || !MessageDigest.isEqual(session.secret, join.getSecret().toByteArray())) {
            throw new CallException(
                    Error.Code.UNKNOWN_SESSION,
                    "session " + Long.toUnsignedString(join.getSession())
                            + " ended, was made under another incarnation, or has another secret");
        }
        return session;
    }

    private static PeerCredentials peer(final Connection connection) {
        try {
            return PeerCredentials.of(connection.channel);
        } catch (final IOException e) {
            throw new CallException(Error.Code.UNAUTHENTICATED, "the kernel does not say who the peer is: " + e);
        }
    }

    private static ByteString bytes(final Hash256 hash) {
        return UnsafeByteOperations.unsafeWrap(hash.toBytes());
    }

    private static void text(final String field, final String value) {
        if (value.length() > MAX_TEXT) {
            throw CallException.invalid(field + " has " + value.length() + " characters; at most " + MAX_TEXT);
        }
        if (value.chars().anyMatch(Character::isISOControl)) {
            throw CallException.invalid(field + " has control characters; it is shown to people");
        }
    }
}
