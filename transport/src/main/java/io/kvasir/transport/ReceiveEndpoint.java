package io.kvasir.transport;

import io.aeron.driver.DataPacketDispatcher;
import io.aeron.driver.MediaDriver;
import io.aeron.driver.media.ReceiveChannelEndpoint;
import io.aeron.driver.media.UdpChannel;
import io.aeron.protocol.SetupFlyweight;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import org.agrona.concurrent.UnsafeBuffer;
import org.agrona.concurrent.status.AtomicCounter;

/**
 * A receive endpoint of the media driver that ignores streams with larger buffers than this node is willing to give:
 * the sender chooses a stream's term length, and the driver would allocate three terms for any stranger. While data only
 * goes out, it looks seldom for the few control messages that come in.
 */
final class ReceiveEndpoint extends ReceiveChannelEndpoint {
    private final int controlTerm;
    private final int maxDataTerm;
    private final DataFlow flow;
    private final DataFlow.Looks looks = new DataFlow.Looks();

    ReceiveEndpoint(
            final UdpChannel channel,
            final DataPacketDispatcher dispatcher,
            final AtomicCounter status,
            final MediaDriver.Context context,
            final int controlTerm,
            final int maxDataTerm,
            final DataFlow flow) {
        super(channel, dispatcher, status, context);
        this.controlTerm = controlTerm;
        this.maxDataTerm = maxDataTerm;
        this.flow = flow;
    }

    @Override
    public InetSocketAddress receive(final ByteBuffer buffer) {
        if (!looks.due(flow.onlySending())) {
            return null;
        }
        final InetSocketAddress from = super.receive(buffer);
        looks.looked(from != null);
        return from;
    }

    @Override
    public void onSetupMessage(
            final SetupFlyweight header,
            final UnsafeBuffer buffer,
            final int length,
            final InetSocketAddress source,
            final int transportIndex) {
        final int most = header.streamId() == AeronWire.CONTROL_STREAM ? controlTerm : maxDataTerm;
        if (length >= SetupFlyweight.HEADER_LENGTH && header.termLength() <= most) {
            super.onSetupMessage(header, buffer, length, source, transportIndex);
        }
    }
}
