package io.kvasir.node.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashMap;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;

class TurnQueueTest {
    private static final long LONG = 10_000_000;
    private static final long SHORT = 10_000;
    private final TurnQueue queue = new TurnQueue();

    @Test
    void shouldServeInTheOrderOfArrivalFirst() {
        final Connection a = connection("a");
        final Connection b = connection("a");
        queue.add(a);
        queue.add(b);
        queue.add(a);
        assertEquals(2, queue.size());
        assertSame(a, serve(SHORT));
        assertSame(b, serve(SHORT));
        assertNull(queue.poll());
    }

    @Test
    void shouldServeWhoHadLittleBeforeWhoHadMuch() {
        final Connection busy = connection("a");
        final Connection other = connection("a");
        queue.add(busy);
        serve(LONG);
        queue.add(busy);
        queue.add(other);
        assertSame(other, serve(SHORT));
        queue.add(other);
        assertSame(other, serve(SHORT));
    }

    @Test
    void shouldNotSaveUpTimeOfAnIdleConnection() {
        final Connection busy = connection("a");
        final Connection idle = connection("a");
        for (int i = 0; i < 100; i++) {
            queue.add(busy);
            serve(LONG);
        }
        queue.add(busy);
        queue.add(idle);
        assertSame(idle, serve(LONG));
        queue.add(idle);
        assertSame(busy, serve(LONG));
    }

    @Test
    void shouldShareAmongTenantsWhateverTheirConnections() {
        final Map<String, Long> served = new HashMap<>();
        final Random random = new Random(7);
        for (int i = 0; i < 50; i++) {
            queue.add(connection("many"));
        }
        queue.add(connection("one"));
        for (int i = 0; i < 10_000; i++) {
            final Connection next = queue.poll();
            final long ns = 1 + random.nextLong(next.tenant.name().equals("one") ? SHORT : 20 * SHORT);
            served.merge(next.tenant.name(), ns, Long::sum);
            queue.served(next, ns);
            queue.add(next);
        }
        final double ratio = (double) served.get("one") / served.get("many");
        assertTrue(ratio > 0.95 && ratio < 1.05, "shares are as " + ratio);
    }

    @Test
    void shouldForgetWhatAConnectionHadBeforeItsHello() {
        final Connection late = new Connection(null, null, null, 0);
        queue.add(late);
        assertSame(late, queue.poll());
        late.tenant = grant("a");
        queue.served(late, LONG);
        final Connection other = connection("a");
        queue.add(other);
        serve(SHORT);
        queue.add(other);
        queue.add(late);
        assertSame(late, serve(SHORT));
    }

    private Connection serve(final long ns) {
        final Connection next = queue.poll();
        queue.served(next, ns);
        return next;
    }

    private static Connection connection(final String tenant) {
        final Connection connection = new Connection(null, null, null, 0);
        connection.tenant = grant(tenant);
        return connection;
    }

    private static TenantGrant grant(final String tenant) {
        return new TenantGrant(tenant, -1);
    }
}
