package io.kvasir.node.cluster;

import io.kvasir.node.cluster.directory.Announcer;
import io.kvasir.node.cluster.directory.ChunkName;
import io.kvasir.node.cluster.directory.DirectoryCounters;
import io.kvasir.node.cluster.directory.Entry;
import io.kvasir.node.cluster.directory.Locator;
import io.kvasir.node.config.NodeConfig;
import io.kvasir.node.engine.Neighbours;
import io.kvasir.storage.AdminStore;
import io.kvasir.storage.PeerStore;
import io.kvasir.storage.StoreAgent;
import io.kvasir.storage.StoreContext;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.Shard;
import io.kvasir.storage.object.StorageException;
import io.kvasir.storage.object.TierKind;
import io.kvasir.storage.posix.OwnDirectory;
import io.kvasir.storage.tenant.Tenant;
import io.kvasir.storage.tier.Holdings;
import io.kvasir.storage.tier.remote.RemoteTier;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import org.agrona.IoUtil;
import org.agrona.collections.LongArrayList;
import org.agrona.concurrent.NanoClock;
import org.agrona.concurrent.SystemNanoClock;

/**
 * This node's part in the cluster, as its store sees it: what other nodes hold, and how it comes here. The store's thread
 * owns it; Ignite and the peer link have threads of their own.
 */
public final class Cluster implements RemoteTier, Neighbours, AutoCloseable {
    private static final long SAMPLE_NS = 500_000_000;

    private final NodeConfig.Cluster config;
    private final String name;
    private final byte[] incarnation;
    private final Path linkDirectory;
    private final ClusterSecret secret;
    private final NanoClock clock = SystemNanoClock.INSTANCE;
    private final DirectoryCounters counters = new DirectoryCounters();
    private final Announcer announcer;
    private final Locator locator;
    private final AtomicReference<ClusterView> news = new AtomicReference<>();
    private final Map<Long, NodeStatus> statuses = new ConcurrentHashMap<>();
    private final Speeds speeds = new Speeds(statuses::get, clock);
    private final Rooms rooms = new Rooms(statuses::get, clock);
    private final Whereabouts whereabouts;
    private volatile NodeStatus own = NodeStatus.UNKNOWN;
    private PeerStore store;
    private AdminStore figures;
    private Handoffs handoffs;
    private Drain drain;
    private LastCopies lastCopies;
    private Transfers transfers;
    private Membership membership;
    private ClusterView view = ClusterView.NONE;
    private long sampledNs = System.nanoTime() - SAMPLE_NS;

    /** Joins nobody before the store is open. */
    public Cluster(final NodeConfig config, final byte[] incarnation) {
        this.config = config.cluster();
        this.name = config.node().name();
        this.incarnation = incarnation.clone();
        secret = new ClusterSecret(this.config.secret());
        final Path arena = config.dram().directory();
        linkDirectory = arena.resolveSibling(arena.getFileName() + "-link");
        announcer = new Announcer(
                Peer.holder(incarnation),
                StoreContext.mostObjects(
                        config.dram().capacityBytes(), config.ssd().objects()),
                Announcer.Limits.of(this.config.announceRate()),
                clock,
                task -> store.execute(task),
                counters);
        locator = new Locator(
                clock,
                task -> store.execute(task),
                holder -> view.peers().containsKey(holder),
                this.config.directoryDeadline().toNanos(),
                counters);
        whereabouts = new Whereabouts(announcer, () -> view, task -> store.execute(task));
    }

    /** Hears what the store holds. */
    public Holdings holdings() {
        return new Listening();
    }

    /** The announcer hears everything, and hand-offs what they wait for. */
    private final class Listening implements Holdings {
        @Override
        public void held(
                final ObjectId id, final TierKind tier, final long length, final Hash256 parent, final int chunkIndex) {
            announcer.held(id, tier, length, parent, chunkIndex);
            if (handoffs != null && tier == TierKind.DRAM) {
                handoffs.held(id, length);
            }
        }

        @Override
        public void gone(final ObjectId id, final TierKind tier) {
            announcer.gone(id, tier);
        }

        @Override
        public void lost(final TierKind tier) {
            announcer.lost(tier);
        }
    }

    /** Starts the link to other nodes and joins them, once, when the store is open. Before the store's thread runs. */
    public void join(final StoreAgent opened) {
        store = opened.peers();
        figures = opened.admin();
        transfers = new Transfers(
                store,
                speeds,
                config.pullDeadline(),
                link -> link.self(new io.kvasir.transport.Peer(
                                config.host(), config.port() + Ports.LINK, Names.incarnation(hex())))
                        .aeronDirectory(privateDirectory().resolve("driver"))
                        .secret(secret.bytes())
                        .silence(config.failureTimeout()));
        handoffs = new Handoffs(transfers.pushes(), clock);
        lastCopies =
                new LastCopies(store, figures, transfers.pushes(), whereabouts, rooms, config.moveRateBytes(), clock);
        membership = Membership.start(new ClusterContext()
                .name(name)
                .incarnation(incarnation)
                .seeds(config.seeds())
                .address(config.host(), config.port())
                .secret(secret)
                .failureTimeout(config.failureTimeout())
                .directoryBytes(config.directoryBytes())
                .workDirectory(Path.of(
                        System.getProperty("java.io.tmpdir"),
                        "kvasir-" + name + "-" + ProcessHandle.current().pid() + "-" + config.port()))
                .onView(this::onView)
                .status(() -> own.toLongs())
                .onStatus((holder, told) -> statuses.put(holder, NodeStatus.of(told, clock.nanoTime())))
                .onAudit(audit -> store.execute(() -> announcer.audited(audit.keys(), audit.sequences()))));
    }

    /**
     * The link's buffers hold payload of every tenant, and the media driver makes them as the umask says: nobody else may
     * enter the directory above. What an earlier process left there is removed.
     */
    private Path privateDirectory() {
        try {
            OwnDirectory.make(linkDirectory, "dram.directory");
            IoUtil.delete(linkDirectory.toFile(), false);
            OwnDirectory.make(linkDirectory, "dram.directory");
            Files.setPosixFilePermissions(linkDirectory, PosixFilePermissions.fromString("rwx------"));
            return linkDirectory;
        } catch (final IOException e) {
            throw new StorageException("the peer link has no place for its buffers: " + e.getMessage(), e);
        }
    }

    private String hex() {
        return java.util.HexFormat.of().formatHex(incarnation);
    }

    private void onView(final ClusterView next) {
        news.set(next);
        store.execute(() -> {});
    }

    // ---- what the store asks

    @Override
    public boolean isOpen() {
        return view.directory() != null && !view.peers().isEmpty();
    }

    @Override
    public void locate(
            final Hash256 namespace,
            final byte[] keys,
            final int from,
            final List<Shard> shards,
            final boolean sparse,
            final Finding finding) {
        if (!isOpen()) {
            finding.done(false);
            return;
        }
        locator.locate(
                view.directory(),
                namespace,
                keys,
                from,
                sparse,
                new Gathering(keys.length / Hash256.BYTES, shards, finding));
    }

    private final class Gathering implements Locator.Answer {
        private final Holders[] copies;
        private final int[] tags;
        private final Finding finding;

        Gathering(final int chunks, final List<Shard> shards, final Finding finding) {
            copies = new Holders[chunks * shards.size()];
            tags = shards.stream().mapToInt(ChunkName::tag).toArray();
            this.finding = finding;
        }

        @Override
        public void found(final int chunk, final long holder, final Entry.Reader record, final int member) {
            final Peer peer = view.peers().get(holder);
            if (peer == null) {
                return;
            }
            for (int i = 0; i < record.shards(); i++) {
                final boolean dram = record.inDram(member, i);
                if (!dram && !record.onSsd(member, i)) {
                    continue;
                }
                for (int s = 0; s < tags.length; s++) {
                    if (tags[s] == record.shardTag(i)) {
                        final int at = chunk * tags.length + s;
                        if (copies[at] == null) {
                            copies[at] = new Holders();
                        }
                        copies[at].add(peer, !dram, record.shardBytes(i));
                    }
                }
            }
        }

        @Override
        public void done(final boolean complete) {
            for (int i = 0; i < copies.length; i++) {
                if (copies[i] != null) {
                    finding.found(i / tags.length, i % tags.length, copies[i]);
                }
            }
            finding.done(complete);
        }
    }

    @Override
    public long expectedNs(final RemoteTier.Copies copies) {
        long least = Long.MAX_VALUE;
        for (final Holders.Copy copy : ((Holders) copies).all()) {
            least = Math.min(least, speeds.expectedNs(copy, copies.bytes()));
        }
        return least;
    }

    @Override
    public void pull(final Tenant tenant, final List<? extends Wanted> objects) {
        transfers.pull(tenant, objects, peer -> view.peers().containsKey(peer.holder()));
    }

    @Override
    public int doWork(final long nowNs) {
        int work = 0;
        final ClusterView next = news.getAndSet(null);
        if (next != null) {
            final boolean another = next.instance() != view.instance();
            if (!next.peers().keySet().containsAll(view.peers().keySet())) {
                store.forgetCopies();
                locator.membersLeft();
                if (!another) {
                    view.peers().forEach((holder, peer) -> {
                        if (!next.peers().containsKey(holder)) {
                            transfers.gone(peer);
                        }
                    });
                }
            }
            view = next;
            speeds.retain(view.peers()::containsKey);
            statuses.keySet().retainAll(view.peers().keySet());
            rooms.peers(List.copyOf(view.peers().values()));
            if (another) {
                final LongArrayList hottestFirst = new LongArrayList();
                if (view.directory() != null) {
                    store.eachByHeat(id -> hottestFirst.addLong(ChunkName.hash(id.namespace(), id.key())));
                }
                announcer.joined(view.directory(), hottestFirst.toLongArray());
            }
            work++;
        }
        if (nowNs - sampledNs >= SAMPLE_NS) {
            sampledNs = nowNs;
            // Who leaves takes nothing in.
            own = new NodeStatus(
                    drain == null ? Math.max(0, figures.dramCapacityBytes() - figures.dramUsedBytes()) : 0,
                    transfers.queuedBytes(),
                    figures.leasedBytes(),
                    drain == null ? figures.ssdFreeBytes() : 0,
                    nowNs);
        }
        if (drain != null) {
            work += drain.doWork(nowNs);
        } else if (isOpen()) {
            work += lastCopies.doWork(nowNs);
        }
        return work + announcer.doWork() + locator.doWork() + handoffs.doWork(nowNs) + transfers.doWork();
    }

    /** True while it has to be asked for work every few milliseconds. */
    public boolean isBusy() {
        return announcer.waiting() > 0 || locator.open() > 0 || drain != null;
    }

    // ---- leaving

    /** Begins to move what only this node has; {@link #isDrained} says when it is over. The store's thread. */
    public void drain(final long untilNs) {
        if (drain == null && isOpen()) {
            drain = new Drain(store, transfers.pushes(), whereabouts, rooms, untilNs);
        }
    }

    public boolean isDrained(final long nowNs) {
        return drain == null || drain.isOver(nowNs);
    }

    // ---- what engines ask of other nodes

    @Override
    public void scores(
            final Hash256 namespace,
            final byte[] keys,
            final List<Shard> shards,
            final int ownPrefix,
            final BiConsumer<List<Score>, Boolean> answer) {
        final Prefixes prefixes = new Prefixes(keys.length / Hash256.BYTES, shards);
        final Consumer<Boolean> done = complete -> {
            final List<Score> scores = new ArrayList<>();
            for (final Peer peer : view.peers().values()) {
                scores.add(score(
                        peer.name(),
                        peer.incarnation(),
                        prefixes.of(peer.holder()),
                        statuses.getOrDefault(peer.holder(), NodeStatus.UNKNOWN)));
            }
            scores.sort(Comparator.comparingInt((Score score) -> -score.prefixChunks()));
            scores.addFirst(score(name, hex(), ownPrefix, own));
            answer.accept(scores, complete);
        };
        if (!isOpen() || keys.length == 0) {
            done.accept(view.directory() != null);
            return;
        }
        locator.locate(view.directory(), namespace, keys, 0, false, new Locator.Answer() {
            @Override
            public void found(final int chunk, final long holder, final Entry.Reader record, final int member) {
                prefixes.found(chunk, holder, record, member);
            }

            @Override
            public void done(final boolean complete) {
                done.accept(complete);
            }
        });
    }

    private static Score score(final String node, final String incarnation, final int prefix, final NodeStatus status) {
        return new Score(
                node,
                HexFormat.of().parseHex(incarnation),
                prefix,
                status.freeBytes(),
                status.queuedBytes(),
                status.leasedBytes());
    }

    @Override
    public void handoff(
            final Hash256 namespace,
            final byte[] keys,
            final List<Shard> shards,
            final String target,
            final long ttlNs) {
        final Peer peer = view.peers().values().stream()
                .filter(each -> each.name().equals(target))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException("target is " + target + "; the other nodes are "
                        + view.peers().values().stream()
                                .map(Peer::name)
                                .sorted()
                                .toList()));
        final long untilNs = clock.nanoTime() + ttlNs;
        for (int at = 0; at < keys.length; at += Hash256.BYTES) {
            final Hash256 key = Hash256.read(keys, at);
            for (final Shard shard : shards) {
                final ObjectId id = new ObjectId(namespace, key, shard);
                handoffs.add(id, store.holds(id) ? store.bytesOf(id) : 0, peer, untilNs);
            }
        }
    }

    // ---- what there is

    /** Any thread. */
    public ClusterView view() {
        return membership == null ? ClusterView.NONE : membership.view();
    }

    public DirectoryCounters directoryCounters() {
        return counters;
    }

    Transfers transfers() {
        return transfers;
    }

    LastCopies lastCopies() {
        return lastCopies;
    }

    /** The store's thread. */
    Drain.Progress drained() {
        return drain == null ? Drain.Progress.NONE : drain.progress();
    }

    Membership membership() {
        return membership;
    }

    /** Chunks that this node announces, and records that wait to be sent; the store's thread. */
    public long[] announced() {
        return new long[] {announcer.chunks(), announcer.entries(), announcer.waiting()};
    }

    /** For people. */
    public String describe() {
        final ClusterView now = view();
        final String trouble = membership == null ? "" : membership.trouble();
        return now.directory() != null
                ? "cluster of " + now.size()
                : trouble.isEmpty() ? "joining the cluster" : "not in the cluster: " + trouble;
    }

    /** Before the store is closed: its slots come back. The store's thread. */
    @Override
    public void close() {
        if (transfers != null) {
            transfers.close();
            IoUtil.delete(linkDirectory.toFile(), true);
        }
        if (membership != null) {
            membership.close();
        }
    }
}
