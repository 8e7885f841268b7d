package io.kvasir.node.cluster.directory;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.kvasir.storage.object.Hash256;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.agrona.concurrent.CachedNanoClock;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class LocatorTest {
    private static final long DEADLINE_NS = TimeUnit.SECONDS.toNanos(1);
    private static final long SHORT_NS = DEADLINE_NS / 50;

    /** Answers when a test says so. */
    private static final class SlowDirectory implements Directory {
        final Queue<Consumer<Map<Long, byte[]>>> asked = new ArrayDeque<>();
        final Queue<Consumer<Map<Long, byte[]>>> copiesAsked = new ArrayDeque<>();

        @Override
        public void read(final long[] keys, final Consumer<Map<Long, byte[]>> answer) {
            asked.add(answer);
        }

        @Override
        public void readCopies(final long[] keys, final Consumer<Map<Long, byte[]>> answer) {
            copiesAsked.add(answer);
        }

        @Override
        public void update(final Map<Long, byte[]> records, final Consumer<Boolean> done) {
            done.accept(false);
        }

        void answerAll() {
            while (!asked.isEmpty()) {
                asked.poll().accept(Map.of());
            }
        }
    }

    private final CachedNanoClock clock = new CachedNanoClock();
    private final SlowDirectory directory = new SlowDirectory();
    private final DirectoryCounters counters = new DirectoryCounters();
    private final Locator locator = new Locator(clock, Runnable::run, holder -> true, DEADLINE_NS, counters);
    /** One for each question that has ended: whether it was answered. */
    private final List<Boolean> ended = new ArrayList<>();

    @BeforeEach
    void begin() {
        clock.update(1);
    }

    private int found;

    private void ask() {
        locator.locate(directory, Hash256.ZERO, new byte[Hash256.BYTES], 0, false, new Locator.Answer() {
            @Override
            public void found(final int chunk, final long holder, final Entry.Reader record, final int member) {
                found++;
            }

            @Override
            public void done(final boolean complete) {
                ended.add(complete);
            }
        });
    }

    private void pass(final long ns) {
        clock.advance(ns);
        locator.doWork();
    }

    @Test
    void anAnswerWithinTheDeadlineCounts() {
        ask();
        pass(DEADLINE_NS - 1);
        directory.answerAll();
        assertEquals(List.of(true), ended);
    }

    @Test
    void aQuestionEndsAtItsDeadline() {
        ask();
        pass(DEADLINE_NS);
        assertEquals(List.of(false), ended);
        directory.answerAll();
        assertEquals(List.of(false), ended);
    }

    @Test
    void aDirectoryThatDidNotAnswerIsWaitedForOnlyBriefly() {
        ask();
        pass(DEADLINE_NS);
        ask();
        pass(SHORT_NS);
        assertEquals(List.of(false, false), ended);
    }

    @Test
    void aLateAnswerMakesPatientAgain() {
        ask();
        pass(DEADLINE_NS);
        directory.answerAll();
        ask();
        pass(SHORT_NS);
        directory.answerAll();
        assertEquals(List.of(false, true), ended);
    }

    @Test
    void aNodeThatLeavesGivesQuestionsUnderWayTheWholeDeadlineAnew() {
        ask();
        pass(DEADLINE_NS - 1);
        locator.membersLeft();
        pass(DEADLINE_NS - 1);
        directory.answerAll();
        assertEquals(List.of(true), ended);
    }

    @Test
    void aDirectoryThatIsSilentAfterANodeLeftIsWaitedFor() {
        ask();
        pass(DEADLINE_NS);
        locator.membersLeft();
        ask();
        pass(DEADLINE_NS - 1);
        directory.asked.poll();
        directory.answerAll();
        assertEquals(List.of(false, true), ended);
    }

    private static Map<Long, byte[]> entry() {
        final long chunk = ChunkName.hash(Hash256.ZERO, Hash256.ZERO);
        final Entry.Part part = new Entry.Part(7, 1, new int[1], new long[1], 1);
        part.add(ChunkName.tag(chunk), 1, 0);
        return Map.of(chunk, part.finish());
    }

    @Test
    void anAnswerThatComesSoonIsTheOnlyOneAskedFor() {
        ask();
        pass(Locator.COPIES_NS - 1);
        directory.answerAll();
        pass(DEADLINE_NS);
        assertEquals(0, directory.copiesAsked.size());
    }

    @Test
    void aCopyAnswersForANodeThatDoesNot() {
        ask();
        pass(Locator.COPIES_NS);
        directory.copiesAsked.remove().accept(entry());
        assertEquals(1, found);
        assertEquals(List.of(true), ended);
    }

    @Test
    void aCopyThatCannotTellIsNoAnswer() {
        ask();
        pass(Locator.COPIES_NS);
        directory.copiesAsked.remove().accept(Map.of());
        assertEquals(List.of(), ended);
        directory.answerAll();
        assertEquals(List.of(true), ended);
    }

    @Test
    void aCopyThatSaysThatThereIsNoneIsAnAnswer() {
        ask();
        pass(Locator.COPIES_NS);
        directory.copiesAsked.remove().accept(Map.of(ChunkName.hash(Hash256.ZERO, Hash256.ZERO), new byte[0]));
        assertEquals(0, found);
        assertEquals(List.of(true), ended);
    }

    @Test
    void aReadThatIsRefusedIsOneOfCopiesAtOnce() {
        ask();
        directory.asked.remove().accept(null);
        directory.copiesAsked.remove().accept(entry());
        assertEquals(List.of(true), ended);
    }

    @Test
    void aQuestionThatNobodyTakesEndsAtOnce() {
        ask();
        directory.asked.remove().accept(null);
        directory.copiesAsked.remove().accept(null);
        assertEquals(List.of(false), ended);
    }

    @Test
    void aDirectoryThatDidNotAnswerIsAskedForCopiesAtOnce() {
        ask();
        pass(DEADLINE_NS);
        directory.copiesAsked.clear();
        ask();
        directory.copiesAsked.remove().accept(entry());
        assertEquals(List.of(false, true), ended);
    }

    /** Both nodes of an entry answer to a read that is late. */
    private void answerTwice(final Map<Long, byte[]> first, final Map<Long, byte[]> second) {
        // Two entries: the first answer has only one of them, so that the question stays open.
        final byte[] keys = new byte[(Entry.CHUNKS + 1) * Hash256.BYTES];
        for (int i = 0; i <= Entry.CHUNKS; i++) {
            keys[i * Hash256.BYTES] = (byte) i;
        }
        locator.locate(directory, Hash256.ZERO, keys, 0, false, new Locator.Answer() {
            @Override
            public void found(final int chunk, final long holder, final Entry.Reader record, final int member) {
                told.add(holder);
            }

            @Override
            public void done(final boolean complete) {
                ended.add(complete);
            }
        });
        pass(Locator.COPIES_NS);
        directory.copiesAsked.remove().accept(first);
        directory.asked.remove().accept(second);
    }

    private final List<Long> told = new ArrayList<>();

    private static byte[] record(final long holder, final long sequence) {
        final Entry.Part part = new Entry.Part(holder, sequence, new int[1], new long[1], 1);
        part.add(ChunkName.tag(ChunkName.hash(Hash256.ZERO, Hash256.ZERO)), 1, 0);
        return part.finish();
    }

    @Test
    void aChunkThatTwoNodesTellOfIsFoundOnce() {
        answerTwice(entry(), entry());
        assertEquals(List.of(7L), told);
        assertEquals(1, counters.foundChunks.sum());
    }

    @Test
    void aHolderThatOnlyTheSecondNodeKnowsOfIsFoundToo() {
        final long chunk = ChunkName.hash(Hash256.ZERO, Hash256.ZERO);
        answerTwice(Map.of(chunk, record(7, 1)), Map.of(chunk, Entry.merge(record(7, 2), record(8, 1))));
        assertEquals(List.of(7L, 8L), told);
    }
}
