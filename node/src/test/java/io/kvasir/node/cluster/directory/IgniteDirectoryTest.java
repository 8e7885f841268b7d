package io.kvasir.node.cluster.directory;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.lang.reflect.Proxy;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import org.apache.ignite.Ignite;
import org.apache.ignite.cache.affinity.Affinity;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

class IgniteDirectoryTest {
    private final CountDownLatch topology = new CountDownLatch(1);

    /** Whose affinity answers when the topology has changed: a real one cannot be kept in the middle of that. */
    private Ignite changing() {
        final Affinity<?> affinity = proxy(Affinity.class, () -> {
            topology.await();
            return List.of();
        });
        return (Ignite) Proxy.newProxyInstance(
                getClass().getClassLoader(),
                new Class<?>[] {Ignite.class},
                (self, method, arguments) -> method.getName().equals("affinity") ? affinity : null);
    }

    private interface Answer {
        Object get() throws InterruptedException;
    }

    private static <T> T proxy(final Class<T> type, final Answer answer) {
        return type.cast(Proxy.newProxyInstance(
                type.getClassLoader(), new Class<?>[] {type}, (self, method, arguments) -> answer.get()));
    }

    @Test
    @Timeout(60)
    void readingCopiesDoesNotWaitForTheTopology() throws InterruptedException {
        final BlockingQueue<String> answers = new LinkedBlockingQueue<>();
        try (IgniteDirectory directory = new IgniteDirectory(changing())) {
            directory.readCopies(new long[] {1, 2}, entries -> answers.add(String.valueOf(entries)));
            topology.countDown();
            assertEquals("null", answers.take());
        }
    }
}
