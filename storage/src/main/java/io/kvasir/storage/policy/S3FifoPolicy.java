package io.kvasir.storage.policy;

import java.util.Arrays;

/**
 * S3-FIFO (Yang et al., SOSP 2023): a small queue for a tenth of the objects, a main queue for those that were used there
 * or came back, and a memory of what the small queue let go. Objects are counted, not bytes.
 */
public final class S3FifoPolicy implements EvictionPolicy {
    private static final int SMALL = 0;
    private static final int MAIN = 1;
    private static final int SMALL_SHARE = 10;
    private static final byte MOST_USES = 3;
    /** Used objects that are sent round at once, so that one eviction's time is bounded. */
    private static final int SENT_ROUND = 256;

    private final EntryLists lists = new EntryLists(2);
    private final PastUses gone = new PastUses(lists.capacity());
    private byte[] uses = new byte[lists.capacity()];
    private long[] hash = new long[lists.capacity()];

    @Override
    public void add(
            final int entry, final long objectHash, final long bytes, final int chunkIndex, final int priority) {
        lists.append(entry, gone.take(objectHash) >= 0 ? MAIN : SMALL);
        if (lists.capacity() > uses.length) {
            uses = Arrays.copyOf(uses, lists.capacity());
            hash = Arrays.copyOf(hash, lists.capacity());
            gone.grow(lists.capacity());
        }
        uses[entry] = 0;
        hash[entry] = objectHash;
    }

    @Override
    public void expect(final long[] hashes, final int count) {
        gone.expect(hashes, count);
    }

    @Override
    public void touch(final int entry) {
        uses[entry] = (byte) Math.min(uses[entry] + 1, MOST_USES);
    }

    @Override
    public void remove(final int entry) {
        if (lists.queueOf(entry) == SMALL) {
            gone.put(hash[entry], 0, 0);
        }
        lists.remove(entry);
    }

    @Override
    public void withdraw(final int entry) {
        lists.remove(entry);
    }

    @Override
    public Scan scan() {
        final int[] walk = lists.walk();
        return new Scan() {
            private int queue;

            @Override
            public void restart() {
                queue = settle();
                lists.restart(walk);
            }

            @Override
            public int next() {
                if (walk[queue] == NONE) {
                    queue = 1 - queue;
                }
                final int entry = walk[queue];
                if (entry != NONE) {
                    walk[queue] = lists.after(entry);
                }
                return entry;
            }
        };
    }

    /** Sends used objects at the heads round until one is found that was not used; the queue whose turn it is. */
    private int settle() {
        for (int sent = 0; sent < SENT_ROUND; sent++) {
            final int queue = turn();
            final int entry = lists.first(queue);
            if (entry == NONE || uses[entry] == 0) {
                return queue;
            }
            lists.remove(entry);
            uses[entry] = queue == SMALL ? 0 : (byte) (uses[entry] - 1);
            lists.append(entry, MAIN);
        }
        return turn();
    }

    private int turn() {
        final int all = lists.size(SMALL) + lists.size(MAIN);
        return lists.size(SMALL) > all / SMALL_SHARE || lists.size(MAIN) == 0 ? SMALL : MAIN;
    }
}
