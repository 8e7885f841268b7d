package io.kvasir.node.cluster;

import io.kvasir.node.cluster.directory.ChunkName;
import io.kvasir.node.cluster.directory.Entry;
import io.kvasir.storage.ObjectId;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Consumer;

/** Which of this node's objects another live node has too, as far as the directory knows. The store's thread. */
final class Whereabouts {
    /** The best place among the other nodes. */
    enum Place {
        /** The directory did not answer. */
        UNKNOWN,
        NOWHERE,
        ON_SSD,
        IN_DRAM
    }

    private final Cluster cluster;

    Whereabouts(final Cluster cluster) {
        this.cluster = cluster;
    }

    /** @param answer a place for each, in their order; comes once, within a second */
    void ask(final List<ObjectId> objects, final Consumer<Place[]> answer) {
        final Set<Long> keys = new HashSet<>();
        for (final ObjectId id : objects) {
            keys.add(cluster.entryOf(id));
            // Where its parent is not, it begins an entry of its own.
            keys.add(chunk(id));
        }
        cluster.read(keys.stream().mapToLong(Long::longValue).toArray(), entries -> {
            final Place[] places = new Place[objects.size()];
            for (int i = 0; i < places.length; i++) {
                places[i] = entries == null ? Place.UNKNOWN : place(entries, objects.get(i));
            }
            answer.accept(places);
        });
    }

    private Place place(final Map<Long, byte[]> entries, final ObjectId id) {
        final Place usual = place(entries.get(cluster.entryOf(id)), id);
        final Place own = place(entries.get(chunk(id)), id);
        return usual.compareTo(own) > 0 ? usual : own;
    }

    private Place place(final byte[] entry, final ObjectId id) {
        Place best = Place.NOWHERE;
        if (entry == null) {
            return best;
        }
        final int chunk = ChunkName.tag(chunk(id));
        final int shard = ChunkName.tag(id.shard());
        for (final Entry.Reader each = new Entry.Reader(entry); each.next(); ) {
            if (!cluster.isPeer(each.holder())) {
                continue;
            }
            for (int member = 0; member < each.members(); member++) {
                for (int s = 0; each.tag(member) == chunk && s < each.shards(); s++) {
                    if (each.shardTag(s) == shard && each.inDram(member, s)) {
                        return Place.IN_DRAM;
                    }
                    if (each.shardTag(s) == shard && each.onSsd(member, s)) {
                        best = Place.ON_SSD;
                    }
                }
            }
        }
        return best;
    }

    private static long chunk(final ObjectId id) {
        return ChunkName.hash(id.namespace(), id.key());
    }
}
