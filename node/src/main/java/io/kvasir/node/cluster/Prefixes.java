package io.kvasir.node.cluster;

import io.kvasir.node.cluster.directory.ChunkName;
import io.kvasir.node.cluster.directory.Entry;
import io.kvasir.storage.object.Shard;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** How many leading chunks of one chain each holder has in every shard. */
final class Prefixes {
    private final int chunks;
    private final int[] tags;
    /** For each chunk, bit s of the mask: shard s. */
    private final Map<Long, long[]> byHolder = new HashMap<>();

    Prefixes(final int chunks, final List<Shard> shards) {
        this.chunks = chunks;
        tags = shards.stream().limit(Entry.MAX_SHARDS).mapToInt(ChunkName::tag).toArray();
    }

    void found(final int chunk, final long holder, final Entry.Reader record, final int member) {
        final long[] masks = byHolder.computeIfAbsent(holder, ignored -> new long[chunks]);
        for (int i = 0; i < record.shards(); i++) {
            for (int s = 0; s < tags.length; s++) {
                if (record.shardTag(i) == tags[s] && (record.inDram(member, i) || record.onSsd(member, i))) {
                    masks[chunk] |= 1L << s;
                }
            }
        }
    }

    int of(final long holder) {
        final long[] masks = byHolder.get(holder);
        final long all = tags.length == 64 ? -1 : (1L << tags.length) - 1;
        int prefix = 0;
        while (masks != null && prefix < chunks && masks[prefix] == all) {
            prefix++;
        }
        return prefix;
    }
}
