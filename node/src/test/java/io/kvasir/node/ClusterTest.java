package io.kvasir.node;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import io.kvasir.node.cluster.Members;
import io.kvasir.node.engine.v1.Events;
import io.kvasir.node.engine.v1.Handoff;
import io.kvasir.node.engine.v1.NodeScore;
import io.kvasir.node.engine.v1.Request;
import io.kvasir.node.engine.v1.Scores;
import io.kvasir.node.engine.v1.ScoresResult;
import io.kvasir.transport.LinkException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.DatagramSocket;
import java.net.InetAddress;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.ignite.Ignition;
import org.apache.ignite.IgnitionListener;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Real nodes of one cluster, in this JVM. */
@Tag("integration")
@Timeout(120)
class ClusterTest {
    private static final int OBJECT = 64 << 10;
    private static final int WAIT_MS = 5000;

    private final List<NodeFixture> nodes = new ArrayList<>();
    private final List<ChainEngine> engines = new ArrayList<>();

    private void start(final int count, final String... more) throws IOException {
        final int first = Members.port();
        for (int i = 0; i < count; i++) {
            final List<String> sets = new ArrayList<>(List.of(
                    "node.name=n" + i,
                    "cluster.seeds=127.0.0.1:" + first,
                    "cluster.address=127.0.0.1:" + (i == 0 ? first : Members.port())));
            sets.addAll(List.of(more));
            nodes.add(new NodeFixture(sets.toArray(String[]::new)));
            engines.add(new ChainEngine(
                    nodes.get(i).socket(),
                    OBJECT,
                    nodes.get(i).config.tenants().isEmpty() ? "" : "red-red-red-red-red"));
        }
        NodeFixture.await(
                "all nodes in one cluster",
                () -> nodes.stream()
                        .allMatch(each -> each.metric("kvasir_node_joined", null, null) == 1
                                && each.node.cluster().view().size() == count));
    }

    @AfterEach
    void stop() throws IOException {
        for (final ChainEngine engine : engines) {
            engine.close();
        }
        NodeFixture.closeAll(nodes);
    }

    private void announced(final int node) {
        NodeFixture.await(
                "announcements of node " + node,
                () -> nodes.get(node).metric("kvasir_node_directory_announced_chunks", null, null) > 0
                        && nodes.get(node).metric("kvasir_node_directory_waiting_entries", null, null) == 0);
    }

    @Test
    void whatOneNodeStoredAnotherLoads() throws IOException {
        start(2);
        final ByteString chain = ChainEngine.chain(1, 40);
        assertEquals(40, engines.get(0).store(chain));
        announced(0);
        assertEquals(40, engines.get(1).load(chain, WAIT_MS));
        assertEquals(40, nodes.get(1).metric("kvasir_storage_pulled_objects_total", null, null));
    }

    @Test
    void aChainWithoutIndexesIsFoundFromItsMiddle() throws IOException {
        start(2);
        final ByteString chain = ChainEngine.chain(98, 40);
        assertEquals(40, engines.get(0).store(chain, false));
        announced(0);
        assertEquals(30, engines.get(1).load(chain.substring(10 * 32), WAIT_MS));
    }

    @Test
    void aNodeFullOfItsOwnObjectsPullsAWholePrefix() throws IOException {
        start(2);
        // More than its 32 MiB, none of it copies: what is pulled is the first that could give way.
        for (int i = 0; i < 6; i++) {
            engines.get(1).store(ChainEngine.chain(100 + i, 100));
        }
        final ByteString chain = ChainEngine.chain(99, 80);
        assertEquals(80, engines.get(0).store(chain));
        announced(0);
        assertEquals(80, engines.get(1).load(chain, WAIT_MS));
        assertEquals(80, nodes.get(1).metric("kvasir_storage_pulled_objects_total", null, null));
    }

    @Test
    void aNodeWhoseLinkCannotListenGivesBackWhatItOpened() throws IOException {
        start(1);
        final NodeFixture fixture = nodes.getFirst();
        fixture.node.stop();
        final int link = fixture.config.cluster().port() + 2;
        try (DatagramSocket taken = new DatagramSocket(link, InetAddress.getLoopbackAddress())) {
            assertTrue(taken.isBound());
            assertThrows(LinkException.class, fixture::start);
        }
        fixture.start();
    }

    @Test
    void aNodeThatLeavesAnswersItsEnginesBefore() throws Exception {
        start(1);
        final CountDownLatch leaving = new CountDownLatch(1);
        final CountDownLatch mayLeave = new CountDownLatch(1);
        final IgnitionListener listener = (name, state) -> {
            leaving.countDown();
            try {
                mayLeave.await();
            } catch (final InterruptedException stopped) {
                Thread.currentThread().interrupt();
            }
        };
        Ignition.addListener(listener);
        final NodeFixture fixture = nodes.getFirst();
        try (EngineClient engine = fixture.attached()) {
            engine.send(Request.newBuilder()
                    .setDeadlineMs(100_000)
                    .setEvents(Events.newBuilder().setAfter(1).setWaitMs(100_000)));
            NodeFixture.await(
                    "the request is held", () -> fixture.metric("kvasir_node_held_requests", null, null) == 1);
            final Thread stop = Thread.ofVirtual().start(fixture.node::stop);
            leaving.await();
            engine.channel.configureBlocking(false);
            assertTrue(engine.channel.read(ByteBuffer.allocate(4)) == 4, "answered while the cluster is not left");
            assertThrows(IOException.class, () -> new EngineClient(fixture.socket()));
            mayLeave.countDown();
            stop.join();
        } finally {
            mayLeave.countDown();
            Ignition.removeListener(listener);
        }
    }

    @Test
    void whatNobodyHasIsAMissAndStaysCheap() throws IOException {
        start(2);
        // It is remembered for a moment only, which a busy machine may need by itself.
        boolean cheap = false;
        for (int i = 0; i < 20 && !cheap; i++) {
            final ByteString chain = ChainEngine.chain(2 + i, 8);
            assertEquals(0, engines.get(1).load(chain, WAIT_MS));
            cheap = engines.get(1).lookup(chain, 0).getPendingChunks() == 0;
        }
        assertTrue(cheap, "remembered as absent");
    }

    @Test
    void aPrefixThatIsSpreadOverNodesIsOneHit() throws IOException {
        start(3);
        final ByteString chain = ChainEngine.chain(3, 60);
        engines.get(0).store(chain.substring(0, 20 * 32));
        engines.get(1).store(chain);
        announced(0);
        announced(1);
        assertEquals(60, engines.get(2).load(chain, WAIT_MS));
    }

    @Test
    void anObjectThatIsDamagedAtItsHolderIsAMissAndGone() throws IOException {
        start(2);
        final ByteString chain = ChainEngine.chain(4, 4);
        engines.get(0).store(chain);
        announced(0);
        engines.get(0).damage(chain, 2);
        assertEquals(2, engines.get(1).load(chain, WAIT_MS));
        NodeFixture.await(
                "the holder drops it", () -> nodes.get(0).metric("kvasir_storage_corrupt_total", null, null) == 1);
    }

    @Test
    void anObjectThatIsDamagedAtOneHolderComesFromAnother() throws IOException {
        start(3);
        final ByteString chain = ChainEngine.chain(5, 4);
        engines.get(0).store(chain);
        engines.get(1).store(chain);
        announced(0);
        announced(1);
        engines.get(0).damage(chain, 1);
        engines.get(1).damage(chain, 2);
        assertEquals(4, engines.get(2).load(chain, WAIT_MS));
    }

    @Test
    void aPullGoesOnWithAnotherHolderWhenOneEnds() throws Exception {
        start(3, "dram.capacity=128MiB");
        final ByteString chain = ChainEngine.chain(10, 400);
        engines.get(0).store(chain);
        engines.get(1).store(chain);
        announced(0);
        announced(1);
        final CompletableFuture<Integer> loading = CompletableFuture.supplyAsync(() -> {
            try {
                return engines.get(2).load(chain, WAIT_MS);
            } catch (final IOException failed) {
                throw new UncheckedIOException(failed);
            }
        });
        NodeFixture.await(
                "the first bytes",
                () -> loading.isDone() || nodes.get(2).metric("kvasir_storage_pulled_objects_total", null, null) > 0);
        nodes.get(0).node.stop();
        assertEquals(400, loading.get(WAIT_MS + 5000, TimeUnit.MILLISECONDS));
    }

    @Test
    void aNodeThatLeavesMovesWhatOnlyItHas() throws IOException {
        start(2, "cluster.drain_limit=30s");
        final ByteString chain = ChainEngine.chain(6, 40);
        engines.get(0).store(chain);
        announced(0);
        nodes.get(0).node.stop();
        assertEquals(40, engines.get(1).load(chain, 0));
    }

    @Test
    void aHandoffSendsChunksAsTheyAreCommitted() throws IOException {
        start(2);
        final ByteString chain = ChainEngine.chain(7, 20);
        engines.get(0).store(chain.substring(0, 5 * 32));
        final io.kvasir.node.engine.v1.Response accepted = engines.get(0)
                .call(Request.newBuilder()
                        .setHandoff(Handoff.newBuilder()
                                .setNamespace(1)
                                .setKeys(chain)
                                .setTarget("n1")));
        assertEquals(20, accepted.getHandoff().getAccepted());
        engines.get(0).store(chain);
        NodeFixture.await(
                "all chunks at the target",
                () -> nodes.get(1).metric("kvasir_storage_received_objects_total", null, null) == 20);
        assertEquals(20, engines.get(1).load(chain, 0));
        final io.kvasir.node.engine.v1.Response nobody = engines.get(0)
                .call(Request.newBuilder()
                        .setHandoff(Handoff.newBuilder().setNamespace(1).setTarget("n9")));
        assertTrue(nobody.getError().getMessage().contains("n1"));
    }

    @Test
    void scoresNameTheLongestPrefixOfEachNode() throws IOException {
        start(3);
        final ByteString chain = ChainEngine.chain(8, 40);
        engines.get(0).store(chain.substring(0, 10 * 32));
        engines.get(1).store(chain.substring(0, 35 * 32));
        announced(0);
        announced(1);
        ScoresResult scores;
        // A busy machine may need longer than the directory's deadline.
        do {
            scores = engines.get(0)
                    .call(Request.newBuilder()
                            .setScores(Scores.newBuilder().setNamespace(1).setKeys(chain)))
                    .getScores();
        } while (!scores.getComplete());
        assertEquals(
                List.of("n0", "n1", "n2"),
                scores.getNodesList().stream().map(NodeScore::getNode).toList());
        assertEquals(
                List.of(10, 35, 0),
                scores.getNodesList().stream().map(NodeScore::getPrefixChunks).toList());
    }

    @Test
    void anotherTenantSeesNothing() throws IOException {
        start(2, "tenants=[{name: red, token: red-red-red-red-red}, {name: blue, token: blue-blue-blue-blue}]");
        final ByteString chain = ChainEngine.chain(9, 8);
        engines.get(0).store(chain);
        announced(0);
        try (ChainEngine red = new ChainEngine(nodes.get(1).socket(), OBJECT, "red-red-red-red-red");
                ChainEngine blue = new ChainEngine(nodes.get(1).socket(), OBJECT, "blue-blue-blue-blue")) {
            assertEquals(0, blue.load(chain, WAIT_MS));
            assertEquals(8, red.load(chain, WAIT_MS));
        }
    }

    @Test
    void aNodeAloneLoadsNothingOfTheCluster() throws IOException {
        nodes.add(new NodeFixture());
        assertTrue(nodes.getFirst().node.cluster() == null);
        assertTrue(Double.isNaN(nodes.getFirst().metric("kvasir_node_nodes", null, null)));
    }
}
