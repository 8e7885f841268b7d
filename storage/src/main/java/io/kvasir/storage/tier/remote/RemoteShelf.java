package io.kvasir.storage.tier.remote;

import io.kvasir.storage.budget.StoreLimits;
import io.kvasir.storage.index.ObjectTable;
import io.kvasir.storage.lookup.Waiters;
import io.kvasir.storage.metrics.StorageCounters;
import io.kvasir.storage.move.Move;
import io.kvasir.storage.move.MoveKind;
import io.kvasir.storage.move.MovePriority;
import io.kvasir.storage.move.Mover;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.TierKind;
import io.kvasir.storage.tenant.Tenant;
import io.kvasir.storage.tier.ObjectRef;
import io.kvasir.storage.tier.Question;
import io.kvasir.storage.tier.Tier;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.agrona.concurrent.NanoClock;

/**
 * What lookups know of other nodes' objects: what was asked, found, not found, and what is on its way. Remembers all of
 * that briefly, so that a miss is cheap and a chain is asked for once. Owned by the store's thread.
 */
public final class RemoteShelf implements Tier {
    /** What a pull waits for its turn at most; a lookup that knows less time than that waits less. */
    private static final long PULL_NS = TimeUnit.SECONDS.toNanos(10);
    /** Old answers that are forgotten for one lookup, beyond as many as it asks for. */
    private static final int FORGOTTEN_AT_ONCE = 256;

    private final Mover mover;
    private final RemoteTier remote;
    private final Waiters waiters;
    private final StorageCounters counters;
    private final NanoClock clock;
    private final ReplicaRecords records;
    /** Have started, and are asked for together. */
    private final Map<Tenant, List<Pull>> batch = new LinkedHashMap<>();

    private int nextWait = Waiters.FIRST_EVENT;

    public RemoteShelf(
            final ObjectTable table,
            final Mover mover,
            final RemoteTier remote,
            final Waiters waiters,
            final NanoClock clock,
            final StorageCounters counters) {
        records = new ReplicaRecords(table, StoreLimits.REMEMBERED);
        this.mover = mover;
        this.clock = clock;
        this.remote = remote;
        this.waiters = waiters;
        this.counters = counters;
    }

    @Override
    public TierKind kind() {
        return TierKind.REMOTE;
    }

    @Override
    public boolean isAsked() {
        return remote.isOpen();
    }

    // ---- what lookups ask

    @Override
    public Answer answer(final ObjectRef object, final long nowNs) {
        final int record = records.find(object.object());
        if (record == ReplicaRecords.NONE) {
            if (!isAsked()) {
                return Answer.ABSENT;
            }
            if (!records.hasSpace()) {
                records.forget(nowNs, FORGOTTEN_AT_ONCE);
            }
            // Whoever asks for more than can be known gets a miss, until earlier answers have been forgotten.
            return records.hasSpace() ? Answer.UNKNOWN : Answer.ABSENT;
        }
        if (!records.counts(record, nowNs)) {
            return isAsked() ? Answer.UNKNOWN : Answer.ABSENT;
        }
        return switch (records.state(record)) {
            case ReplicaRecords.ASKED -> Answer.ASKED;
            case ReplicaRecords.PULLED, ReplicaRecords.FOUND -> Answer.PRESENT;
            default -> Answer.ABSENT;
        };
    }

    private RemoteTier.Copies copies(final ObjectRef object) {
        final int record = records.find(object.object());
        return record == ReplicaRecords.NONE ? null : records.copies(record);
    }

    @Override
    public long bytes(final ObjectRef object) {
        final RemoteTier.Copies copies = copies(object);
        return copies == null ? 0 : copies.bytes();
    }

    @Override
    public int waitFor(final ObjectRef object) {
        final int record = records.find(object.object());
        return record != ReplicaRecords.NONE && records.isUnderWay(record) ? records.wait(record) : 0;
    }

    @Override
    public long busyNs() {
        return 0;
    }

    /** Until its bytes are here; 0 while that is not known. */
    @Override
    public long latencyNs(final ObjectRef object) {
        final RemoteTier.Copies copies = copies(object);
        return copies == null ? 0 : remote.expectedNs(copies);
    }

    /** Pulls of one lookup come from several nodes side by side. */
    @Override
    public long transferNs(final ObjectRef object) {
        return 0;
    }

    /** Asks who has the first {@link StoreLimits#ASKED_AT_ONCE} of those. */
    @Override
    public void ask(final Question question, final int chunks, final long nowNs) {
        final int shards = question.shards().size();
        final int first = isAsked() ? firstUnknown(question, chunks * shards, nowNs) : -1;
        if (first < 0) {
            return;
        }
        final int wait = nextWait();
        final int from = first / shards;
        final int end = Math.min(question.chunks(), from + Math.max(1, StoreLimits.ASKED_AT_ONCE / shards));
        final int[] asked = new int[(end - from) * shards];
        records.forget(nowNs, asked.length + FORGOTTEN_AT_ONCE);
        for (int i = 0; i < asked.length; i++) {
            asked[i] = ask(question, from * shards + i, wait, nowNs);
        }
        counters.remoteAsked.increment();
        final byte[] keys = question.keys();
        remote.locate(
                question.namespace(),
                end * Hash256.BYTES == keys.length ? keys : Arrays.copyOf(keys, end * Hash256.BYTES),
                from,
                question.shards(),
                question.sparse(),
                new Located(asked, shards, from, wait));
    }

    /** The record of this cell when it is asked for now, else {@link ReplicaRecords#NONE}. */
    private int ask(final Question question, final int cell, final int wait, final long nowNs) {
        final int object = isUnknown(question, cell, nowNs) ? question.at(cell).enter() : ObjectTable.NONE;
        final int known = records.find(object);
        // A call may name a key twice.
        return object < 0 || (known != ReplicaRecords.NONE && records.counts(known, nowNs))
                ? ReplicaRecords.NONE
                : records.ask(object, wait);
    }

    private int firstUnknown(final Question question, final int cells, final long nowNs) {
        for (int i = 0; i < cells; i++) {
            if (isUnknown(question, i, nowNs)) {
                return i;
            }
        }
        return -1;
    }

    private boolean isUnknown(final Question question, final int cell, final long nowNs) {
        return question.isOn(TierKind.REMOTE, cell) && answer(question.at(cell), nowNs) == Answer.UNKNOWN;
    }

    private final class Located implements RemoteTier.Finding {
        /** Records from the first chunk on; {@link ReplicaRecords#NONE} for what was not asked here. */
        private final int[] asked;

        private final int shards;
        private final int from;
        private final int wait;
        private boolean over;

        Located(final int[] asked, final int shards, final int from, final int wait) {
            this.asked = asked;
            this.shards = shards;
            this.from = from;
            this.wait = wait;
        }

        @Override
        public void found(final int chunk, final int shard, final RemoteTier.Copies copies) {
            final int i = (chunk - from) * shards + shard;
            if (!over && i >= 0 && asked[i] != ReplicaRecords.NONE) {
                records.copies(asked[i], copies);
            }
        }

        @Override
        public void done(final boolean complete) {
            if (over) {
                return;
            }
            over = true;
            final long nowNs = clock.nanoTime();
            for (final int record : asked) {
                if (record != ReplicaRecords.NONE) {
                    records.answered(
                            record,
                            records.copies(record) != null
                                    ? ReplicaRecords.Answer.FOUND
                                    : complete ? ReplicaRecords.Answer.ABSENT : ReplicaRecords.Answer.UNKNOWN,
                            nowNs);
                }
            }
            waiters.settled(wait);
        }
    }

    // ---- pulls

    /** Waits until {@link #flush}, so that what comes from one node is asked for together. */
    @Override
    public int fetch(final Tenant tenant, final ObjectRef object, final long worthNs, final long nowNs) {
        final int record = records.find(object.object());
        if (record == ReplicaRecords.NONE || records.state(record) != ReplicaRecords.FOUND) {
            return UNDER_WAY;
        }
        final RemoteTier.Copies copies = records.copies(record);
        final long bytes = copies.bytes();
        if (!mover.takes(MoveKind.PULL, MovePriority.LOAD, bytes)) {
            return LATER;
        }
        records.pull(record, nextWait());
        mover.submit(new Pull(tenant, record, object.id(), copies, bytes, worthNs), nowNs + Math.min(worthNs, PULL_NS));
        return UNDER_WAY;
    }

    @Override
    public void flush(final Tenant tenant) {
        final List<Pull> objects = batch.remove(tenant);
        if (objects != null) {
            remote.pull(tenant, objects);
        }
    }

    /** Asks for what has started since, as others ended; called every duty cycle. */
    public int doWork() {
        final List<Tenant> tenants = List.copyOf(batch.keySet());
        tenants.forEach(this::flush);
        return tenants.size();
    }

    private final class Pull extends Move implements RemoteTier.Wanted {
        private final Tenant tenant;
        private final int record;
        private final ObjectId id;
        private final RemoteTier.Copies copies;
        private final long worthNs;
        private final long startedNs = clock.nanoTime();
        private boolean over;

        Pull(
                final Tenant tenant,
                final int record,
                final ObjectId id,
                final RemoteTier.Copies copies,
                final long bytes,
                final long worthNs) {
            super(MoveKind.PULL, MovePriority.LOAD, bytes);
            this.tenant = tenant;
            this.record = record;
            this.id = id;
            this.copies = copies;
            this.worthNs = worthNs;
        }

        @Override
        public ObjectId id() {
            return id;
        }

        @Override
        public RemoteTier.Copies copies() {
            return copies;
        }

        @Override
        protected void start() {
            batch.computeIfAbsent(tenant, ignored -> new ArrayList<>()).add(this);
        }

        @Override
        protected void dropped() {
            settle(false);
        }

        @Override
        public void ended(final boolean here) {
            if (!over) {
                over = true;
                mover.ended(this);
                settle(here);
            }
        }

        private void settle(final boolean here) {
            (here ? counters.pulled : counters.pullsFailed).increment();
            if (here) {
                counters.pulledBytes.add(bytes());
            }
            final long tookNs = clock.nanoTime() - startedNs;
            counters.pullNanos.accept(tookNs);
            if (worthNs != Long.MAX_VALUE) {
                counters.pullRegretNanos.accept(Math.max(0, tookNs - worthNs));
            }
            final int wait = records.wait(record);
            if (here) {
                records.arrived(record);
            } else {
                records.answered(record, ReplicaRecords.Answer.UNKNOWN, clock.nanoTime());
            }
            waiters.settled(wait);
        }
    }

    private int nextWait() {
        nextWait = nextWait == Integer.MIN_VALUE ? Waiters.FIRST_EVENT : nextWait - 1;
        return nextWait;
    }
}
