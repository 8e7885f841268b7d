package io.kvasir.storage.tier.remote;

import io.kvasir.storage.index.ObjectTable;
import io.kvasir.storage.object.TierKind;
import io.kvasir.storage.policy.EntryLists;
import java.util.concurrent.TimeUnit;

/**
 * What is known of other nodes' replicas: a record for each object that somebody asked for, found through the object's
 * entry in the {@link ObjectTable}, which it keeps there. At most {@link #capacity}; answers are forgotten in the order in
 * which they end, a bounded number at a time. Owned by {@link RemoteShelf}.
 */
final class ReplicaRecords {
    /** No record. */
    static final int NONE = -1;

    /** Nobody has it, as far as anybody knows. */
    static final byte ABSENT = 1;
    /** Who has it is being asked. */
    static final byte ASKED = 2;
    /** Another node has it. */
    static final byte FOUND = 3;
    /** It is on its way. */
    static final byte PULLED = 4;

    private static final byte FREE = 0;

    /** How long an answer counts, by the list in which it waits for its end. */
    enum Answer {
        /** The directory said that nobody has it. */
        ABSENT(0, TimeUnit.MILLISECONDS.toNanos(300)),
        /** The directory did not answer, or a pull failed. */
        UNKNOWN(1, TimeUnit.MILLISECONDS.toNanos(50)),
        FOUND(2, TimeUnit.SECONDS.toNanos(2));

        private final int list;
        private final long countsNs;

        Answer(final int list, final long countsNs) {
            this.list = list;
            this.countsNs = countsNs;
        }
    }

    private static final Answer[] ANSWERS = Answer.values();

    private final ObjectTable table;
    private final int[] objects;
    private final byte[] states;
    private final int[] waits;
    private final long[] untilNs;
    private final RemoteTier.Copies[] copies;
    private final int[] free;
    private int freeCount;
    private int used;
    /** Answers, a queue for each kind, the one that ends first in front. */
    private final EntryLists answers = new EntryLists(ANSWERS.length);

    ReplicaRecords(final ObjectTable table, final int capacity) {
        this.table = table;
        objects = new int[capacity];
        states = new byte[capacity];
        waits = new int[capacity];
        untilNs = new long[capacity];
        copies = new RemoteTier.Copies[capacity];
        free = new int[capacity];
    }

    int capacity() {
        return states.length;
    }

    /** Objects of which something is known. */
    int size() {
        return used - freeCount;
    }

    /**
     * Whether something can be kept of one object more. Namespaces are counted too: what is stored here needs those that
     * are left.
     */
    boolean hasSpace() {
        return size() < capacity()
                && table.size() < table.capacity()
                && table.scopes() < (table.scopeCapacity() + 1) / 2;
    }

    /** The record of the object that has this entry in the table, or {@link #NONE}. */
    int find(final int object) {
        return object >= 0 && table.isIn(object, TierKind.REMOTE) ? table.replicas(object) : NONE;
    }

    byte state(final int record) {
        return states[record];
    }

    /** Asked for or pulled, and there is no answer yet. */
    boolean isUnderWay(final int record) {
        return states[record] == ASKED || states[record] == PULLED;
    }

    /** False: the answer is too old to count. */
    boolean counts(final int record, final long nowNs) {
        return isUnderWay(record) || nowNs - untilNs[record] < 0;
    }

    /** What settles when it is no longer asked for, or on its way. */
    int wait(final int record) {
        return waits[record];
    }

    /** Of FOUND and PULLED; null for the others, but an answer may have begun to come for one that is ASKED. */
    RemoteTier.Copies copies(final int record) {
        return copies[record];
    }

    /** Object that is being asked for: the record it has, or a new one while {@link #hasSpace}. */
    int ask(final int object, final int wait) {
        int record = find(object);
        if (record == NONE) {
            record = freeCount > 0 ? free[--freeCount] : used++;
            objects[record] = object;
            table.in(object, TierKind.REMOTE, true);
            table.replicas(object, record);
        } else {
            assert !isUnderWay(record) : "what is under way is not asked for";
            answers.remove(record);
        }
        states[record] = ASKED;
        waits[record] = wait;
        copies[record] = null;
        return record;
    }

    void copies(final int record, final RemoteTier.Copies found) {
        copies[record] = found;
    }

    /** What was asked for or pulled is answered: FOUND needs {@link #copies}. */
    void answered(final int record, final Answer answer, final long nowNs) {
        assert isUnderWay(record) : "nobody waits for this answer";
        states[record] = answer == Answer.FOUND ? FOUND : ABSENT;
        if (answer != Answer.FOUND) {
            copies[record] = null;
        }
        untilNs[record] = nowNs + answer.countsNs;
        answers.append(record, answer.list);
    }

    /** What was found begins to come. */
    void pull(final int record, final int wait) {
        assert states[record] == FOUND : "only what was found can be pulled";
        answers.remove(record);
        states[record] = PULLED;
        waits[record] = wait;
    }

    /** What was pulled is here. */
    void arrived(final int record) {
        assert states[record] == PULLED : "only what is pulled can arrive";
        drop(record);
    }

    /** Forgets up to {@code most} answers that count no longer. */
    void forget(final long nowNs, final int most) {
        int left = most;
        for (final Answer answer : ANSWERS) {
            int oldest = answers.first(answer.list);
            for (; oldest != NONE && left > 0 && !counts(oldest, nowNs); left--) {
                answers.remove(oldest);
                drop(oldest);
                oldest = answers.first(answer.list);
            }
        }
    }

    private void drop(final int record) {
        states[record] = FREE;
        copies[record] = null;
        free[freeCount++] = record;
        table.leave(objects[record], TierKind.REMOTE);
    }
}
