package io.kvasir.transport;

import io.aeron.driver.MediaDriver;
import io.aeron.driver.media.SendChannelEndpoint;
import io.aeron.driver.media.UdpChannel;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import org.agrona.concurrent.status.AtomicCounter;

/**
 * A send endpoint of the media driver. While data only comes in, what peers say of the few control messages that go out
 * is looked for seldom.
 */
final class SendEndpoint extends SendChannelEndpoint {
    private final DataFlow flow;
    private final DataFlow.Looks looks = new DataFlow.Looks();

    SendEndpoint(
            final UdpChannel channel,
            final AtomicCounter status,
            final MediaDriver.Context context,
            final DataFlow flow) {
        super(channel, status, context);
        this.flow = flow;
    }

    @Override
    public InetSocketAddress receive(final ByteBuffer buffer) {
        if (!looks.due(flow.onlyReceiving())) {
            return null;
        }
        final InetSocketAddress from = super.receive(buffer);
        looks.looked(from != null);
        return from;
    }
}
