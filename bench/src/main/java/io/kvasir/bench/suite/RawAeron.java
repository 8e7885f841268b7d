package io.kvasir.bench.suite;

import io.aeron.Aeron;
import io.aeron.ExclusivePublication;
import io.aeron.Subscription;
import io.aeron.driver.MediaDriver;
import io.aeron.driver.ThreadingMode;
import io.aeron.logbuffer.BufferClaim;
import io.aeron.logbuffer.FragmentHandler;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.function.BooleanSupplier;
import org.agrona.MutableDirectBuffer;
import org.agrona.concurrent.AgentInvoker;

/**
 * The limit that a link is measured against: one Aeron UDP stream with the link's settings, one thread on each side that
 * also runs the media driver. Payload is copied out of the sender's objects and into the receiver's slots; there is no
 * handshake, no request, no checksum and no flow control but Aeron's.
 */
final class RawAeron implements AutoCloseable {
    private static final int FRAME_HEADER = 32;
    private static final int FRAGMENTS = 16;
    private static final int SLICES = 32;
    private static final int STREAM = 7;

    /** In one duty cycle, as many as the link's. */
    private static final int DRIVER_TURNS = 4;

    private final LinkSettings settings;
    private final MediaDriver driver;
    private final AgentInvoker driverInvoker;
    private final Aeron aeron;
    private final AgentInvoker clientInvoker;

    RawAeron(final LinkSettings settings, final Path directory) {
        this.settings = settings;
        driver = MediaDriver.launch(new MediaDriver.Context()
                .aeronDirectoryName(directory.toString())
                .dirDeleteOnStart(true)
                .dirDeleteOnShutdown(true)
                .threadingMode(ThreadingMode.INVOKER)
                .termBufferSparseFile(false)
                .mtuLength(settings.mtu())
                .publicationTermBufferLength(settings.termLength())
                .initialWindowLength(settings.window())
                .socketRcvbufLength(settings.window())
                .socketSndbufLength(settings.window()));
        driverInvoker = driver.sharedAgentInvoker();
        aeron = Aeron.connect(new Aeron.Context()
                .aeronDirectoryName(driver.aeronDirectoryName())
                .useConductorAgentInvoker(true)
                .driverAgentInvoker(driverInvoker));
        clientInvoker = aeron.conductorAgentInvoker();
    }

    private void work() {
        for (int turn = 0; turn < DRIVER_TURNS; turn++) {
            if (driverInvoker.invoke() == 0) {
                break;
            }
        }
        clientInvoker.invoke();
    }

    /** Sends the source, over and over, until it is stopped. */
    void send(final String endpoint, final MemorySegment source, final int objectBytes, final BooleanSupplier stopped) {
        final int payload = settings.mtu() - FRAME_HEADER;
        final BufferClaim claim = new BufferClaim();
        try (ExclusivePublication out = aeron.addExclusivePublication("aeron:udp?endpoint=" + endpoint, STREAM)) {
            long object = 0;
            int sent = 0;
            while (!stopped.getAsBoolean()) {
                work();
                for (int i = 0; i < SLICES; i++) {
                    final int length = Math.min(payload, objectBytes - sent);
                    if (out.tryClaim(length, claim) <= 0) {
                        break;
                    }
                    final MutableDirectBuffer buffer = claim.buffer();
                    MemorySegment.copy(
                            source,
                            object + sent,
                            MemorySegment.ofAddress(buffer.addressOffset() + claim.offset())
                                    .reinterpret(length),
                            0,
                            length);
                    claim.commit();
                    sent += length;
                    if (sent == objectBytes) {
                        sent = 0;
                        object = object + 2L * objectBytes > source.byteSize() ? 0 : object + objectBytes;
                    }
                }
            }
        }
    }

    /** GB/s of what arrives in this time after the first {@code warmNs}. */
    double receive(final String endpoint, final MemorySegment slots, final long warmNs, final long measureNs) {
        final long[] received = {0};
        final FragmentHandler handler = (buffer, offset, length, header) -> {
            final long at = received[0] % (slots.byteSize() - settings.mtu());
            MemorySegment.copy(
                    MemorySegment.ofAddress(buffer.addressOffset() + offset).reinterpret(length), 0, slots, at, length);
            received[0] += length;
        };
        try (Subscription in = aeron.addSubscription("aeron:udp?endpoint=" + endpoint, STREAM)) {
            while (received[0] == 0) {
                work();
                in.poll(handler, FRAGMENTS);
            }
            final long begin = System.nanoTime() + warmNs;
            while (System.nanoTime() < begin) {
                work();
                in.poll(handler, FRAGMENTS);
            }
            final long before = received[0];
            final long start = System.nanoTime();
            while (System.nanoTime() - start < measureNs) {
                work();
                in.poll(handler, FRAGMENTS);
            }
            return (double) (received[0] - before) / (System.nanoTime() - start);
        }
    }

    @Override
    public void close() {
        aeron.close();
        driver.close();
    }
}
