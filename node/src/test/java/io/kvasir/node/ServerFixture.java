package io.kvasir.node;

import io.kvasir.node.engine.EngineContext;
import io.kvasir.node.engine.EngineServer;
import io.kvasir.node.engine.StallTracker;
import io.kvasir.node.engine.TenantPolicy;
import io.kvasir.storage.StoreAgent;
import io.kvasir.storage.StoreContext;
import io.prometheus.client.CollectorRegistry;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.ServerSocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/** The real server and store on an owner's thread, with parts that a test may choose, in a directory of its own. */
final class ServerFixture implements AutoCloseable {
    final CollectorRegistry registry = new CollectorRegistry();
    final StallTracker stalls = new StallTracker();
    final Path directory = Files.createTempDirectory(Path.of("/dev/shm"), "kvasir-server-test-");
    final Path socket = directory.resolve("e.sock");
    StoreAgent store;
    private final EngineServer server;
    private final Thread owner = new Thread(this::run, "engine");
    private volatile boolean stopping;

    ServerFixture(final TenantPolicy tenants) throws IOException {
        server = new EngineServer(
                new EngineContext()
                        .socket(socket)
                        .incarnation(new byte[EngineContext.INCARNATION_BYTES])
                        .tenants(tenants)
                        .registry(registry)
                        .stalls(stalls)
                        .store(wakeup -> {
                            store = new StoreAgent(new StoreContext()
                                    .dramDirectory(directory.resolve("dram"))
                                    .dramCapacity(1 << 20)
                                    .wakeup(wakeup));
                            return store;
                        }),
                ServerSocketChannel.open(StandardProtocolFamily.UNIX).bind(UnixDomainSocketAddress.of(socket)));
        stalls.register(registry);
        owner.start();
    }

    private void run() {
        stalls.attach();
        while (!stopping) {
            if (server.doWork() == 0) {
                server.await(10);
            }
        }
        server.shutdown(TimeUnit.SECONDS.toNanos(5));
    }

    @Override
    public void close() throws IOException {
        stopping = true;
        try {
            owner.join();
        } catch (final InterruptedException stopped) {
            throw new AssertionError(stopped);
        }
        stalls.close();
        try (Stream<Path> paths = Files.walk(directory)) {
            for (final Path path : paths.sorted(Comparator.reverseOrder()).toList()) {
                Files.delete(path);
            }
        }
    }
}
