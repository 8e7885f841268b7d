package io.kvasir.storage.policy;

import java.util.Arrays;

/**
 * Puts copies that another holder also has before everything else, least recently used first; the rest is ordered by
 * another policy. The DRAM tier wraps whatever policy is configured in it.
 */
public final class CopiesFirst implements EvictionPolicy {
    private final LruPolicy copies = new LruPolicy();
    private final EvictionPolicy others;
    private boolean[] copied = new boolean[1024];
    /** A copy was used since it became one. */
    private boolean[] used = new boolean[1024];

    private long[] hash = new long[1024];
    private long[] bytes = new long[1024];
    private int[] chunkIndex = new int[1024];
    private int[] priority = new int[1024];

    public CopiesFirst(final EvictionPolicy others) {
        this.others = others;
    }

    @Override
    public void add(
            final int entry,
            final long objectHash,
            final long objectBytes,
            final int objectChunkIndex,
            final int objectPriority) {
        if (entry >= copied.length) {
            final int size = Math.max(entry + 1, copied.length * 2);
            copied = Arrays.copyOf(copied, size);
            used = Arrays.copyOf(used, size);
            hash = Arrays.copyOf(hash, size);
            bytes = Arrays.copyOf(bytes, size);
            chunkIndex = Arrays.copyOf(chunkIndex, size);
            priority = Arrays.copyOf(priority, size);
        }
        copied[entry] = false;
        hash[entry] = objectHash;
        bytes[entry] = objectBytes;
        chunkIndex[entry] = objectChunkIndex;
        priority[entry] = objectPriority;
        others.add(entry, objectHash, objectBytes, objectChunkIndex, objectPriority);
    }

    @Override
    public void expect(final long[] hashes, final int count) {
        others.expect(hashes, count);
    }

    /** Whether the entry gives way first. */
    public boolean isCopied(final int entry) {
        return copied[entry];
    }

    /** The entry gives way first from now on, or no longer. */
    public void copied(final int entry, final boolean now) {
        if (copied[entry] == now) {
            return;
        }
        copied[entry] = now;
        if (now) {
            used[entry] = false;
            others.withdraw(entry);
            copies.add(entry, hash[entry], bytes[entry], chunkIndex[entry], priority[entry]);
        } else {
            copies.withdraw(entry);
            others.add(entry, hash[entry], bytes[entry], chunkIndex[entry], priority[entry]);
            if (used[entry]) {
                others.touch(entry);
            }
        }
    }

    @Override
    public void touch(final int entry) {
        used[entry] = true;
        of(entry).touch(entry);
    }

    @Override
    public void extended(final int entry) {
        of(entry).extended(entry);
    }

    @Override
    public void remove(final int entry) {
        of(entry).remove(entry);
    }

    @Override
    public Scan scan() {
        final Scan first = copies.scan();
        final Scan then = others.scan();
        return new Scan() {
            @Override
            public void restart() {
                first.restart();
                then.restart();
            }

            @Override
            public int next() {
                final int entry = first.next();
                return entry != NONE ? entry : then.next();
            }
        };
    }

    private EvictionPolicy of(final int entry) {
        return copied[entry] ? copies : others;
    }
}
