package io.kvasir.node;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import io.kvasir.node.cluster.Members;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The rules of placement between real nodes in this JVM; objects of 64 KiB, of which 32 MiB hold 512. */
@Tag("integration")
@Timeout(120)
class PlacementClusterTest {
    private static final int OBJECT = 64 << 10;
    private static final int WAIT_MS = 5000;
    private static final String SMALL = "dram.capacity=32MiB";
    private static final String LARGE = "dram.capacity=128MiB";
    private static final String SSD = "ssd.capacity=256MiB";
    private static final String NO_MOVES = "cluster.move_rate=0";

    private final List<NodeFixture> nodes = new ArrayList<>();
    private final List<ChainEngine> engines = new ArrayList<>();
    private final int first = Members.port();

    private void start(final String... sets) throws IOException {
        final List<String> all = new ArrayList<>(List.of(
                "node.name=n" + nodes.size(),
                "cluster.seeds=127.0.0.1:" + first,
                "cluster.address=127.0.0.1:" + (nodes.isEmpty() ? first : Members.port())));
        all.addAll(List.of(sets));
        nodes.add(new NodeFixture(all.toArray(String[]::new)));
        engines.add(new ChainEngine(nodes.getLast().socket(), OBJECT, ""));
    }

    private void joined() {
        NodeFixture.await(
                "all nodes in one cluster",
                () -> nodes.stream().allMatch(each -> each.node.cluster().view().size() == nodes.size()));
    }

    @AfterEach
    void stop() throws IOException {
        for (final ChainEngine engine : engines) {
            engine.close();
        }
        NodeFixture.closeAll(nodes);
    }

    private double metric(final int node, final String name) {
        return nodes.get(node).metric(name, null, null);
    }

    private double moved(final int node) {
        return metric(node, "kvasir_node_moved_objects_total");
    }

    private double evictedCopies(final int node) {
        return metric(node, "kvasir_storage_evicted_copies_total");
    }

    private void store(final int node, final ByteString chain) throws IOException {
        assertEquals(chain.size() / 32, engines.get(node).store(chain));
    }

    /** In chains of 50: what an engine may have reserved at once is limited. */
    private List<ByteString> storeMany(final int node, final int seed, final int chains) throws IOException {
        final List<ByteString> stored = new ArrayList<>();
        for (int i = 0; i < chains; i++) {
            stored.add(ChainEngine.chain(seed + i, 50));
            store(node, stored.getLast());
        }
        return stored;
    }

    private void announced(final int node, final int chunks) {
        NodeFixture.await(
                "announcements of node " + node,
                () -> metric(node, "kvasir_node_directory_announced_chunks") >= chunks
                        && metric(node, "kvasir_node_directory_waiting_entries") == 0);
    }

    @Test
    void aLastCopyIsAtAPeerWhenItIsEvicted() throws IOException {
        start(SMALL);
        start(LARGE);
        joined();
        final List<ByteString> chains = new ArrayList<>();
        for (int i = 0; i < 30; i++) {
            chains.add(ChainEngine.chain(100 + i, 24));
            store(0, chains.getLast());
            if (i >= 20) {
                // At the pace of the moves: an eviction does not wait for them.
                NodeFixture.await("a move ahead of eviction", () -> moved(0) - evictedCopies(0) >= 24);
            }
        }
        assertTrue(evictedCopies(0) >= 30 * 24 - 512, "evicted");
        assertEquals(0, metric(0, "kvasir_storage_evicted_undemoted_total"));
        announced(1, (int) moved(0));
        for (final ByteString chain : chains) {
            assertEquals(24, engines.get(0).load(chain, WAIT_MS));
        }
        assertTrue(metric(0, "kvasir_storage_pulled_objects_total") > 0, "some came back from the peer");
    }

    @Test
    void aLastCopyGoesToTheSsdWhereThereIsOne() throws IOException {
        start(SMALL, SSD);
        start(LARGE);
        start(SMALL);
        joined();
        for (int i = 0; i < 30; i++) {
            store(0, ChainEngine.chain(200 + i, 24));
            store(2, ChainEngine.chain(1_200 + i, 24));
            if (i >= 20) {
                // It is as full, knows as much of the peer's room, and has no SSD: the other had its chance too.
                NodeFixture.await("a move of the node without SSD", () -> moved(2) - evictedCopies(2) >= 24);
            }
        }
        NodeFixture.await("demotion", () -> metric(0, "kvasir_storage_evicted_clean_total") > 0);
        assertEquals(0, moved(0));
        assertEquals(0, metric(0, "kvasir_storage_evicted_undemoted_total"));
    }

    @Test
    void aPulledCopyGivesWayBeforeWhatIsNone() throws IOException {
        start(LARGE);
        start(SMALL, NO_MOVES);
        joined();
        pulledCopiesGiveWayFirst();
    }

    @Test
    void aPulledCopyGivesWayFirstToWhatAnSsdHasToo() throws IOException {
        start(LARGE);
        start(SMALL, SSD);
        joined();
        pulledCopiesGiveWayFirst();
        assertEquals(0, metric(1, "kvasir_storage_evicted_clean_total"));
    }

    private void pulledCopiesGiveWayFirst() throws IOException {
        final List<ByteString> own = storeMany(1, 400, 5);
        final List<ByteString> pulled = storeMany(0, 500, 4);
        announced(0, 200);
        for (final ByteString chain : pulled) {
            assertEquals(50, engines.get(1).load(chain, WAIT_MS));
        }
        for (int i = 0; i < 5; i++) {
            store(1, ChainEngine.chain(10 + i, 24));
        }
        assertTrue(evictedCopies(1) >= 250 + 200 + 5 * 24 - 512, "copies went");
        for (final ByteString chain : own) {
            assertEquals(50, engines.get(1).load(chain, 0));
        }
        assertEquals(0, metric(1, "kvasir_storage_evicted_undemoted_total"));
    }

    @Test
    void aCopyThatIsUsedOftenStays() throws IOException {
        start(LARGE);
        start(SMALL, NO_MOVES);
        joined();
        storeMany(1, 900, 4);
        final ByteString pulled = ChainEngine.chain(3, 100);
        store(0, pulled);
        announced(0, 100);
        for (int use = 0; use < 16; use++) {
            assertEquals(100, engines.get(1).load(pulled, WAIT_MS));
        }
        storeMany(1, 950, 6);
        assertTrue(metric(1, "kvasir_storage_evicted_undemoted_total") > 0, "DRAM was full");
        assertEquals(0, evictedCopies(1));
        assertEquals(100, engines.get(1).load(pulled, 0));
    }

    @Test
    void whatAPeerLoadsIsUsedAtItsHolderToo() throws IOException {
        start(SMALL, NO_MOVES);
        start(LARGE);
        joined();
        final ByteString loaded = ChainEngine.chain(5, 50);
        store(0, loaded);
        storeMany(0, 650, 8);
        announced(0, 450);
        assertEquals(50, engines.get(1).load(loaded, WAIT_MS));
        storeMany(0, 660, 5);
        assertTrue(metric(0, "kvasir_storage_evicted_undemoted_total") >= 100, "others went");
        assertEquals(50, engines.get(0).load(loaded, 0));
    }

    @Test
    void aCopyThatTurnsOutToBeTheLastOneIsNoCopyAnyMore() throws IOException {
        start(SMALL, NO_MOVES);
        start(SMALL, NO_MOVES);
        joined();
        final ByteString pulled = ChainEngine.chain(4, 100);
        store(0, pulled);
        announced(0, 100);
        assertEquals(100, engines.get(1).load(pulled, WAIT_MS));
        storeMany(0, 600, 12);
        assertEquals(0, engines.get(0).load(pulled, 0));
        storeMany(1, 700, 8);
        NodeFixture.await("all found out", () -> metric(1, "kvasir_node_last_copies_found_total") == 100);
    }

    @Test
    void whatIsOnSsdOnlyMovesToo() throws IOException {
        start(SMALL, SSD, "cluster.drain_limit=60s");
        start(LARGE);
        joined();
        final List<ByteString> chains = storedOnSsd(0, 30);
        nodes.get(0).node.stop();
        assertEquals(0, metric(0, "kvasir_node_drain_lost_objects"));
        for (final ByteString chain : chains) {
            assertEquals(24, engines.get(1).load(chain, 0));
        }
    }

    @Test
    void whatMovesMayTakeTheRoomOfWhatAnSsdHasToo() throws IOException {
        start(SMALL, "cluster.drain_limit=60s");
        start(SMALL, SSD);
        joined();
        final List<ByteString> chains = storedOnSsd(1, 30);
        final ByteString leaving = ChainEngine.chain(6, 100);
        store(0, leaving);
        nodes.get(0).node.stop();
        assertEquals(100, engines.get(1).load(leaving, WAIT_MS));
        for (final ByteString chain : chains) {
            assertEquals(24, engines.get(1).load(chain, WAIT_MS));
        }
    }

    /** Stores more than DRAM holds. */
    private List<ByteString> storedOnSsd(final int node, final int count) throws IOException {
        final List<ByteString> chains = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            chains.add(ChainEngine.chain(300 + i, 24));
            store(node, chains.getLast());
        }
        assertTrue(metric(node, "kvasir_storage_evicted_clean_total") > 0, "some are on SSD only");
        assertEquals(0, metric(node, "kvasir_storage_evicted_undemoted_total"));
        return chains;
    }

    @Test
    void aDrainThatNobodyHasRoomForEndsInTimeAndSaysSo() throws IOException {
        start(SMALL, "cluster.drain_limit=3s");
        start(SMALL, NO_MOVES);
        joined();
        storeMany(1, 800, 10);
        store(1, ChainEngine.chain(7, 12));
        store(0, ChainEngine.chain(8, 40));
        final long beganNs = System.nanoTime();
        nodes.get(0).node.stop();
        assertTrue(System.nanoTime() - beganNs < TimeUnit.SECONDS.toNanos(30), "in time");
        assertEquals(0, metric(0, "kvasir_node_drain_moved_objects"));
        assertEquals(40, metric(0, "kvasir_node_drain_lost_objects") + metric(0, "kvasir_node_drain_left_objects"));
    }
}
