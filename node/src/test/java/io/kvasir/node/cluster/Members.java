package io.kvasir.node.cluster;

import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import java.util.stream.Collectors;

/** Real memberships, with real Ignite instances, in this JVM. */
public final class Members implements AutoCloseable {
    private static final long BOUND_NS = TimeUnit.SECONDS.toNanos(60);

    /** One of them, and what it heard. */
    public static final class Member {
        public final ClusterContext context;
        public final Membership membership;
        public final Queue<ClusterContext.Audit> audits = new ConcurrentLinkedQueue<>();

        Member(final ClusterContext context) {
            this.context = context.onAudit(audits::add);
            membership = Membership.start(context);
        }

        public long holder() {
            return context.holder();
        }

        String address() {
            return context.host() + ":" + context.port();
        }

        public ClusterView view() {
            return membership.view();
        }

        int size() {
            return membership.view().directory() == null ? 0 : membership.view().size();
        }
    }

    private final List<Member> members = new ArrayList<>();

    /** Four free ports in a row. */
    public static int port() {
        for (int tries = 0; tries < 1000; tries++) {
            final int first = ThreadLocalRandom.current().nextInt(20_000, 32_000);
            if (isFree(first) && isFree(first + 1) && isFree(first + 2) && isFree(first + 3)) {
                return first;
            }
        }
        throw new IllegalStateException("no free ports");
    }

    private static boolean isFree(final int port) {
        try (ServerSocket socket = new ServerSocket(port, 1, InetAddress.getLoopbackAddress())) {
            return socket.isBound();
        } catch (final IOException taken) {
            return false;
        }
    }

    static String at(final int port) {
        return "127.0.0.1:" + port;
    }

    public Member start(final int port, final Consumer<ClusterContext> change, final int... seedPorts)
            throws IOException {
        final byte[] incarnation = new byte[16];
        ThreadLocalRandom.current().nextBytes(incarnation);
        final Path work = Files.createTempDirectory("kvasir-members-").resolve("ignite");
        final ClusterContext context = new ClusterContext()
                .name("m" + port)
                .incarnation(incarnation)
                .seeds(Arrays.stream(seedPorts).mapToObj(Members::at).collect(Collectors.toList()))
                .address("127.0.0.1", port)
                .directoryBytes(32L << 20)
                .probeInterval(Duration.ofMillis(300))
                .sweepInterval(Duration.ofMillis(10))
                .workDirectory(work);
        change.accept(context);
        final Member member = new Member(context);
        members.add(member);
        return member;
    }

    /** That many, of one cluster. */
    public List<Member> cluster(final int count) throws IOException {
        final int first = port();
        final List<Member> made = new ArrayList<>(List.of(start(first, context -> {}, first)));
        await("the first node", () -> made.getFirst().size() == 1);
        while (made.size() < count) {
            made.add(start(port(), context -> {}, first));
        }
        await("all nodes", () -> made.stream().allMatch(each -> each.size() == count));
        return made;
    }

    public static void await(final String what, final BooleanSupplier condition) {
        final long end = System.nanoTime() + BOUND_NS;
        while (!condition.getAsBoolean()) {
            if (System.nanoTime() > end) {
                throw new AssertionError("not in time: " + what);
            }
            LockSupport.parkNanos(1_000_000);
        }
    }

    @Override
    public void close() {
        members.parallelStream().forEach(each -> each.membership.close());
    }
}
