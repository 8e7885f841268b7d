package io.kvasir.node.cluster;

import io.kvasir.node.cluster.directory.Announcer;
import io.kvasir.node.cluster.directory.ChunkName;
import io.kvasir.node.cluster.directory.DirectoryCounters;
import io.kvasir.node.cluster.directory.Entry;
import io.kvasir.node.cluster.directory.Locator;
import io.kvasir.node.config.NodeConfig;
import io.kvasir.storage.Hash256;
import io.kvasir.storage.Holdings;
import io.kvasir.storage.ObjectStore;
import io.kvasir.storage.RemoteTier;
import io.kvasir.storage.Shard;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;
import org.agrona.collections.LongArrayList;
import org.agrona.concurrent.NanoClock;
import org.agrona.concurrent.SystemNanoClock;

/**
 * This node's part in the cluster, as its store sees it: what other nodes hold, and how it comes here. The store's thread
 * owns it; Ignite and the peer link have threads of their own.
 */
public final class Cluster implements RemoteTier, AutoCloseable {
    private final NodeConfig.Cluster config;
    private final String name;
    private final byte[] incarnation;
    private final Path linkDirectory;
    private final ClusterSecret secret;
    private final NanoClock clock = SystemNanoClock.INSTANCE;
    private final DirectoryCounters counters = new DirectoryCounters();
    private final Speeds speeds = new Speeds();
    private final Announcer announcer;
    private final Locator locator;
    private final AtomicReference<ClusterView> news = new AtomicReference<>();
    private ObjectStore store;
    private Transfers transfers;
    private Membership membership;
    private ClusterView view = ClusterView.NONE;

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
    }

    /** Hears what the store holds. */
    public Holdings holdings() {
        return announcer;
    }

    @Override
    public void opened(final ObjectStore opened) {
        store = opened;
        transfers = new Transfers(
                store,
                speeds,
                config.pullDeadline(),
                link -> link.self(new io.kvasir.transport.Peer(
                                config.host(), config.port() + Ports.LINK, Names.incarnation(hex())))
                        .aeronDirectory(linkDirectory)
                        .secret(secret.bytes())
                        .silence(config.failureTimeout()));
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
                .onAudit(audit -> store.execute(() -> announcer.audited(audit.keys(), audit.sequences()))));
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
    public void pull(final ObjectStore.Tenant tenant, final List<? extends Wanted> objects) {
        transfers.pull(tenant, objects);
    }

    @Override
    public int doWork(final long nowNs) {
        int work = 0;
        final ClusterView next = news.getAndSet(null);
        if (next != null) {
            final boolean another = next.instance() != view.instance();
            view = next;
            speeds.retain(view.peers()::containsKey);
            if (another) {
                final LongArrayList hottestFirst = new LongArrayList();
                if (view.directory() != null) {
                    store.eachByHeat(id -> hottestFirst.addLong(ChunkName.hash(id.namespace(), id.key())));
                }
                announcer.joined(view.directory(), hottestFirst.toLongArray());
            }
            work++;
        }
        return work + announcer.doWork() + locator.doWork();
    }

    /** True while it has to be asked for work every few milliseconds. */
    public boolean isBusy() {
        return announcer.waiting() > 0 || locator.open() > 0;
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
        }
        if (membership != null) {
            membership.close();
        }
    }
}
