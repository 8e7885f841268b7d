package io.kvasir.storage;

import java.util.ArrayDeque;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.AbstractExecutorService;
import java.util.concurrent.TimeUnit;

/** Runs what it is given when the test says so, one task at a time, on the test's thread. */
public final class HandDrivenWorker extends AbstractExecutorService {
    private final Queue<Runnable> tasks = new ArrayDeque<>();
    private boolean closed;

    /** False when there is nothing to do. */
    public boolean runOne() {
        final Runnable task = tasks.poll();
        if (task != null) {
            task.run();
        }
        return task != null;
    }

    @Override
    public void execute(final Runnable task) {
        tasks.add(task);
    }

    @Override
    public void shutdown() {
        closed = true;
        tasks.clear();
    }

    @Override
    public List<Runnable> shutdownNow() {
        shutdown();
        return List.of();
    }

    @Override
    public boolean isShutdown() {
        return closed;
    }

    @Override
    public boolean isTerminated() {
        return closed;
    }

    @Override
    public boolean awaitTermination(final long timeout, final TimeUnit unit) {
        return closed;
    }
}
