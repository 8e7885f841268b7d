package io.kvasir.node;

import io.kvasir.node.hostile.GoodClient;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;

/** A good client that works all the time beside a test. */
final class GoodThread implements GoodClient.Observer {
    private static final int DEADLINE_MS = 5_000;
    private static final long PAUSE_NS = TimeUnit.MILLISECONDS.toNanos(10);

    private final List<String> violations = new CopyOnWriteArrayList<>();
    private final GoodClient client;
    private final Thread thread;
    private final AtomicLong steps = new AtomicLong();
    private volatile boolean ending;

    GoodThread(final Path socket, final String token) throws IOException {
        client = new GoodClient(GoodClient.target(socket, token, DEADLINE_MS), DEADLINE_MS, token.hashCode(), this);
        thread = Thread.ofPlatform().name("good-" + token).start(this::run);
    }

    private void run() {
        try {
            while (!ending) {
                client.step();
                steps.incrementAndGet();
                LockSupport.parkNanos(PAUSE_NS);
            }
        } catch (final IOException | RuntimeException | Error e) {
            violations.add("it has ended: " + e);
        }
    }

    long steps() {
        return steps.get();
    }

    boolean hasEnded() {
        return !thread.isAlive();
    }

    List<String> violations() {
        return List.copyOf(violations);
    }

    void end() throws IOException {
        ending = true;
        try {
            thread.join();
        } catch (final InterruptedException e) {
            throw new AssertionError(e);
        }
        client.close();
    }

    @Override
    public void answered(final GoodClient.Kind kind, final long ns) {}

    @Override
    public void counted(final String what) {}

    @Override
    public void violated(final String what) {
        violations.add(what);
    }
}
