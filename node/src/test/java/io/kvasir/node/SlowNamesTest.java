package io.kvasir.node;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import io.kvasir.node.engine.PeerCredentials;
import io.kvasir.node.engine.TenantGrant;
import io.kvasir.node.engine.TenantPolicy;
import io.kvasir.node.engine.v1.Error;
import io.kvasir.node.engine.v1.Hello;
import io.kvasir.node.engine.v1.Ping;
import io.kvasir.node.engine.v1.Request;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.agrona.concurrent.CachedNanoClock;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** A name service that takes its time keeps one Hello waiting, and nobody else. */
@Timeout(60)
class SlowNamesTest {
    private final CountDownLatch nameService = new CountDownLatch(1);
    /** Waits for those who send the token "slow". */
    private final TenantPolicy tenants = new TenantPolicy() {
        @Override
        public Optional<TenantGrant> admit(final PeerCredentials peer, final byte[] token) {
            final String name = new String(token, StandardCharsets.UTF_8);
            if (name.equals("slow")) {
                try {
                    nameService.await();
                } catch (final InterruptedException stopped) {
                    throw new IllegalStateException(stopped);
                }
            }
            return Optional.of(new TenantGrant(name, -1));
        }

        @Override
        public boolean isKnown(final PeerCredentials peer) {
            return false;
        }
    };

    private static Request.Builder hello(final String token, final int deadlineMs) {
        return Request.newBuilder()
                .setDeadlineMs(deadlineMs)
                .setHello(Hello.newBuilder().setProtocol(1).setClient("test").setToken(ByteString.copyFromUtf8(token)));
    }

    @Test
    void othersAreServedWhileOnePeersNameIsLookedUp() throws IOException {
        try (ServerFixture fixture = new ServerFixture(tenants);
                EngineClient slow = new EngineClient(fixture.socket);
                EngineClient late = new EngineClient(fixture.socket);
                EngineClient fast = new EngineClient(fixture.socket)) {
            slow.send(hello("slow", 50_000));
            late.send(hello("slow", 50));
            assertEquals("fast", fast.hello("fast").getTenant());
            assertEquals(Error.Code.UNAVAILABLE, late.read().getError().getCode());
            assertTrue(fast.call(Request.newBuilder().setPing(Ping.getDefaultInstance()))
                    .hasPing());
            nameService.countDown();
            assertEquals("slow", slow.read().getHello().getTenant());
        } finally {
            nameService.countDown();
        }
    }

    @Test
    void theMachinesNamesAreFound() {
        assertEquals("root", Accounts.name(0));
        assertEquals("3999999999", Accounts.name((int) 3_999_999_999L));
    }

    @Test
    void aNameIsAskedForOnceInAMinute() {
        final CachedNanoClock clock = new CachedNanoClock();
        final AtomicInteger asked = new AtomicInteger();
        final UserNames names = new UserNames(
                uid -> {
                    if (asked.incrementAndGet() > 2) {
                        throw new IllegalStateException("no service");
                    }
                    return "anna" + uid;
                },
                clock);
        assertFalse(names.isKnown(7));
        assertEquals("anna7", names.of(7));
        assertTrue(names.isKnown(7));
        assertEquals("anna7", names.of(7));
        assertEquals(1, asked.get());
        clock.update(clock.nanoTime() + TimeUnit.SECONDS.toNanos(61));
        assertFalse(names.isKnown(7));
        assertEquals("anna7", names.of(7));
        assertEquals(2, asked.get());
        clock.update(clock.nanoTime() + TimeUnit.SECONDS.toNanos(61));
        assertEquals("anna7", names.of(7), "the old name while the service fails");
        assertThrows(IllegalStateException.class, () -> names.of(8));
    }
}
