package io.kvasir.node.cluster.directory;

import io.kvasir.storage.object.Hash256;
import io.kvasir.storage.object.Shard;
import java.util.ArrayList;
import java.util.List;

/** Shards seen in one namespace: each has a bit in the directory's masks, and the bytes of its last object. */
final class ShardNumbers {
    final Hash256 namespace;
    /** Of entries in which this node has a part; without one nobody needs the numbers. */
    int parts;

    private final List<Shard> shards = new ArrayList<>();
    private final long[] bytes = new long[Entry.MAX_SHARDS];

    ShardNumbers(final Hash256 namespace) {
        this.namespace = namespace;
    }

    /** The shard's bit; -1 when there are too many. */
    int index(final Shard shard) {
        final int known = shards.indexOf(shard);
        if (known >= 0) {
            return known;
        }
        if (shards.size() == Entry.MAX_SHARDS) {
            return -1;
        }
        shards.add(shard);
        return shards.size() - 1;
    }

    void bytes(final int index, final long length) {
        bytes[index] = length;
    }

    long bytes(final int index) {
        return bytes[index];
    }

    int tag(final int index) {
        return ChunkName.tag(shards.get(index));
    }
}
