package io.kvasir.node.cluster.directory;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.object.TierKind;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/** Compares the directory of a {@link NodesSimulation} that is quiet with what its stores hold. */
final class DirectoryCheck {
    private DirectoryCheck() {}

    /** Every entry says which chunks its holders have, and on which tiers. */
    static void assertSame(final SimulatedCluster cluster, final Map<Long, SimulatedNode> nodes) {
        final Map<Long, Map<Integer, Set<TierKind>>> listed = new TreeMap<>();
        cluster.entries.forEach((key, entry) -> {
            for (final Entry.Reader record = new Entry.Reader(entry); record.next(); ) {
                assertTrue(nodes.containsKey(record.holder()), "a holder that is gone stays in the directory");
                for (int member = 0; member < record.members(); member++) {
                    final Set<TierKind> tiers = new HashSet<>();
                    for (int shard = 0; shard < record.shards(); shard++) {
                        if (record.inDram(member, shard)) {
                            tiers.add(TierKind.DRAM);
                        }
                        if (record.onSsd(member, shard)) {
                            tiers.add(TierKind.SSD);
                        }
                    }
                    final Set<TierKind> before = listed.computeIfAbsent(record.holder(), holder -> new TreeMap<>())
                            .put(record.tag(member), tiers);
                    assertEquals(null, before, "a chunk is listed twice");
                }
            }
        });
        nodes.forEach((holder, node) -> {
            final Map<Integer, Set<TierKind>> held = new TreeMap<>();
            node.held.forEach((object, tiers) -> {
                // The directory says of the SSD what is not in DRAM.
                final TierKind tier = tiers.contains(TierKind.DRAM) ? TierKind.DRAM : TierKind.SSD;
                held.put(
                        ChunkName.tag(ChunkName.hash(SimulatedObjects.NAMESPACE, SimulatedObjects.key(object))),
                        Set.of(tier));
                assertTrue(
                        node.store.peers().holds(SimulatedObjects.id(object)), "told as held, and is not: " + object);
            });
            assertEquals(held, listed.getOrDefault(holder, Map.of()), "of holder " + holder);
        });
    }
}
