package io.kvasir.storage.policy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;

/** What every eviction policy must do, whatever its order. */
class EvictionPolicyContractTest {
    private static final int ENTRIES = 48;

    private static EvictionPolicy create(final PolicyKind kind, final boolean copiesFirst) {
        return copiesFirst ? new CopiesFirst(kind.create()) : kind.create();
    }

    enum Step {
        ADD,
        TOUCH,
        EXTEND,
        REMOVE,
        WITHDRAW,
        EVICT,
        NEXT,
        RESTART
    }

    record Action(Step step, int entry, int worth) {}

    @Provide
    Arbitrary<List<Action>> actions() {
        return Combinators.combine(
                        Arbitraries.of(Step.class),
                        Arbitraries.integers().between(0, ENTRIES - 1),
                        Arbitraries.integers().between(-40, 400))
                .as(Action::new)
                .list()
                .ofMinSize(100)
                .ofMaxSize(600);
    }

    @Property(tries = 200)
    void shouldOrderExactlyWhatItWasGiven(
            @ForAll final PolicyKind kind,
            @ForAll final boolean copiesFirst,
            @ForAll("actions") final List<Action> actions) {
        final EvictionPolicy policy = create(kind, copiesFirst);
        final EvictionPolicy.Scan victims = policy.scan();
        final EvictionPolicy.Scan slow = policy.scan();
        final Set<Integer> live = new HashSet<>();
        final Set<Integer> untouched = new HashSet<>();
        final Set<Integer> met = new HashSet<>();
        for (final Action action : actions) {
            final int entry = action.entry;
            switch (action.step) {
                case ADD -> {
                    if (live.add(entry)) {
                        policy.add(
                                entry,
                                hash(entry),
                                4096L << (Math.abs(action.worth) % 9),
                                action.worth,
                                action.worth % 3);
                    }
                }
                case TOUCH -> {
                    if (live.contains(entry)) {
                        policy.touch(entry);
                        untouched.remove(entry);
                    }
                }
                case EXTEND -> {
                    if (live.contains(entry)) {
                        policy.extended(entry);
                        untouched.remove(entry);
                    }
                }
                case REMOVE, WITHDRAW -> {
                    if (live.remove(entry)) {
                        if (action.step == Step.REMOVE) {
                            policy.remove(entry);
                        } else {
                            policy.withdraw(entry);
                        }
                        untouched.remove(entry);
                    }
                }
                case EVICT -> {
                    victims.restart();
                    if (kind == PolicyKind.S3_FIFO) {
                        // Its queues are put in order when a walk begins: what moves may be met by another one again.
                        untouched.clear();
                    }
                    final int victim = victims.next();
                    assertEquals(live.isEmpty(), victim == EvictionPolicy.NONE, "a victim as long as there is one");
                    if (victim != EvictionPolicy.NONE) {
                        assertTrue(live.remove(victim), "a victim is live");
                        policy.remove(victim);
                        untouched.remove(victim);
                    }
                }
                case NEXT -> {
                    final int next = slow.next();
                    if (next != EvictionPolicy.NONE) {
                        assertTrue(live.contains(next), "a walk meets no entry that is gone");
                        assertTrue(!untouched.contains(next) || met.add(next), "a walk meets an entry once");
                    }
                }
                case RESTART -> {
                    slow.restart();
                    met.clear();
                    untouched.clear();
                    untouched.addAll(live);
                }
            }
        }
        assertEquals(live, walk(policy), "a walk meets every entry");
    }

    private static Set<Integer> walk(final EvictionPolicy policy) {
        final EvictionPolicy.Scan scan = policy.scan();
        scan.restart();
        final Set<Integer> met = new HashSet<>();
        for (int entry = scan.next(); entry != EvictionPolicy.NONE; entry = scan.next()) {
            assertTrue(met.add(entry), "a walk ends");
        }
        return met;
    }

    @Property(tries = 20)
    void shouldPreferWhatIsUsedToWhatIsNot(
            @ForAll final PolicyKind kind, @ForAll final boolean copiesFirst, @ForAll final long seed) {
        final EvictionPolicy policy = create(kind, copiesFirst);
        for (int entry = 0; entry < 100; entry++) {
            policy.add(entry, seed + hash(entry), 1 << 20, 0, 0);
        }
        for (int round = 0; round < 3; round++) {
            for (int entry = 0; entry < 100; entry += 4) {
                policy.touch(entry);
            }
        }
        final EvictionPolicy.Scan scan = policy.scan();
        for (int evicted = 0; evicted < 70; evicted++) {
            scan.restart();
            final int victim = scan.next();
            assertTrue(victim % 4 != 0, "a used entry was evicted before an unused one");
            policy.remove(victim);
        }
    }

    @Property(tries = 8)
    void shouldNotAllocateForAnAccess(@ForAll final PolicyKind kind, @ForAll final boolean copiesFirst) {
        final EvictionPolicy policy = create(kind, copiesFirst);
        final EvictionPolicy.Scan scan = policy.scan();
        final com.sun.management.ThreadMXBean threads =
                (com.sun.management.ThreadMXBean) ManagementFactory.getThreadMXBean();
        churn(policy, scan, 20_000);
        final long before = threads.getCurrentThreadAllocatedBytes();
        churn(policy, scan, 100_000);
        final long bytes = threads.getCurrentThreadAllocatedBytes() - before;
        assertTrue(bytes < 100_000, bytes + " bytes for 100,000 accesses");
    }

    /** Empties the policy at the end, so that it can be called again. */
    private static void churn(final EvictionPolicy policy, final EvictionPolicy.Scan scan, final int accesses) {
        final int size = 512;
        for (int access = 0; access < accesses; access++) {
            final int entry = access % size;
            if (access >= size) {
                if (access % 3 == 0) {
                    policy.touch(entry);
                    continue;
                }
                policy.remove(entry);
            }
            policy.add(entry, hash(access % 2_000), 1 << 20, access % 300, 0);
            scan.restart();
            scan.next();
        }
        for (int entry = 0; entry < size; entry++) {
            policy.remove(entry);
        }
    }

    @Property(tries = 50)
    void shouldBeLeastRecentlyUsedFirstWhenLru(@ForAll("actions") final List<Action> actions) {
        final EvictionPolicy policy = new LruPolicy();
        final List<Integer> model = new ArrayList<>();
        for (final Action action : actions) {
            final int entry = action.entry;
            if (action.step == Step.ADD && !model.contains(entry)) {
                policy.add(entry, hash(entry), 1, 0, 0);
                model.add(entry);
            } else if (action.step == Step.TOUCH && model.removeIf(one -> one == entry)) {
                policy.touch(entry);
                model.add(entry);
            } else if (action.step == Step.REMOVE && model.removeIf(one -> one == entry)) {
                policy.remove(entry);
            }
        }
        assertEquals(model, order(policy));
    }

    static List<Integer> order(final EvictionPolicy policy) {
        final EvictionPolicy.Scan scan = policy.scan();
        scan.restart();
        final List<Integer> order = new ArrayList<>();
        for (int entry = scan.next(); entry != EvictionPolicy.NONE; entry = scan.next()) {
            order.add(entry);
        }
        return order;
    }

    static long hash(final long number) {
        return (number + 1) * 0x9E3779B97F4A7C15L;
    }
}
