package io.kvasir.node.cluster.directory;

import io.kvasir.storage.object.Hash256;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import java.util.function.LongPredicate;
import java.util.stream.LongStream;
import org.agrona.collections.Int2IntHashMap;
import org.agrona.collections.Long2ObjectHashMap;
import org.agrona.collections.LongHashSet;
import org.agrona.concurrent.NanoClock;

/**
 * Asks the directory who holds the chunks of a chain: for 512 chunks it reads 16 entries, and where a chain turns out to
 * have an entry that begins elsewhere, that one too. What a node does not answer soon is read from another copy as well: that node
 * may be dying. Owned by the store's thread; each question ends within its deadline
 * with what is known by then.
 */
public final class Locator {
    /** Hears the answer of one question. */
    public interface Answer {
        /**
         * A live holder has some of a chunk's shards, by one entry. Comes once for an entry's chunk and holder, also when
         * both of the nodes that have the entry answer.
         */
        void found(int chunk, long holder, Entry.Reader record, int member);

        /**
         * Nothing more comes.
         *
         * @param complete false: what was not found may be there all the same
         */
        void done(boolean complete);
    }

    /** Reads of one question, one after the other. */
    private static final int ROUNDS = 6;
    /** Entries in one read. */
    private static final int KEYS = 4096;

    /** Copies are read after so long: many times what an answer takes, and little of what an engine waits. */
    static final long COPIES_NS = TimeUnit.MILLISECONDS.toNanos(30);

    /** A directory that let one question go refused gets this part of the deadline until it answers again. */
    private static final int SILENT = 50;
    /**
     * A node that has just died makes the directory slow for a moment, and that is worth waiting for: for so long questions
     * have the whole deadline, and those under way have it anew.
     */
    private static final long PATIENCE_NS = TimeUnit.SECONDS.toNanos(5);

    private static final int NONE = -1;

    private final NanoClock clock;
    private final Executor owner;
    private final LongPredicate live;
    private final long deadlineNs;
    private final DirectoryCounters counters;
    private final List<Question> open = new ArrayList<>();
    private boolean silent;
    private long patientUntilNs;

    /** @param live which holders count; without this node itself */
    public Locator(
            final NanoClock clock,
            final Executor owner,
            final LongPredicate live,
            final long deadlineNs,
            final DirectoryCounters counters) {
        this.clock = clock;
        this.owner = owner;
        this.live = live;
        this.deadlineNs = deadlineNs;
        this.counters = counters;
        patientUntilNs = clock.nanoTime();
    }

    /** Nodes have left: their part of the directory is about to be somebody else's. */
    public void membersLeft() {
        final long nowNs = clock.nanoTime();
        patientUntilNs = nowNs + PATIENCE_NS;
        for (final Question question : open) {
            question.untilNs = nowNs + deadlineNs;
        }
    }

    private boolean isPatient() {
        return !silent || patientUntilNs - clock.nanoTime() > 0;
    }

    /**
     * @param keys n x 32 bytes, in the order of the chain
     * @param from the first that is wanted
     * @param sparse each is wanted on its own; else only what has no gap before it
     */
    public void locate(
            final Directory directory,
            final Hash256 namespace,
            final byte[] keys,
            final int from,
            final boolean sparse,
            final Answer answer) {
        final Question question = new Question(directory, namespace, keys, from, sparse, answer);
        counters.lookups.increment();
        counters.lookedUpChunks.add(question.hashes.length - from);
        open.add(question);
        question.ask();
    }

    /** Ends what is due. */
    public int doWork() {
        if (open.isEmpty()) {
            return 0;
        }
        final long nowNs = clock.nanoTime();
        int work = 0;
        for (int i = open.size() - 1; i >= 0; i--) {
            final Question question = open.get(i);
            if (nowNs - question.untilNs >= 0) {
                silent = true;
                question.giveUp();
                work++;
            } else if (!question.copiesAsked && nowNs - question.copiesAtNs >= 0) {
                question.askCopies();
                work++;
            }
        }
        return work;
    }

    public int open() {
        return open.size();
    }

    private final class Question {
        final Directory directory;
        final long[] hashes;
        final int from;
        final boolean sparse;
        final Answer answer;
        final long startedNs = clock.nanoTime();
        long untilNs = startedNs + (isPatient() ? deadlineNs : deadlineNs / SILENT);
        final Int2IntHashMap byTag = new Int2IntHashMap(NONE);
        final boolean[] found;
        final LongHashSet asked = new LongHashSet();
        /** Entries that have come: one that was read from two nodes comes twice. */
        final Long2ObjectHashMap<byte[]> taken = new Long2ObjectHashMap<>();
        /** Keys of this round that nobody has answered yet. */
        final LongHashSet waiting = new LongHashSet();

        int rounds;
        long copiesAtNs;
        boolean copiesAsked;
        /** A node was slow, or the directory lets questions go refused: copies are read at once. */
        boolean slow = silent;
        /** This round's read was refused. */
        boolean refused;

        boolean ended;

        Question(
                final Directory directory,
                final Hash256 namespace,
                final byte[] keys,
                final int from,
                final boolean sparse,
                final Answer answer) {
            this.directory = directory;
            this.from = from;
            this.sparse = sparse;
            this.answer = answer;
            hashes = new long[keys.length / Hash256.BYTES];
            found = new boolean[hashes.length];
            for (int i = 0; i < hashes.length; i++) {
                hashes[i] = ChunkName.hash(namespace, Hash256.read(keys, i * Hash256.BYTES));
                if (i >= from) {
                    byTag.putIfAbsent(ChunkName.tag(hashes[i]), i);
                }
            }
        }

        void ask() {
            final List<Long> keys = new ArrayList<>();
            if (rounds == 0) {
                for (int i = from / Entry.CHUNKS * Entry.CHUNKS; i < hashes.length; i += Entry.CHUNKS) {
                    want(keys, i);
                }
                want(keys, from);
            } else {
                fillGap(keys);
            }
            if (keys.isEmpty() || rounds == ROUNDS) {
                end(true);
                return;
            }
            final int round = ++rounds;
            final long[] wanted = keys.stream().mapToLong(Long::longValue).toArray();
            waiting.clear();
            waiting.addAll(keys);
            refused = false;
            copiesAsked = false;
            copiesAtNs = clock.nanoTime() + COPIES_NS;
            directory.read(wanted, entries -> owner.execute(() -> answered(round, wanted, entries)));
            if (slow && !ended && round == rounds) {
                askCopies();
            }
        }

        void askCopies() {
            copiesAsked = true;
            slow = true;
            counters.copyReads.increment();
            final int round = rounds;
            directory.readCopies(
                    waiting.stream().mapToLong(Long::longValue).toArray(),
                    entries -> owner.execute(() -> copied(round, entries)));
        }

        /**
         * The first chunk that was not found may lie in an entry that begins off the grid, with any chunk of its window:
         * those are asked for, and further windows with every round.
         */
        private void fillGap(final List<Long> keys) {
            int gap = from;
            while (gap < hashes.length && found[gap]) {
                gap++;
            }
            if (gap == hashes.length) {
                return;
            }
            int begin = gap / Entry.CHUNKS * Entry.CHUNKS;
            for (int windows = sparse ? KEYS : 1 << (rounds - 1); windows > 0 && begin < hashes.length; windows--) {
                for (int i = begin; i < Math.min(hashes.length, begin + Entry.CHUNKS); i++) {
                    want(keys, i);
                }
                if (keys.isEmpty() && !sparse) {
                    return;
                }
                begin += Entry.CHUNKS;
            }
        }

        private void want(final List<Long> keys, final int chunk) {
            if (keys.size() < KEYS && asked.add(hashes[chunk])) {
                keys.add(hashes[chunk]);
            }
        }

        private void answered(final int round, final long[] keys, final Map<Long, byte[]> entries) {
            if (entries != null) {
                take(round, LongStream.of(keys), entries);
            } else if (!ended && round == rounds) {
                refused = true;
                if (!copiesAsked) {
                    askCopies();
                }
            }
        }

        private void copied(final int round, final Map<Long, byte[]> entries) {
            if (entries != null) {
                take(round, entries.keySet().stream().mapToLong(Long::longValue), entries);
            } else if (refused && !ended && round == rounds) {
                giveUp();
            }
        }

        private void take(final int round, final LongStream told, final Map<Long, byte[]> entries) {
            silent = false;
            if (ended) {
                return;
            }
            entries.forEach((key, entry) -> {
                final byte[] earlier = taken.put((long) key, entry);
                for (final Entry.Reader each = new Entry.Reader(entry); each.next(); ) {
                    if (live.test(each.holder())) {
                        members(each, earlier);
                    }
                }
            });
            if (round == rounds) {
                told.forEach(waiting::remove);
                if (waiting.isEmpty()) {
                    ask();
                }
            }
        }

        private void members(final Entry.Reader record, final byte[] earlier) {
            for (int member = 0; member < record.members(); member++) {
                final int chunk = byTag.get(record.tag(member));
                if (chunk != NONE && !Entry.has(earlier, record.holder(), record.tag(member))) {
                    if (!found[chunk]) {
                        found[chunk] = true;
                        counters.foundChunks.increment();
                    }
                    answer.found(chunk, record.holder(), record, member);
                }
            }
        }

        void giveUp() {
            counters.lateLookups.increment();
            end(false);
        }

        private void end(final boolean all) {
            if (!ended) {
                ended = true;
                open.remove(this);
                counters.lookupNanos.accept(clock.nanoTime() - startedNs);
                answer.done(all);
            }
        }
    }
}
