package io.kvasir.storage.tier.remote;

import io.kvasir.storage.budget.StoreLimits;
import io.kvasir.storage.lookup.Waiters;
import io.kvasir.storage.metrics.StorageCounters;
import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.ObjectId;
import io.kvasir.storage.object.TierKind;
import io.kvasir.storage.tenant.Tenant;
import io.kvasir.storage.tier.ObjectRef;
import io.kvasir.storage.tier.Question;
import io.kvasir.storage.tier.Tier;
import io.kvasir.storage.tier.dram.DramTier;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.agrona.collections.Long2ObjectHashMap;
import org.agrona.concurrent.NanoClock;

/**
 * What lookups know of other nodes' objects: what was asked, found, not found, and what is on its way. Remembers all of
 * that briefly, so that a miss is cheap and a chain is asked for once. Owned by the store's thread.
 */
public final class RemoteShelf implements Tier {
    /** An answer "nobody has it" counts for so long; a lookup meanwhile is a miss at once. */
    private static final long ABSENT_NS = TimeUnit.MILLISECONDS.toNanos(300);
    /** The same, where the directory did not answer, or a pull failed. */
    private static final long UNKNOWN_NS = TimeUnit.MILLISECONDS.toNanos(50);
    /** An answer "that node has it" counts for so long. */
    private static final long FOUND_NS = TimeUnit.SECONDS.toNanos(2);

    private static final int PULLS_IN_FLIGHT = 4096;

    private enum State {
        ASKED,
        ABSENT,
        FOUND,
        PULLED
    }

    private static final class Known {
        State state;
        /** Of ABSENT and FOUND. */
        long untilNs;
        /** What a waiter waits for while ASKED or PULLED. */
        int wait;

        RemoteTier.Copies copies;

        Known(final State state, final int wait) {
            this.state = state;
            this.wait = wait;
        }
    }

    private final DramTier dram;
    private final RemoteTier remote;
    private final Waiters waiters;
    private final StorageCounters counters;
    private final NanoClock clock;
    private final Long2ObjectHashMap<Known> known = new Long2ObjectHashMap<>();
    private final List<Pull> batch = new ArrayList<>();
    private int nextWait = Waiters.FIRST_EVENT;
    private int pulls;
    private long pulledBytes;
    private long forgotNs;

    public RemoteShelf(
            final DramTier dram,
            final RemoteTier remote,
            final Waiters waiters,
            final NanoClock clock,
            final StorageCounters counters) {
        this.dram = dram;
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
        final long hash = object.hash();
        final Known about = known.get(hash);
        if (about == null) {
            if (known.size() >= StoreLimits.REMEMBERED) {
                forgetSome(nowNs);
            }
            // Whoever asks for more than can be remembered gets a miss, until earlier answers have been forgotten.
            return isAsked() && known.size() < StoreLimits.REMEMBERED ? Answer.UNKNOWN : Answer.ABSENT;
        }
        return switch (about.state) {
            case ASKED -> Answer.ASKED;
            case PULLED -> Answer.PRESENT;
            case FOUND, ABSENT -> {
                if (nowNs - about.untilNs >= 0) {
                    known.remove(hash);
                    yield isAsked() ? Answer.UNKNOWN : Answer.ABSENT;
                }
                yield about.state == State.FOUND ? Answer.PRESENT : Answer.ABSENT;
            }
        };
    }

    @Override
    public long bytes(final ObjectRef object) {
        final Known about = known.get(object.hash());
        return about == null || about.copies == null ? 0 : about.copies.bytes();
    }

    @Override
    public int waitFor(final ObjectRef object) {
        final Known about = known.get(object.hash());
        return about == null || (about.state != State.ASKED && about.state != State.PULLED) ? 0 : about.wait;
    }

    @Override
    public long busyNs() {
        return 0;
    }

    /** Until its bytes are here; 0 while that is not known. */
    @Override
    public long latencyNs(final ObjectRef object) {
        final Known about = known.get(object.hash());
        return about == null || about.copies == null ? 0 : remote.expectedNs(about.copies);
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
        forgetSome(nowNs);
        final int wait = nextWait();
        final int from = first / shards;
        final int end = Math.min(question.chunks(), from + Math.max(1, StoreLimits.ASKED_AT_ONCE / shards));
        final long[] asked = new long[end * shards];
        for (int i = from * shards; i < asked.length; i++) {
            asked[i] = question.at(i).hash();
            if (isUnknown(question, i, nowNs)) {
                known.put(asked[i], new Known(State.ASKED, wait));
            }
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
        private final long[] hashes;
        private final int shards;
        private final int from;
        private final int wait;

        Located(final long[] hashes, final int shards, final int from, final int wait) {
            this.hashes = hashes;
            this.shards = shards;
            this.from = from;
            this.wait = wait;
        }

        private boolean isMine(final Known about) {
            return about != null && about.state == State.ASKED && about.wait == wait;
        }

        @Override
        public void found(final int chunk, final int shard, final RemoteTier.Copies copies) {
            final Known about = known.get(hashes[chunk * shards + shard]);
            if (isMine(about)) {
                about.copies = copies;
            }
        }

        @Override
        public void done(final boolean complete) {
            final long nowNs = clock.nanoTime();
            for (int i = from * shards; i < hashes.length; i++) {
                final Known about = known.get(hashes[i]);
                if (!isMine(about)) {
                    continue;
                }
                if (about.copies != null) {
                    about.state = State.FOUND;
                    about.untilNs = nowNs + FOUND_NS;
                } else {
                    about.state = State.ABSENT;
                    about.untilNs = nowNs + (complete ? ABSENT_NS : UNKNOWN_NS);
                }
            }
            waiters.settled(wait);
        }
    }

    // ---- pulls

    /** Waits until {@link #flush}, so that what comes from one node is asked for together. */
    @Override
    public int fetch(final Tenant tenant, final ObjectRef object, final long worthNs, final long nowNs) {
        final Known about = known.get(object.hash());
        if (about == null || about.state != State.FOUND) {
            return UNDER_WAY;
        }
        final long bytes = about.copies.bytes();
        if (pulls >= PULLS_IN_FLIGHT || (pulls > 0 && pulledBytes + bytes > dram.capacity() / 4)) {
            return LATER;
        }
        about.state = State.PULLED;
        about.wait = nextWait();
        pulls++;
        pulledBytes += bytes;
        batch.add(new Pull(object.hash(), object.id(), about.copies, bytes, worthNs));
        return UNDER_WAY;
    }

    @Override
    public void flush(final Tenant tenant) {
        if (!batch.isEmpty()) {
            final List<Pull> objects = List.copyOf(batch);
            batch.clear();
            remote.pull(tenant, objects);
        }
    }

    private final class Pull implements RemoteTier.Wanted {
        private final long hash;
        private final ObjectId id;
        private final RemoteTier.Copies copies;
        private final long bytes;
        private final long worthNs;
        private final long startedNs = clock.nanoTime();
        private boolean over;

        Pull(final long hash, final ObjectId id, final RemoteTier.Copies copies, final long bytes, final long worthNs) {
            this.hash = hash;
            this.id = id;
            this.copies = copies;
            this.bytes = bytes;
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
        public void ended(final boolean here) {
            if (over) {
                return;
            }
            over = true;
            pulls--;
            pulledBytes -= bytes;
            (here ? counters.pulled : counters.pullsFailed).increment();
            if (here) {
                counters.pulledBytes.add(bytes);
            }
            final long tookNs = clock.nanoTime() - startedNs;
            counters.pullNanos.accept(tookNs);
            if (worthNs != Long.MAX_VALUE) {
                counters.pullRegretNanos.accept(Math.max(0, tookNs - worthNs));
            }
            final Known about = known.get(hash);
            if (about != null && about.state == State.PULLED) {
                if (here) {
                    known.remove(hash);
                } else {
                    about.state = State.ABSENT;
                    about.untilNs = clock.nanoTime() + UNKNOWN_NS;
                }
                waiters.settled(about.wait);
            }
        }
    }

    private int nextWait() {
        nextWait = nextWait == Integer.MIN_VALUE ? Waiters.FIRST_EVENT : nextWait - 1;
        return nextWait;
    }

    private void forgetSome(final long nowNs) {
        if (known.size() > StoreLimits.REMEMBERED / 2 && nowNs - forgotNs >= UNKNOWN_NS) {
            forgotNs = nowNs;
            known.values()
                    .removeIf(about ->
                            (about.state == State.ABSENT || about.state == State.FOUND) && nowNs - about.untilNs >= 0);
        }
    }
}
