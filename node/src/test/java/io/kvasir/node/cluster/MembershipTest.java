package io.kvasir.node.cluster;

import static io.kvasir.node.cluster.Members.await;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.node.cluster.Members.Member;
import io.kvasir.node.cluster.SplitProbe.Sighting;
import io.kvasir.node.cluster.directory.IgniteDirectory;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

@Tag("integration")
class MembershipTest {
    private final Members members = new Members();

    @AfterEach
    void stop() {
        members.close();
    }

    @Test
    void nodesOfOneSecretSeeEachOther() throws IOException {
        final List<Member> two = members.cluster(2);
        final Peer seen = two.getFirst().view().peers().get(two.getLast().holder());
        assertEquals(two.getLast().address(), seen.address());
        assertEquals(two.getFirst().view().cluster(), two.getLast().view().cluster());
    }

    @Test
    void anotherSecretIsRefusedAndToldWhy() throws IOException {
        final int first = Members.port();
        final Member inside = members.start(first, context -> context.secret(new ClusterSecret("a".repeat(16))), first);
        await("the first node", () -> inside.size() == 1);
        final Member outside =
                members.start(Members.port(), context -> context.secret(new ClusterSecret("b".repeat(16))), first);
        await("the refusal", () -> !outside.membership.trouble().isEmpty());
        assertTrue(outside.membership.trouble().contains("another cluster.secret"), () -> outside.membership.trouble());
        assertEquals(1, inside.size());
    }

    @Test
    void aFailedInstanceIsStartedAgainInsideTheProcess() throws IOException {
        final List<Member> two = members.cluster(2);
        final Member failing = two.getLast();
        final long before = failing.view().instance();
        failing.membership.failed("a test says so");
        await("another instance", () -> failing.view().instance() > before && failing.size() == 2);
        await("the others see it", () -> two.getFirst().size() == 2);
    }

    @Test
    void whatLeavesIsGoneFromTheView() throws IOException {
        final List<Member> two = members.cluster(2);
        two.getLast().membership.close();
        await("one node", () -> two.getFirst().size() == 1);
        assertFalse(two.getFirst().view().peers().containsKey(two.getLast().holder()));
    }

    @Test
    void aSweepPassesOverPartitionsThatLieElsewhere() throws IOException {
        final List<Member> three = members.cluster(3);
        final IgniteDirectory directory =
                (IgniteDirectory) three.getFirst().view().directory();
        for (int partition = 0; partition < IgniteDirectory.PARTITIONS; partition++) {
            assertEquals(0, directory.sweep(partition, holder -> true, held -> {}));
        }
    }

    @Test
    void twoClustersBecomeOneWhenAProbeFindsThem() throws IOException {
        final int a = Members.port();
        final int b = Members.port();
        final Member first = members.start(a, context -> {}, a);
        final Member other = members.start(b, context -> {}, b);
        await("two clusters", () -> first.size() == 1 && other.size() == 1);
        // It joins the one and asks the other.
        final Member bridge = members.start(Members.port(), context -> {}, a, b);
        await("one cluster", () -> first.size() == 3 && other.size() == 3 && bridge.size() == 3);
    }

    @Test
    void theSmallerGivesWayThenTheLowerId() {
        final ClusterView one = new ClusterView(1, new NoDirectory(), Map.of(), "b");
        assertTrue(Membership.givesWay(one, new Sighting("a", 2, "", List.of())));
        assertTrue(Membership.givesWay(one, new Sighting("c", 1, "", List.of())));
        assertFalse(Membership.givesWay(one, new Sighting("a", 1, "", List.of())));
    }

    private static final class NoDirectory implements io.kvasir.node.cluster.directory.Directory {
        @Override
        public void read(final long[] keys, final java.util.function.Consumer<Map<Long, byte[]>> answer) {
            answer.accept(null);
        }

        @Override
        public void readCopies(final long[] keys, final java.util.function.Consumer<Map<Long, byte[]>> answer) {
            answer.accept(null);
        }

        @Override
        public void update(final Map<Long, byte[]> records, final java.util.function.Consumer<Boolean> done) {
            done.accept(false);
        }
    }
}
