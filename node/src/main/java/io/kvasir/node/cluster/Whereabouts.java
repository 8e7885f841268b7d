package io.kvasir.node.cluster;

import io.kvasir.node.cluster.directory.Announcer;
import io.kvasir.node.cluster.directory.ChunkName;
import io.kvasir.node.cluster.directory.Directory;
import io.kvasir.node.cluster.directory.Entry;
import io.kvasir.storage.object.ObjectId;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.Supplier;

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

    private static final long READ_MS = 1000;

    private final Announcer announcer;
    private final Supplier<ClusterView> view;
    private final Executor owner;

    /**
     * @param announcer knows which directory entry each object of this node is in
     * @param view of the cluster now
     * @param owner runs tasks on the store's thread
     */
    Whereabouts(final Announcer announcer, final Supplier<ClusterView> view, final Executor owner) {
        this.announcer = announcer;
        this.view = view;
        this.owner = owner;
    }

    /** @param answer a place for each, in their order; comes once, within {@link #READ_MS} */
    void ask(final List<ObjectId> objects, final Consumer<Place[]> answer) {
        final Set<Long> keys = new HashSet<>();
        for (final ObjectId id : objects) {
            keys.add(announcer.entryOf(chunk(id)));
            // Where its parent is not, it begins an entry of its own.
            keys.add(chunk(id));
        }
        read(keys.stream().mapToLong(Long::longValue).toArray(), entries -> {
            final Place[] places = new Place[objects.size()];
            for (int i = 0; i < places.length; i++) {
                places[i] = entries == null ? Place.UNKNOWN : place(entries, objects.get(i));
            }
            answer.accept(places);
        });
    }

    /** Answers with null when the directory cannot be read in time. */
    private void read(final long[] keys, final Consumer<Map<Long, byte[]>> answer) {
        final Directory directory = view.get().directory();
        if (directory == null) {
            answer.accept(null);
            return;
        }
        final boolean[] answered = new boolean[1];
        final Consumer<Map<Long, byte[]>> once = entries -> {
            if (!answered[0]) {
                answered[0] = true;
                answer.accept(entries);
            }
        };
        directory.read(keys, entries -> owner.execute(() -> once.accept(entries)));
        CompletableFuture.delayedExecutor(READ_MS, TimeUnit.MILLISECONDS)
                .execute(() -> owner.execute(() -> once.accept(null)));
    }

    private Place place(final Map<Long, byte[]> entries, final ObjectId id) {
        final Place usual = place(entries.get(announcer.entryOf(chunk(id))), id);
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
            if (!view.get().peers().containsKey(each.holder())) {
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
