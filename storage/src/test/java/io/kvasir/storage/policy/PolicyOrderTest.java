package io.kvasir.storage.policy;

import static io.kvasir.storage.policy.EvictionPolicyContractTest.hash;
import static io.kvasir.storage.policy.EvictionPolicyContractTest.order;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.policy.VictimSearch.Verdict;
import java.util.List;
import org.junit.jupiter.api.Test;

/** What each policy's own order is, and what chains and copies do to it. */
class PolicyOrderTest {
    private static final int MIB = 1 << 20;

    private static void add(final EvictionPolicy policy, final int... entries) {
        for (final int entry : entries) {
            policy.add(entry, hash(entry), MIB, 0, 0);
        }
    }

    /** Stores 4,000 objects of which every tenth is used a dozen times, with room for 1,000. */
    private static void warmUp(final EvictionPolicy policy) {
        final EvictionPolicy.Scan scan = policy.scan();
        for (int i = 0; i < 4_000; i++) {
            final int entry = 10_000 + i;
            policy.add(entry, hash(entry), MIB, 0, 0);
            for (int use = 0; i % 10 == 0 && use < 12; use++) {
                policy.touch(entry);
            }
            if (i >= 1_000) {
                scan.restart();
                policy.remove(scan.next());
            }
        }
    }

    @Test
    void shouldKeepAReusedObjectLongerThanANewOneWhenCostAware() {
        final CostAwarePolicy policy = new CostAwarePolicy();
        warmUp(policy);
        add(policy, 1);
        policy.touch(1);
        add(policy, 2, 3);
        final List<Integer> order = order(policy);
        assertTrue(order.indexOf(2) < order.indexOf(1) && order.indexOf(3) < order.indexOf(1), "order of kinds");
    }

    @Test
    void shouldPreferWhatCostsMoreToComputeWhenCostAware() {
        final CostAwarePolicy policy = new CostAwarePolicy();
        add(policy, 0);
        policy.add(1, hash(1), MIB, 1_000, 0);
        policy.add(2, hash(2), MIB, 0, 0);
        assertEquals(List.of(0, 2, 1), order(policy));
    }

    @Test
    void shouldPreferWhatIsSmallerWhenCostAware() {
        final CostAwarePolicy policy = new CostAwarePolicy();
        add(policy, 0);
        policy.add(1, hash(1), MIB / 4, 0, 0);
        policy.add(2, hash(2), 4 * MIB, 0, 0);
        add(policy, 3, 4, 5);
        assertEquals(2, order(policy).getFirst());
        assertTrue(order(policy).indexOf(3) < order(policy).indexOf(1), "a smaller one outlives a newer one");
    }

    @Test
    void shouldPreferPriorityWhenCostAware() {
        final CostAwarePolicy policy = new CostAwarePolicy();
        add(policy, 0);
        policy.add(1, hash(1), MIB, 0, 3);
        policy.add(2, hash(2), MIB, 0, -3);
        add(policy, 3, 4);
        assertEquals(2, order(policy).getFirst());
        assertEquals(1, order(policy).getLast());
    }

    @Test
    void shouldRememberTheUsesOfWhatComesBackWhenCostAware() {
        final CostAwarePolicy policy = new CostAwarePolicy();
        warmUp(policy);
        add(policy, 1);
        policy.touch(1);
        policy.remove(1);
        add(policy, 1, 2);
        assertTrue(order(policy).indexOf(2) < order(policy).indexOf(1));
    }

    @Test
    void shouldTellKindsApartLessWhereReuseFallsFastWhenCostAware() {
        final ReuseAges even = new ReuseAges();
        final ReuseAges falling = new ReuseAges();
        for (final ReuseAges ages : List.of(even, falling)) {
            ages.left(1_000);
            for (int i = 0; i < 5_000; i++) {
                ages.used(i % 2 == 0 || (ages == falling && i % 8 != 1) ? 700 : 1_500);
                ages.used(2_500);
                ages.used(100);
            }
        }
        assertEquals(1, even.slope(), 0.1, "as many uses in either octave");
        assertEquals(1 + Math.log(7) / Math.log(2), falling.slope(), 0.1, "seven times as many in the younger");
    }

    @Test
    void shouldSendOneHitWondersThroughTheSmallQueueWhenS3Fifo() {
        final S3FifoPolicy policy = new S3FifoPolicy();
        add(policy, 0, 1, 2, 3);
        policy.touch(0);
        policy.touch(2);
        assertEquals(1, order(policy).getFirst());
        policy.remove(1);
        assertEquals(3, order(policy).getFirst(), "used objects moved to the main queue");
    }

    @Test
    void shouldTakeBackIntoTheMainQueueWhatTheSmallOneLetGoWhenS3Fifo() {
        final S3FifoPolicy policy = new S3FifoPolicy();
        add(policy, 0);
        policy.remove(0);
        add(policy, 0, 1);
        assertEquals(List.of(1, 0), order(policy));
    }

    @Test
    void shouldPutCopiesFirstAndTakeThemBack() {
        final CopiesFirst policy = new CopiesFirst(new LruPolicy());
        add(policy, 0, 1, 2, 3);
        policy.copied(2, true);
        policy.copied(3, true);
        policy.touch(2);
        assertEquals(List.of(3, 2, 0, 1), order(policy));
        policy.copied(3, false);
        assertEquals(List.of(2, 0, 1, 3), order(policy));
        assertTrue(policy.isCopied(2));
        policy.remove(2);
        add(policy, 2);
        assertFalse(policy.isCopied(2), "a new object is no copy");
    }

    @Test
    void shouldOrderACopyThatWasUsedAsUsedWhenItIsNoneAnyMore() {
        final CopiesFirst policy = new CopiesFirst(new CostAwarePolicy());
        warmUp(policy);
        add(policy, 1);
        policy.copied(1, true);
        policy.touch(1);
        policy.copied(1, false);
        add(policy, 2, 3);
        final List<Integer> order = order(policy);
        assertTrue(order.indexOf(2) < order.indexOf(1) && order.indexOf(3) < order.indexOf(1), "order of kinds");
    }

    @Test
    void shouldTakeTheEndOfTheChainBelowTheColdest() {
        final Chains chains = new Chains();
        final CopiesFirst policy = new CopiesFirst(new LruPolicy());
        for (int entry = 0; entry < 500; entry++) {
            chains.add(entry);
            if (entry % 100 != 0) {
                chains.link(entry, entry - 1);
            }
            add(policy, entry);
        }
        final VictimSearch search = new VictimSearch(policy, chains);
        for (int expected = 99; expected >= 0; expected--) {
            final int victim = search.find(entry -> Verdict.BEST, () -> true);
            assertEquals(expected, victim);
            chains.remove(victim);
            policy.remove(victim);
        }
    }

    @Test
    void shouldTakeAParentOnlyWhenNothingElseCanGo() {
        final Chains chains = new Chains();
        final CopiesFirst policy = new CopiesFirst(new LruPolicy());
        for (int entry = 0; entry < 3; entry++) {
            chains.add(entry);
            add(policy, entry);
        }
        chains.link(1, 0);
        final VictimSearch search = new VictimSearch(policy, chains);
        assertEquals(2, search.find(entry -> entry == 1 ? Verdict.LATER : Verdict.FITS, () -> true));
        assertEquals(0, search.find(entry -> entry == 0 ? Verdict.FITS : Verdict.LATER, () -> true));
    }

    @Test
    void shouldWaitForWhatWouldBeLostUnlessItMayBe() {
        final CopiesFirst policy = new CopiesFirst(new LruPolicy());
        final Chains chains = new Chains();
        final VictimSearch search = new VictimSearch(policy, chains);
        assertEquals(EvictionPolicy.NONE, search.find(entry -> Verdict.BEST, () -> true));
        chains.add(0);
        add(policy, 0);
        assertEquals(VictimSearch.WAIT, search.find(entry -> Verdict.LOST, () -> false));
        assertEquals(0, search.find(entry -> Verdict.LOST, () -> true));
        assertEquals(VictimSearch.WAIT, search.find(entry -> Verdict.LATER, () -> true));
        assertEquals(EvictionPolicy.NONE, search.find(entry -> Verdict.NEVER, () -> true));
    }

    @Test
    void shouldTakeACopyAndNotWhatContinuesIt() {
        final Chains chains = new Chains();
        final CopiesFirst policy = new CopiesFirst(new LruPolicy());
        for (int entry = 0; entry < 4; entry++) {
            chains.add(entry);
            add(policy, entry);
        }
        chains.link(1, 0);
        chains.link(2, 1);
        policy.copied(0, true);
        policy.copied(1, true);
        final VictimSearch search = new VictimSearch(policy, chains);
        assertEquals(0, search.find(entry -> Verdict.FITS, () -> true), "2 is the last copy and stays");
    }

    @Test
    void shouldForgetChildrenOfWhatIsGone() {
        final Chains chains = new Chains();
        for (int entry = 0; entry < 4; entry++) {
            chains.add(entry);
        }
        chains.link(1, 0);
        chains.link(2, 0);
        chains.remove(0);
        chains.add(0);
        chains.link(3, 0);
        chains.remove(1);
        chains.remove(2);
        assertEquals(3, chains.end(0));
        chains.remove(3);
        assertFalse(chains.hasChildren(0));
    }
}
