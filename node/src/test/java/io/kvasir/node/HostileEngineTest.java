package io.kvasir.node;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.node.hostile.Sizes;
import io.kvasir.node.hostile.Strategy;
import io.kvasir.node.hostile.Target;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.ShrinkingMode;
import net.jqwik.api.Tag;
import net.jqwik.api.constraints.Size;
import net.jqwik.api.lifecycle.AfterContainer;
import net.jqwik.api.lifecycle.BeforeContainer;

/**
 * Hostile engines and good ones at one node, in this process: whatever the hostile ones do, the good ones are answered within
 * their deadlines with the bytes that they stored, and nothing of the hostile ones stays behind. {@code kvasir bench hostile}
 * runs the same strategies in processes of their own, against a node with the heap that it is shipped with.
 */
@Tag("slow")
class HostileEngineTest {
    private static final String SHARED = "shared-shared-shared";
    private static final String QUIET = "quiet-quiet-quiet-quiet";
    private static final String DAMAGED = "damaged-damaged-damaged";
    private static final long TRY_MS = 600;
    private static final long LARGEST_MS = 800;

    private static NodeFixture fixture;
    private static final List<GoodThread> GOOD = new ArrayList<>();

    @BeforeContainer
    static void start() throws IOException {
        fixture = new NodeFixture(
                "engine.max_connections=200",
                "engine.stall_limit=2s",
                "tenants=[{name: shared, token: " + SHARED + "}, {name: quiet, token: " + QUIET
                        + "}, {name: damaged, token: " + DAMAGED + "}]");
        for (final String token : List.of(SHARED, QUIET)) {
            GOOD.add(new GoodThread(fixture.socket(), token));
        }
    }

    @AfterContainer
    static void stop() throws IOException {
        for (final GoodThread good : GOOD) {
            good.end();
        }
        GOOD.clear();
        fixture.close();
    }

    /** With the sizes at the limits: what was found to end a node is tried in every run. */
    @Example
    void theLargestOfEach() throws IOException {
        for (final Strategy strategy : Strategy.values()) {
            attack(List.of(new Attack(strategy, Sizes.largest(strategy.name().hashCode()))), LARGEST_MS);
        }
    }

    @Property(tries = 24, shrinking = ShrinkingMode.OFF)
    void someAtOnce(@ForAll("attacks") @Size(min = 1, max = 3) final List<Attack> attacks) throws IOException {
        attack(attacks, TRY_MS);
    }

    @Provide
    Arbitrary<List<Attack>> attacks() {
        final Arbitrary<Sizes> sizes = Combinators.combine(
                        numbers(Sizes.keyEdges(), 0),
                        numbers(Sizes.shardEdges(), 1),
                        numbers(Sizes.repeatEdges(), 1),
                        numbers(Sizes.byteEdges(), 0),
                        numbers(Sizes.waitEdges(), 0),
                        Arbitraries.longs())
                .as(Sizes::new);
        return Combinators.combine(Arbitraries.of(Strategy.class), sizes)
                .as(Attack::new)
                .list();
    }

    private static Arbitrary<Integer> numbers(final int[] edges, final int least) {
        return Arbitraries.oneOf(
                Arbitraries.of(Arrays.stream(edges).boxed().toList()),
                Arbitraries.integers().between(least, edges[edges.length - 1]));
    }

    record Attack(Strategy strategy, Sizes sizes) {}

    private static void attack(final List<Attack> attacks, final long ms) throws IOException {
        final List<Throwable> broken = new ArrayList<>();
        final List<Thread> threads = new ArrayList<>();
        final long endNs = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(ms);
        final List<Long> before = GOOD.stream().map(GoodThread::steps).toList();
        for (final Attack attack : attacks) {
            final String token = attack.strategy.damagesItsTenant() ? DAMAGED : SHARED;
            threads.add(Thread.ofPlatform().name(attack.strategy.name()).start(() -> {
                try {
                    attack.strategy.run(new Target(fixture.socket(), token, endNs), attack.sizes);
                } catch (final IOException ended) {
                    // The node may end a hostile connection at any time.
                } catch (final RuntimeException | Error e) {
                    synchronized (broken) {
                        broken.add(e);
                    }
                }
            }));
        }
        for (final Thread thread : threads) {
            join(thread);
        }
        synchronized (broken) {
            assertEquals(List.of(), broken);
        }
        for (int i = 0; i < GOOD.size(); i++) {
            final GoodThread good = GOOD.get(i);
            final long seen = before.get(i);
            // Two: one of them began after the attack had ended.
            NodeFixture.await("the good client's next steps", () -> good.hasEnded() || good.steps() > seen + 1);
            assertEquals(List.of(), good.violations(), attacks::toString);
        }
        NodeFixture.await(
                "the end of the hostile connections",
                () -> fixture.metric("kvasir_node_connections", null, null) == GOOD.size());
        NodeFixture.await(
                "the end of what was held", () -> fixture.metric("kvasir_node_held_requests", null, null) == 0);
        NodeFixture.await("their memory", () -> fixture.metric("kvasir_node_held_bytes", null, null) == 0);
        NodeFixture.await("the end of the leases", () -> fixture.metric("kvasir_storage_leases", null, null) == 0);
        NodeFixture.await(
                "the end of the quarantine", () -> fixture.metric("kvasir_storage_quarantined_bytes", null, null) == 0);
        assertEquals(0, fixture.faults("internal"), attacks::toString);
    }

    private static void join(final Thread thread) {
        try {
            assertTrue(thread.join(java.time.Duration.ofSeconds(60)), () -> thread.getName() + " does not end");
        } catch (final InterruptedException e) {
            throw new AssertionError(e);
        }
    }
}
