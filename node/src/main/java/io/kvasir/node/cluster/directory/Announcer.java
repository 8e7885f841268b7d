package io.kvasir.node.cluster.directory;

import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.TierKind;
import io.kvasir.storage.tier.Holdings;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.agrona.collections.Long2ObjectHashMap;
import org.agrona.concurrent.NanoClock;

/**
 * Tells the directory what this node holds. Keeps, for each entry that this node has a part in, what that part is, and
 * sends it as a whole when it changed: changes that come together travel together, a lost update is sent again, and one
 * that comes twice does nothing. Owned by the store's thread.
 *
 * <p>Which entry a chunk belongs to: that of its parent, unless it is the first of 32, or the parent is not known here,
 * or the entry is full of branches; then it begins an entry of its own. So does a chunk whose place in its chain the engine
 * did not say: such an engine may ask for it without what comes before, and only the beginning of an entry is found alone.
 */
public final class Announcer implements Holdings {
    /** Settings. */
    public record Limits(int backlogChunksPerSecond, long coalesceNs, long updateDeadlineNs, long auditIntervalNs) {
        public static Limits of(final int backlogChunksPerSecond) {
            return new Limits(
                    backlogChunksPerSecond,
                    TimeUnit.MILLISECONDS.toNanos(2),
                    // Ignite ends what it can; sending again too early only adds to what it has to do.
                    TimeUnit.SECONDS.toNanos(10),
                    TimeUnit.MILLISECONDS.toNanos(200));
        }
    }

    /** Members of this node in one entry: where chains branch early, an entry would grow without end. */
    static final int MAX_MEMBERS = 64;

    private static final int BATCH = 256;
    private static final int UPDATES_IN_FLIGHT = 4;
    private static final int AUDITED_AT_ONCE = 64;

    private record Early(ObjectId id, long length, Hash256 parent, int chunkIndex) {}

    private record InFlight(List<DirectoryRecord> groups, long untilNs, boolean[] ended) {}

    private final long holder;
    private final Limits limits;
    private final NanoClock clock;
    private final DirectoryCounters counters;
    private final java.util.concurrent.Executor owner;
    private final Map<Hash256, DirectoryRecord.Shards> tables = new HashMap<>();
    private final Long2ObjectHashMap<DirectoryRecord> byChunk = new Long2ObjectHashMap<>();
    private final Long2ObjectHashMap<DirectoryRecord> groups = new Long2ObjectHashMap<>();
    private final ArrayDeque<DirectoryRecord> fresh = new ArrayDeque<>();
    private final ArrayDeque<DirectoryRecord> backlog = new ArrayDeque<>();
    private final ArrayDeque<Long> withdrawn = new ArrayDeque<>();
    private final List<InFlight> inFlight = new ArrayList<>();
    private List<Early> early = new ArrayList<>();

    private Directory directory;
    private int joins;
    private long sequence;
    private long freshSinceNs;
    private double backlogTokens;
    private long tokensAtNs;
    private long pausedUntilNs;
    private long auditAtNs;
    private long[] auditKeys = {};
    private int auditCursor;

    /**
     * @param holder the first half of this node's incarnation
     * @param owner runs what must run on the owner's thread
     */
    public Announcer(
            final long holder,
            final Limits limits,
            final NanoClock clock,
            final java.util.concurrent.Executor owner,
            final DirectoryCounters counters) {
        this.holder = holder;
        this.limits = limits;
        this.clock = clock;
        this.owner = owner;
        this.counters = counters;
    }

    // ---- what the store says

    @Override
    public void held(
            final ObjectId id, final TierKind tier, final long length, final Hash256 parent, final int chunkIndex) {
        if (tier == TierKind.SSD && early != null) {
            early.add(new Early(id, length, parent, chunkIndex));
            return;
        }
        hold(id, tier, length, parent, chunkIndex);
    }

    private void hold(
            final ObjectId id, final TierKind tier, final long length, final Hash256 parent, final int chunkIndex) {
        final DirectoryRecord.Shards table =
                tables.computeIfAbsent(id.namespace(), ignored -> new DirectoryRecord.Shards());
        final int shard = table.index(id.shard());
        if (shard < 0) {
            return;
        }
        table.bytes(shard, length);
        final long chunk = ChunkName.hash(id.namespace(), id.key());
        DirectoryRecord group = byChunk.get(chunk);
        if (group == null) {
            group = assign(chunk, id.namespace(), parent, chunkIndex, table);
        }
        if (group.set(group.find(chunk), tier, shard)) {
            changed(group);
        }
    }

    private DirectoryRecord assign(
            final long chunk,
            final Hash256 namespace,
            final Hash256 parent,
            final int chunkIndex,
            final DirectoryRecord.Shards table) {
        DirectoryRecord group = null;
        if (!parent.equals(Hash256.ZERO) && chunkIndex > 0 && chunkIndex % Entry.CHUNKS != 0) {
            group = byChunk.get(ChunkName.hash(namespace, parent));
            if (group != null && group.members() >= MAX_MEMBERS) {
                group = null;
            }
        }
        if (group == null) {
            group = groups.get(chunk);
            if (group == null) {
                group = new DirectoryRecord(chunk, table);
                groups.put(chunk, group);
            }
        }
        group.add(chunk);
        byChunk.put(chunk, group);
        return group;
    }

    @Override
    public void gone(final ObjectId id, final TierKind tier) {
        if (tier == TierKind.SSD && early != null) {
            early.removeIf(waiting -> waiting.id.equals(id));
        }
        final long chunk = ChunkName.hash(id.namespace(), id.key());
        final DirectoryRecord group = byChunk.get(chunk);
        if (group == null) {
            return;
        }
        final int shard = tables.get(id.namespace()).index(id.shard());
        final int member = group.find(chunk);
        if (shard < 0 || !group.clear(member, tier, shard)) {
            return;
        }
        if (group.isGone(member)) {
            group.remove(member);
            byChunk.remove(chunk);
        }
        changed(group);
    }

    @Override
    public void lost(final TierKind tier) {
        early = tier == TierKind.SSD && early != null ? new ArrayList<>() : early;
        for (final DirectoryRecord group : List.copyOf(groups.values())) {
            boolean any = false;
            for (int i = group.members() - 1; i >= 0; i--) {
                any |= group.clear(i, tier);
                if (group.isGone(i)) {
                    byChunk.remove(group.chunk(i));
                    group.remove(i);
                }
            }
            if (any) {
                changed(group);
            }
        }
    }

    /** What the SSD had at the start comes in no order; parents come first here. */
    @Override
    public void complete() {
        if (early != null) {
            final List<Early> waiting = early;
            early = null;
            waiting.sort(Comparator.comparingInt(Early::chunkIndex));
            waiting.forEach(each -> hold(each.id, TierKind.SSD, each.length, each.parent, each.chunkIndex));
        }
    }

    private void changed(final DirectoryRecord group) {
        group.confirmed = false;
        if (!group.queued && !group.inFlight) {
            if (fresh.isEmpty()) {
                freshSinceNs = clock.nanoTime();
            }
            group.queued = true;
            fresh.add(group);
        }
    }

    // ---- what the cluster says

    /**
     * The directory that holds now; null while there is none. Everything is announced anew, in the order given, at a
     * bounded rate.
     *
     * @param hottestFirst chunks as {@link ChunkName#hash} names them; may leave some out
     */
    public void joined(final Directory directory, final long[] hottestFirst) {
        this.directory = directory;
        joins++;
        inFlight.forEach(update -> update.ended[0] = true);
        inFlight.clear();
        fresh.clear();
        backlog.clear();
        withdrawn.clear();
        for (final DirectoryRecord group : groups.values()) {
            group.queued = false;
            group.inFlight = false;
            group.confirmed = false;
        }
        if (directory == null) {
            return;
        }
        for (final long chunk : hottestFirst) {
            enqueue(byChunk.get(chunk));
        }
        for (final DirectoryRecord group : List.copyOf(groups.values())) {
            if (group.members() == 0) {
                groups.remove(group.key);
            } else {
                enqueue(group);
            }
        }
        tokensAtNs = clock.nanoTime();
        backlogTokens = 0;
        pausedUntilNs = tokensAtNs;
    }

    private void enqueue(final DirectoryRecord group) {
        if (group != null && !group.queued && group.members() > 0) {
            group.queued = true;
            backlog.add(group);
        }
    }

    /**
     * Somebody found these records of this node in the directory: what is not so is put right.
     *
     * @param sequences the one that each record carries
     */
    public void audited(final long[] keys, final long[] sequences) {
        for (int i = 0; i < keys.length; i++) {
            final DirectoryRecord group = groups.get(keys[i]);
            if (group == null) {
                counters.staleFound.increment();
                withdrawn.add(keys[i]);
            } else if (!group.queued && !group.inFlight && group.sequence != sequences[i]) {
                counters.staleFound.increment();
                changed(group);
            }
        }
    }

    // ---- the duty cycle

    public int doWork() {
        if (directory == null) {
            return 0;
        }
        final long nowNs = clock.nanoTime();
        expire(nowNs);
        int work = 0;
        while (inFlight.size() < UPDATES_IN_FLIGHT && nowNs - pausedUntilNs >= 0 && send(nowNs)) {
            work++;
        }
        audit(nowNs);
        return work;
    }

    private void expire(final long nowNs) {
        for (int i = inFlight.size() - 1; i >= 0; i--) {
            if (nowNs - inFlight.get(i).untilNs >= 0) {
                ended(inFlight.get(i), false);
            }
        }
    }

    private boolean send(final long nowNs) {
        backlogTokens = Math.min(
                limits.backlogChunksPerSecond / 10.0 + Entry.CHUNKS,
                backlogTokens + (nowNs - tokensAtNs) * 1e-9 * limits.backlogChunksPerSecond);
        tokensAtNs = nowNs;
        final List<DirectoryRecord> batch = new ArrayList<>();
        final Map<Long, byte[]> records = new HashMap<>();
        if (fresh.size() >= BATCH || (!fresh.isEmpty() && nowNs - freshSinceNs >= limits.coalesceNs)) {
            while (batch.size() < BATCH && !fresh.isEmpty()) {
                take(fresh.poll(), batch, records);
            }
            freshSinceNs = nowNs;
        }
        while (batch.size() < BATCH && !backlog.isEmpty() && backlogTokens > 0) {
            final DirectoryRecord group = backlog.poll();
            backlogTokens -= group.members();
            take(group, batch, records);
        }
        while (records.size() < BATCH && !withdrawn.isEmpty()) {
            final long key = withdrawn.poll();
            if (!groups.containsKey(key)) {
                records.put(key, Entry.nothing(holder, ++sequence));
            }
        }
        if (records.isEmpty()) {
            return false;
        }
        final InFlight update = new InFlight(batch, nowNs + limits.updateDeadlineNs, new boolean[1]);
        inFlight.add(update);
        counters.updates.add(records.size());
        directory.update(records, done -> owner.execute(() -> ended(update, done)));
        return true;
    }

    private void take(final DirectoryRecord group, final List<DirectoryRecord> batch, final Map<Long, byte[]> records) {
        group.queued = false;
        group.inFlight = true;
        group.confirmed = true;
        group.sequence = ++sequence;
        batch.add(group);
        records.put(group.key, group.encode(holder));
        counters.announcedChunks.add(group.members());
    }

    private void ended(final InFlight update, final boolean done) {
        if (update.ended[0]) {
            return;
        }
        update.ended[0] = true;
        inFlight.remove(update);
        if (!done) {
            counters.failedUpdates.increment();
            pausedUntilNs = clock.nanoTime() + limits.coalesceNs * 50;
        }
        for (final DirectoryRecord group : update.groups) {
            group.inFlight = false;
            if (!done || !group.confirmed) {
                changed(group);
            } else if (group.members() == 0) {
                groups.remove(group.key);
            }
        }
    }

    // ---- anti-entropy, this node's half: is what it holds in the directory?

    private void audit(final long nowNs) {
        if (nowNs - auditAtNs < 0 || !backlog.isEmpty()) {
            return;
        }
        auditAtNs = nowNs + limits.auditIntervalNs;
        if (auditCursor >= auditKeys.length) {
            auditKeys = new long[groups.size()];
            int i = 0;
            for (final DirectoryRecord group : groups.values()) {
                auditKeys[i++] = group.key;
            }
            auditCursor = 0;
        }
        final int end = Math.min(auditKeys.length, auditCursor + AUDITED_AT_ONCE);
        if (end == auditCursor) {
            return;
        }
        final long[] keys = Arrays.copyOfRange(auditKeys, auditCursor, end);
        auditCursor = end;
        final int asked = joins;
        directory.read(
                keys,
                entries -> owner.execute(() -> {
                    if (joins == asked && entries != null) {
                        compare(keys, entries);
                    }
                }));
    }

    private void compare(final long[] keys, final Map<Long, byte[]> entries) {
        for (final long key : keys) {
            final DirectoryRecord group = groups.get(key);
            if (group == null || group.queued || group.inFlight || group.members() == 0) {
                continue;
            }
            boolean there = false;
            final byte[] entry = entries.get(key);
            if (entry != null) {
                for (final Entry.Reader each = new Entry.Reader(entry); each.next(); ) {
                    there |= each.holder() == holder && each.sequence() == group.sequence;
                }
            }
            counters.audited.increment();
            if (!there) {
                counters.missingFound.increment();
                changed(group);
            }
        }
    }

    /** The entry to which a chunk that this node holds belongs; 0 when it holds none such. */
    public long entryOf(final long chunk) {
        final DirectoryRecord group = byChunk.get(chunk);
        return group == null ? 0 : group.key;
    }

    // ---- what there is

    public int chunks() {
        return byChunk.size();
    }

    public int entries() {
        return groups.size();
    }

    /** Entries that wait to be announced or are on their way. */
    public int waiting() {
        int sent = 0;
        for (final InFlight update : inFlight) {
            sent += update.groups.size();
        }
        return fresh.size() + backlog.size() + withdrawn.size() + sent;
    }
}
