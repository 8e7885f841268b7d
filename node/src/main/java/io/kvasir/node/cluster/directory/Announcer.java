package io.kvasir.node.cluster.directory;

import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.TierKind;
import io.kvasir.storage.tier.Holdings;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.agrona.collections.IntArrayList;
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

    /** Parts of a directory that was joined which are looked at in one turn, to queue those that it was not told of. */
    private static final int QUEUED_AT_ONCE = 1024;

    /** Parts that are looked at in one turn after a tier has lost everything. */
    private static final int LOSING_AT_ONCE = 256;

    private record InFlight(IntArrayList parts, long untilNs, boolean[] ended) {}

    private final long holder;
    private final Limits limits;
    private final NanoClock clock;
    private final DirectoryCounters counters;
    private final java.util.concurrent.Executor owner;
    private final DirectoryRecords records;
    private final DirectoryRecords.Queue fresh;
    private final DirectoryRecords.Queue backlog;
    private final ArrayDeque<Long> withdrawn = new ArrayDeque<>();
    private final List<InFlight> inFlight = new ArrayList<>();

    private Directory directory;
    private int joins;
    /** Parts that were there when the directory was joined and were not looked at since: from here to the end. */
    private int joinCursor;

    private int joinEnd;
    /** Parts that were there when a tier lost everything and were not looked at since: from here to the end. */
    private int lossCursor;

    private int lossEnd;
    private long sequence;
    private long freshSinceNs;
    private double backlogTokens;
    private long tokensAtNs;
    private long pausedUntilNs;
    private long auditAtNs;
    private int auditCursor;

    /**
     * @param holder the first half of this node's incarnation
     * @param expected chunks that this node has, as a rule at most
     * @param owner runs what must run on the owner's thread
     */
    public Announcer(
            final long holder,
            final int expected,
            final Limits limits,
            final NanoClock clock,
            final java.util.concurrent.Executor owner,
            final DirectoryCounters counters) {
        this.holder = holder;
        this.limits = limits;
        this.clock = clock;
        this.owner = owner;
        this.counters = counters;
        records = new DirectoryRecords(expected);
        fresh = records.new Queue();
        backlog = records.new Queue();
    }

    // ---- what the store says

    @Override
    public void held(
            final ObjectId id, final TierKind tier, final long length, final Hash256 parent, final int chunkIndex) {
        final int number = records.shardNumbers(id.namespace());
        final ShardNumbers shards = records.shards(number);
        final int shard = shards.index(id.shard());
        if (shard < 0) {
            return;
        }
        shards.bytes(shard, length);
        final long chunk = ChunkName.hash(id.namespace(), id.key());
        final int known = records.member(chunk);
        final int part = known == DirectoryRecords.NONE
                ? part(chunk, id.namespace(), parent, chunkIndex, number)
                : records.partOf(known);
        // What the part had in a tier that lost everything goes before something new of that tier comes.
        final boolean lost = records.lose(part);
        final int left = lost ? records.member(chunk) : known;
        final int member = left == DirectoryRecords.NONE ? records.addMember(chunk, part) : left;
        if (records.set(member, tier, shard) || lost) {
            changed(part);
        }
    }

    private int part(
            final long chunk,
            final Hash256 namespace,
            final Hash256 parent,
            final int chunkIndex,
            final int shardNumbers) {
        if (!parent.equals(Hash256.ZERO) && chunkIndex > 0 && chunkIndex % Entry.CHUNKS != 0) {
            final int above = records.member(ChunkName.hash(namespace, parent));
            if (above != DirectoryRecords.NONE && records.members(records.partOf(above)) < MAX_MEMBERS) {
                return records.partOf(above);
            }
        }
        final int known = records.find(chunk);
        return known == DirectoryRecords.NONE ? records.add(chunk, shardNumbers) : known;
    }

    @Override
    public void gone(final ObjectId id, final TierKind tier) {
        final int member = records.member(ChunkName.hash(id.namespace(), id.key()));
        if (member == DirectoryRecords.NONE) {
            return;
        }
        final int part = records.partOf(member);
        final int shard = records.shardsOf(part).index(id.shard());
        if (shard < 0 || !records.clear(member, tier, shard)) {
            return;
        }
        if (records.isGone(member)) {
            records.removeMember(member);
        }
        changed(part);
    }

    @Override
    public void lost(final TierKind tier) {
        records.lost(tier);
        lossCursor = 0;
        lossEnd = records.end();
    }

    /** Looks at some of the parts that may have had something in a tier that lost everything. */
    private int loseSome() {
        final int from = lossCursor;
        for (; lossCursor < lossEnd && lossCursor - from < LOSING_AT_ONCE; lossCursor++) {
            if (records.isPart(lossCursor) && records.lose(lossCursor)) {
                changed(lossCursor);
            }
        }
        return lossCursor - from;
    }

    private void changed(final int part) {
        if (directory == null) {
            if (records.members(part) == 0) {
                records.remove(part);
            }
            return;
        }
        if (isToBeQueued(part) && records.members(part) > 0) {
            return;
        }
        records.set(part, DirectoryRecords.CONFIRMED, false);
        if (!records.is(part, DirectoryRecords.QUEUED) && !records.is(part, DirectoryRecords.IN_FLIGHT)) {
            if (fresh.isEmpty()) {
                freshSinceNs = clock.nanoTime();
            }
            records.set(part, DirectoryRecords.QUEUED, true);
            fresh.add(part);
        }
    }

    /** It was here when the directory was joined, which was not told of it since. */
    private boolean isToBeQueued(final int part) {
        return part >= joinCursor && part < joinEnd && !records.isOfThisJoin(part);
    }

    // ---- what the cluster says

    /**
     * The directory that holds now; null while there is none. Everything is announced anew, what is named here first, at a
     * bounded rate.
     *
     * @param hottestFirst chunks as {@link ChunkName#hash} names them; may leave some out
     */
    public void joined(final Directory directory, final long[] hottestFirst) {
        this.directory = directory;
        joins++;
        records.joined();
        inFlight.forEach(update -> update.ended[0] = true);
        inFlight.clear();
        fresh.clear();
        backlog.clear();
        withdrawn.clear();
        joinCursor = 0;
        joinEnd = directory == null ? 0 : records.end();
        if (directory == null) {
            return;
        }
        for (final long chunk : hottestFirst) {
            final int member = records.member(chunk);
            if (member != DirectoryRecords.NONE) {
                enqueue(records.partOf(member));
            }
        }
        tokensAtNs = clock.nanoTime();
        backlogTokens = 0;
        pausedUntilNs = tokensAtNs;
    }

    /** Queues what was here when the directory was joined, when nothing is queued before it. */
    private void enqueueSome() {
        for (int looked = 0; backlog.isEmpty() && joinCursor < joinEnd && looked < QUEUED_AT_ONCE; looked++) {
            final int part = joinCursor;
            if (!records.isPart(part) || !isToBeQueued(part)) {
                joinCursor++;
            } else if (records.members(part) == 0) {
                joinCursor++;
                records.remove(part);
            } else {
                enqueue(part);
                joinCursor++;
            }
        }
    }

    private void enqueue(final int part) {
        if (!records.is(part, DirectoryRecords.QUEUED)) {
            records.set(part, DirectoryRecords.QUEUED, true);
            backlog.add(part);
        }
    }

    /**
     * Somebody found these records of this node in the directory: what is not so is put right.
     *
     * @param sequences the one that each record carries
     */
    public void audited(final long[] keys, final long[] sequences) {
        for (int i = 0; i < keys.length; i++) {
            final int part = records.find(keys[i]);
            if (part == DirectoryRecords.NONE) {
                counters.staleFound.increment();
                withdrawn.add(keys[i]);
            } else if (isIdle(part) && records.sequence(part) != sequences[i]) {
                counters.staleFound.increment();
                changed(part);
            }
        }
    }

    /** Nothing of it is on its way or waits for that. */
    private boolean isIdle(final int part) {
        return !isToBeQueued(part)
                && !records.is(part, DirectoryRecords.QUEUED)
                && !records.is(part, DirectoryRecords.IN_FLIGHT);
    }

    // ---- the duty cycle

    public int doWork() {
        int work = loseSome();
        if (directory == null) {
            return work;
        }
        final long nowNs = clock.nanoTime();
        expire(nowNs);
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
        final IntArrayList batch = new IntArrayList();
        final Map<Long, byte[]> updates = new HashMap<>();
        if (fresh.size() >= BATCH || (!fresh.isEmpty() && nowNs - freshSinceNs >= limits.coalesceNs)) {
            while (batch.size() < BATCH && !fresh.isEmpty()) {
                take(fresh.poll(), batch, updates);
            }
            freshSinceNs = nowNs;
        }
        enqueueSome();
        while (batch.size() < BATCH && !backlog.isEmpty() && backlogTokens > 0) {
            final int part = backlog.poll();
            backlogTokens -= records.members(part);
            take(part, batch, updates);
            enqueueSome();
        }
        while (updates.size() < BATCH && !withdrawn.isEmpty()) {
            final long key = withdrawn.poll();
            if (records.find(key) == DirectoryRecords.NONE) {
                updates.put(key, Entry.nothing(holder, ++sequence));
            }
        }
        if (updates.isEmpty()) {
            return false;
        }
        final InFlight update = new InFlight(batch, nowNs + limits.updateDeadlineNs, new boolean[1]);
        inFlight.add(update);
        counters.updates.add(updates.size());
        directory.update(updates, done -> owner.execute(() -> ended(update, done)));
        return true;
    }

    private void take(final int part, final IntArrayList batch, final Map<Long, byte[]> updates) {
        records.set(part, DirectoryRecords.QUEUED, false);
        records.set(part, DirectoryRecords.IN_FLIGHT, true);
        records.set(part, DirectoryRecords.CONFIRMED, true);
        records.sequence(part, ++sequence);
        batch.addInt(part);
        updates.put(records.key(part), records.encode(part, holder));
        counters.announcedChunks.add(records.members(part));
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
        for (int i = 0; i < update.parts.size(); i++) {
            final int part = update.parts.getInt(i);
            records.set(part, DirectoryRecords.IN_FLIGHT, false);
            if (!done || !records.is(part, DirectoryRecords.CONFIRMED)) {
                changed(part);
            } else if (records.members(part) == 0) {
                records.remove(part);
            }
        }
    }

    // ---- anti-entropy, this node's half: is what it holds in the directory?

    private void audit(final long nowNs) {
        if (nowNs - auditAtNs < 0 || !backlog.isEmpty() || joinCursor < joinEnd) {
            return;
        }
        auditAtNs = nowNs + limits.auditIntervalNs;
        final long[] keys = toAudit();
        if (keys.length == 0) {
            return;
        }
        final int asked = joins;
        directory.read(
                keys,
                entries -> owner.execute(() -> {
                    if (joins == asked && entries != null) {
                        compare(keys, entries);
                    }
                }));
    }

    /** The next few parts, going round. */
    private long[] toAudit() {
        final long[] keys = new long[AUDITED_AT_ONCE];
        int count = 0;
        if (auditCursor >= records.end()) {
            auditCursor = 0;
        }
        for (int looked = 0;
                looked < QUEUED_AT_ONCE && count < keys.length && auditCursor < records.end();
                looked++, auditCursor++) {
            if (records.isPart(auditCursor)) {
                keys[count++] = records.key(auditCursor);
            }
        }
        return Arrays.copyOf(keys, count);
    }

    private void compare(final long[] keys, final Map<Long, byte[]> entries) {
        for (final long key : keys) {
            final int part = records.find(key);
            if (part == DirectoryRecords.NONE || !isIdle(part) || records.members(part) == 0) {
                continue;
            }
            boolean there = false;
            final byte[] entry = entries.get(key);
            if (entry != null) {
                for (final Entry.Reader each = new Entry.Reader(entry); each.next(); ) {
                    there |= each.holder() == holder && each.sequence() == records.sequence(part);
                }
            }
            counters.audited.increment();
            if (!there) {
                counters.missingFound.increment();
                changed(part);
            }
        }
    }

    /** The entry to which a chunk that this node holds belongs; 0 when it holds none such. */
    public long entryOf(final long chunk) {
        final int member = records.member(chunk);
        return member == DirectoryRecords.NONE ? 0 : records.key(records.partOf(member));
    }

    // ---- what there is

    public int chunks() {
        return records.chunks();
    }

    /** Namespaces of which something is kept. */
    int namespaces() {
        return records.namespaces();
    }

    public int entries() {
        return records.size();
    }

    /** Entries that wait to be announced or are on their way. */
    public int waiting() {
        int sent = 0;
        for (final InFlight update : inFlight) {
            sent += update.parts.size();
        }
        return fresh.size() + backlog.size() + withdrawn.size() + sent + joinEnd - joinCursor;
    }
}
